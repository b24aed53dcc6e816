"""The result of a diagnosis: tables and plots."""

import dataclasses
import math
from typing import Any, final

import torch
from torch import Tensor

from ...distributions import AbstractDistribution
from ..directional import DirectionalDerivative


_PLOTTED = 8


@final
@dataclasses.dataclass(frozen=True)
class Break:
    """A place on the line of one coordinate where f is not smooth."""

    kind: str
    """"jump", "kink" or "spike"."""
    offset: float
    """Its place, relative to x."""
    size: float
    """The height of a jump, the change of slope of a kink, the steepest slope of a spike."""


@final
@dataclasses.dataclass(frozen=True)
class CoordinateDiagnosis:
    """The findings about one coordinate of x."""

    index: tuple[int, ...]
    x: float
    verdict: str
    """One of `VERDICTS`."""
    reason: str
    ad: float | None
    """The gradient by automatic differentiation; None if there is no graph."""
    smoothed: float
    smoothed_error: float
    left: DirectionalDerivative
    right: DirectionalDerivative
    reach: float
    breaks: tuple[Break, ...]
    """Breaks within reach, the nearest first."""
    steps: tuple[float, ...]
    """The ladder of steps, falling; the differences below are of the same length."""
    forward: tuple[float, ...]
    backward: tuple[float, ...]
    central: tuple[float, ...]
    offsets: tuple[float, ...]
    """Offsets from x within reach, rising; `values` are f's there."""
    values: tuple[float, ...]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """The result of `torchsmooth.diagnose`; `str()` of it is a table."""

    value: float
    """f(x)."""
    coordinates: tuple[CoordinateDiagnosis, ...]
    distribution: AbstractDistribution
    num_samples: int
    repetitions: int
    dtype: torch.dtype

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdict of each coordinate."""
        return tuple(c.verdict for c in self.coordinates)

    def __str__(self) -> str:
        head = ("index", "x", "AD", "smoothed", "left", "right", "verdict", "reason")
        rows = [head]
        for c in self.coordinates:
            rows.append(
                (
                    str(list(c.index)),
                    f"{c.x:.6g}",
                    "none" if c.ad is None else f"{c.ad:.4g}",
                    f"{c.smoothed:.4g} ± {c.smoothed_error:.1g}",
                    _limit_text(c.left),
                    _limit_text(c.right),
                    c.verdict,
                    c.reason,
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
        lines = [
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
            for row in rows
        ]
        title = (
            f"f(x) = {self.value:.6g} in {str(self.dtype).removeprefix('torch.')}; smoothed by "
            f"{_law_text(self.distribution)}, ± one standard error of {self.repetitions} "
            f"independent repetitions of {self.num_samples} samples"
        )
        if self.dtype == torch.float32 and any(v != "smooth" for v in self.verdicts):
            lines.append("float32 hides what is finer than its rounding: x.double() sees more")
        return "\n".join([title, *(line.rstrip() for line in lines)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dictionaries, as `json.dump` takes them."""
        return {
            "value": self.value,
            "distribution": _law_text(self.distribution),
            "num_samples": self.num_samples,
            "repetitions": self.repetitions,
            "dtype": str(self.dtype),
            "coordinates": [_plain(dataclasses.asdict(c)) for c in self.coordinates],
        }

    def plot(self) -> Any:
        """A matplotlib `Figure` with two panels for each of the first 8 coordinates.

        On the left f along the coordinate, with the tangents of AD and of the smoothed gradient and
        the breaks; on the right the difference quotients over the steps, beside both gradients.

        **Raises:** ImportError if matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "plot needs matplotlib, which is not installed; install it with "
                "`pip install matplotlib`, or use str() or to_dict()"
            ) from error
        shown = self.coordinates[:_PLOTTED]
        figure = Figure(figsize=(9, 2.6 * max(1, len(shown))), layout="constrained")
        if not shown:
            return figure
        axes = figure.subplots(len(shown), 2, squeeze=False)
        for c, (line, quotients) in zip(shown, axes, strict=True):
            _plot_line(line, c, self.value)
            _plot_quotients(quotients, c)
        axes[0, 0].legend(fontsize="small")
        axes[0, 1].legend(fontsize="small")
        return figure


def _law_text(distribution: AbstractDistribution) -> str:
    """As its repr, which keeps the values of tensors to itself."""
    if not isinstance(distribution.scale, Tensor) or distribution.scale.numel() == 0:
        return repr(distribution)
    low, high = (f"{float(v):.4g}" for v in distribution.scale.detach().aminmax())
    scale = low if low == high else f"{low} to {high}"
    return f"{type(distribution).__name__}(scale={scale})"


def _limit_text(limit: DirectionalDerivative) -> str:
    if not math.isfinite(limit.error):
        return f"{limit.value:.4g}"
    return f"{limit.value:.4g} ± {limit.error:.1g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _plot_line(axes: Any, c: CoordinateDiagnosis, value: float) -> None:
    at = [c.x + offset for offset in c.offsets]
    axes.plot(at, c.values, ".", markersize=3, color="black", label="f")
    ends = [c.x - c.reach / 2, c.x + c.reach / 2]
    for slope, name, style in ((c.ad, "AD", "C3-"), (c.smoothed, "smoothed", "C0--")):
        if slope is not None and math.isfinite(slope):
            axes.plot(ends, [value + slope * (end - c.x) for end in ends], style, label=name)
    for b in c.breaks:
        axes.axvline(c.x + b.offset, color="C1", linewidth=0.8, linestyle=":")
    # With the range of steep tangents f would look flat.
    finite = [v for v in c.values if math.isfinite(v)]
    if finite and max(finite) > min(finite):
        margin = 0.15 * (max(finite) - min(finite))
        axes.set_ylim(min(finite) - margin, max(finite) + margin)
    axes.set_title(f"x{list(c.index)} = {c.x:.4g}: {c.verdict}", fontsize="medium")
    axes.set_xlabel(f"x{list(c.index)}")


def _plot_quotients(axes: Any, c: CoordinateDiagnosis) -> None:
    for name, style in (("forward", "C2>-"), ("backward", "C4<-"), ("central", "C7.-")):
        axes.plot(c.steps, getattr(c, name), style, markersize=3, linewidth=0.8, label=name)
    if c.ad is not None and math.isfinite(c.ad):
        axes.axhline(c.ad, color="C3", label="AD")
    if math.isfinite(c.smoothed):
        axes.axhline(c.smoothed, color="C0", linestyle="--", label="smoothed")
    axes.set_xscale("log")
    # The range is that of the limits and the gradients: rounding and breaks would hide them.
    slopes = [c.ad or 0.0, c.smoothed, c.left.value, c.right.value]
    finite = [slope for slope in slopes if math.isfinite(slope)]
    if finite:
        margin = 0.5 * max(max(finite) - min(finite), *map(abs, finite), 0.1)
        axes.set_ylim(min(finite) - margin, max(finite) + margin)
    axes.set_xlabel("step")
    axes.set_title("difference quotients", fontsize="medium")
