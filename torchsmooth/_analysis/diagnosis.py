"""Where automatic differentiation says something else about f than f's values do."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from .._checks import check_distribution, check_int
from ..distributions import AbstractDistribution, Gaussian
from ..samplers import MonteCarlo, seed_tensor
from .directional import DirectionalDerivative, one_sided_limit
from .estimates import estimate
from .scalar_function import ScalarFunction, check_point


VERDICTS = {
    "smooth": "no break within reach, and AD agrees with finite differences",
    "kink": "f is continuous, its slope jumps within reach",
    "jump": "f jumps within reach: AD does not see it, at x or beside it",
    "vanishing": "AD says 0 or has no graph, at x and all around, but f is not constant",
    "nan": "f or AD is not finite at x, or NaN within reach",
    "spike": "slopes grow without bound, or far beyond what f does within reach",
    "unstable": "f is random, or scatters over tiny distances",
    "oscillation": "f jumps again and again within reach: the branch taken alternates",
    "mismatch": "f looks smooth, but AD says something else than finite differences",
}
"""The verdicts of `torchsmooth.diagnose` and what they mean."""

# The rules of `_decide`, and of what counts as a break. A quantity of f is compared with other
# quantities of f, or with its rounding: but for _INNER_DIGITS none of them has a unit.

# Within reach means within 3 scales of the noise: 99.7 % of what a Gaussian smooths over.
_REACH = 3
# A line through x is looked at on this many cells; what lies between is found by refinement.
_CELLS = 64
# Places that are refined, beside x itself.
_MAX_CANDIDATES = 8
# Second differences are trusted this far above rounding: it then changes them by 1/16 at most.
_TRUSTED = 32.0
# Levels of refinement, each of half the width, over which their exponent is told: the last few tell
# whether f is smooth there, more of them how it is not.
_LEVELS = 4
_LONG_LEVELS = 12
# Second differences over a width w behave as w^p: p = 2 (or more) where f is smooth, 1 at a kink, 0
# at a jump, between 0 and 1 at a vertical tangent, below 0 at a pole. Over 4 levels a kink that is
# not centred can look 1/4 away from 1: the bounds lie half way.
_SMOOTH_EXPONENT = 1.5
_KINK_EXPONENT = 0.75
_JUMP_EXPONENT = 0.25
# Numbers inside of f are taken to be rounded to this many times the precision of x, or of 1, if all
# values of f have so few digits.
_INNER_DIGITS = 64.0
# A break stands out among the differences beside it; rounding does not.
_ISOLATED = 8.0
# A jump counts from this share of what f does within reach, a kink from this share of its mean
# slope: less moves the smoothed gradient by less than its usual standard error.
_RELEVANT_JUMP = 1e-3
_RELEVANT_KINK = 1e-2
# From this many jumps within reach on, the branch is said to alternate.
_OSCILLATION = 3
# A slope is a spike from this many times the mean slope within reach.
_SPIKE = 1e3
# f is unstable if it scatters over short distances by this share of what f does within reach, and
# by this many times its last digit: rounding alone makes a few. Noise of f up to there is noise.
_UNSTABLE_SHARE = 1e-2
_UNSTABLE_DIGITS = 1e3
# Two evaluations at one point may differ by this many times the last digit: sums of a parallel
# program do.
_REPEATABLE_DIGITS = 64.0
# AD contradicts finite differences by this many of their errors, and by this share of the slope.
_MISMATCH_ERRORS = 10.0
_MISMATCH_SHARE = 1e-2
# The smoothed gradient is not 0 from this many standard errors on (Student's law with 15 degrees of
# freedom: 2.4e-5 by chance).
_SIGNIFICANT = 6.0
# Where AD is asked, beside x: at points drawn like the noise, and on the line of each coordinate.
_NEIGHBOURS = 16
_LINE_SHARES = (-1.0, -0.5, 0.5, 1.0)
# Evaluations at one point, to see whether f repeats itself.
_REPEATS = 8

# Nodes from which noise is told, and their distance: rounding is a staircase, whose steps must lie
# closer than that, and f must be no more than a parabola over it.
_NOISE_NODES = 16
_LEFT_OUT = 4  # what one jump changes
_SHORT_CELL = {torch.float32: 2**-12, torch.float64: 2**-20}

_PLOTTED = 8


@final
@dataclasses.dataclass(frozen=True)
class Break:
    """A place on the line of one coordinate where f is not smooth."""

    kind: str
    """"jump", "kink" or "spike"."""
    offset: float
    """Where it is, less x."""
    size: float
    """The height of a jump, the change of slope of a kink, the steepest slope of a spike."""


@final
@dataclasses.dataclass(frozen=True)
class CoordinateDiagnosis:
    """What was found about one coordinate of x."""

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
    """What `torchsmooth.diagnose` returns; `str()` of it is a table."""

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
    # Steep tangents would make f a flat line.
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
    # What counts are the limits and the gradients: rounding and breaks would hide them.
    slopes = [c.ad or 0.0, c.smoothed, c.left.value, c.right.value]
    finite = [slope for slope in slopes if math.isfinite(slope)]
    if finite:
        margin = 0.5 * max(max(finite) - min(finite), *map(abs, finite), 0.1)
        axes.set_ylim(min(finite) - margin, max(finite) + margin)
    axes.set_xlabel("step")
    axes.set_title("difference quotients", fontsize="medium")


def diagnose(
    f: Callable[[Tensor], Any],
    x: Tensor,
    distribution: AbstractDistribution | None = None,
    *,
    coordinates: Sequence[int] | None = None,
    num_samples: int = 64,
    repetitions: int = 16,
    vectorized: bool = False,
    seed: int | Tensor | None = None,
) -> Diagnosis:
    """Says for each coordinate of `x` whether the gradient of f by automatic differentiation holds.

    Automatic differentiation (AD) differentiates the operations that were executed. It does not see
    the branch that was not taken, nor a jump, and calls constant what is piecewise constant. Here
    its gradient is compared with f's values: on a line through x along the coordinate, as far as
    the noise reaches (3 scales); by difference quotients over a ladder of steps, from which the
    left and the right derivative are extrapolated; and by the gradient of the smoothed function,
    with its standard error. The line is searched for breaks by second differences, refined down to
    the precision of x: their power law tells kinks, jumps and poles from steep but smooth places.

    **Arguments:**

    - `f`: maps a tensor like `x` to one number (a tensor, a NumPy scalar or a Python number). It
        may be differentiable by autograd or not. It is called 300 times for a straight line, up to
        1500 times for a coordinate with many breaks, and num_samples * repetitions times for all.
    - `x`: float32 or float64 tensor of any shape. f is evaluated in its dtype; float64 tells finer
        breaks from rounding, and is recommended.
    - `distribution`: the law of the noise of the smoothed gradient. Its scale says what is near.
        None for a Gaussian whose scale is a tenth of max(1, |x|), elementwise.
    - `coordinates`: which elements of the flattened x to look at; None for all.
    - `num_samples`, `repetitions`: of the smoothed gradient, as for `torchsmooth.estimate` with
        Sobol points. Its standard error comes from the scatter of the repetitions.
    - `vectorized`: whether f maps a batch of points [m, *x.shape] to [m].
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator.

    **Returns:** a `Diagnosis`: a table as `str()`, with a `CoordinateDiagnosis` for each of the
    `coordinates`, `to_dict()` and `plot()`. `torchsmooth.VERDICTS` explains
    its verdicts. A break that no line along a coordinate meets is only seen in the smoothed
    gradient; what lies between two neighbours of the 65 points of a line, not at all.

    **Raises:** TypeError or ValueError if an argument is not what is said above; what f itself
    raises is passed on, with a note that names the point.

    >>> import torch, torchsmooth as ts
    >>> def f(y):
    ...     return y[0].round() + y[1].abs() + y[2].exp()
    >>> x = torch.tensor([0.45, 0.0, 1.0], dtype=torch.float64)
    >>> report = ts.diagnose(f, x, seed=0)
    >>> report.verdicts
    ('vanishing', 'kink', 'smooth')
    >>> report.coordinates[0].reason
    'AD is 0 at x and all around, but f jumps by 1 at 0.05 above x'
    """
    function = ScalarFunction(f, vectorized, "diagnose")
    x = check_point(x)
    num_samples = check_int(num_samples, "num_samples", 2, 64)
    repetitions = check_int(repetitions, "repetitions", 2, 16)
    indices = _check_coordinates(coordinates, x)
    if distribution is None:
        with torch.inference_mode(False):  # the noise takes part in a graph
            distribution = Gaussian(scale=0.1 * x.abs().clamp(min=1))
    scale = _scales(check_distribution(distribution), x)
    seed = seed_tensor(seed, x.device)
    if not indices:
        (value,) = function.values(x.unsqueeze(0))
        return Diagnosis(value, (), distribution, num_samples, repetitions, x.dtype)

    def values(points: Tensor) -> Tensor:
        return torch.tensor(function.values(points), dtype=torch.float64, device=x.device)

    smoothed = estimate(
        values,
        x,
        distribution,
        num_samples=num_samples,
        repetitions=repetitions,
        sampler="auto",
        event_dim=x.ndim,
        seed=seed,
    )
    repeats = function.values(x.expand(_REPEATS, *x.shape))
    ad = function.gradient(x)
    uniforms = MonteCarlo().uniforms(
        _NEIGHBOURS, x.numel(), seed=seed, dtype=torch.float64, device=x.device
    )
    noise = (scale.flatten() * Gaussian().icdf(uniforms)).reshape(_NEIGHBOURS, *x.shape)
    around = [function.gradient(point) for point in (x + noise).to(x.dtype)]

    shape = torch.empty(x.shape, device="meta")
    found = []
    for i in indices:
        line = _Line(function, x, i, _REACH * float(scale.flatten()[i]))
        evidence = _examine(
            line,
            repeats,
            _entry(ad, i),
            [_entry(gradient, i) for gradient in around],
            float(smoothed.jacobian.flatten()[i]),
            float(smoothed.jacobian_error.flatten()[i]),
        )
        verdict, reason = _decide(evidence)
        found.append(_coordinate(evidence, verdict, reason, _unravel(i, shape.shape)))
    return Diagnosis(repeats[0], tuple(found), distribution, num_samples, repetitions, x.dtype)


def _check_coordinates(coordinates: object, x: Tensor) -> list[int]:
    n = x.numel()
    if coordinates is None:
        return list(range(n))
    if isinstance(coordinates, str | Tensor) or not isinstance(coordinates, Sequence):
        raise TypeError(
            f"coordinates must be a sequence of ints, got {type(coordinates).__name__}; pass for "
            "example [0, 1]"
        )
    indices = [check_int(i, "coordinates", 0, 0) for i in coordinates]
    if any(i >= n for i in indices):
        raise ValueError(
            f"coordinates must be below {n}, the number of elements of x, got {max(indices)}; they "
            "count the elements of the flattened x"
        )
    return indices


def _scales(distribution: AbstractDistribution, x: Tensor) -> Tensor:
    """The scale of each coordinate's noise, [*x.shape], float64."""
    if distribution.scale_matrix is not None:
        rows = distribution.scale_matrix.detach().to(x.device, torch.float64).norm(dim=-1)
        if rows.shape != (x.numel(),):
            n = x.numel()
            raise ValueError(
                f"scale_matrix must have shape [{n}, {n}] for x of {n} elements, got "
                f"{list(distribution.scale_matrix.shape)}; pass another matrix"
            )
        return rows.reshape(x.shape)
    scale = torch.as_tensor(distribution.scale, dtype=torch.float64, device=x.device).detach()
    try:
        return scale.expand(x.shape)
    except RuntimeError:
        raise ValueError(
            f"scale must broadcast against x, {list(x.shape)}, got shape {list(scale.shape)}; pass "
            "a number, or one scale per element"
        ) from None


def _unravel(i: int, shape: torch.Size) -> tuple[int, ...]:
    index = []
    for size in reversed(shape):
        index.append(i % size)
        i //= size
    return tuple(reversed(index))


def _entry(gradient: Tensor | None, i: int) -> float | None:
    return None if gradient is None else float(gradient.flatten()[i])


class _Line:
    """f along coordinate i, at multiples of `unit`, which are exact in the dtype of x.

    Between exact points, differences of f hold no rounding of x: a node is an integer.
    """

    def __init__(self, function: ScalarFunction, x: Tensor, i: int, reach: float):
        self.function = function
        self.x = x
        self.i = i
        self.at = float(x.flatten()[i])
        self.eps = torch.finfo(x.dtype).eps
        self.unit = 2.0 ** math.floor(math.log2(abs(self.at) + reach)) * self.eps
        self.origin = round(self.at / self.unit)
        self.cell = round(2 * reach / _CELLS / self.unit)
        self.short = max(2, round(self.cell * _SHORT_CELL[x.dtype]))
        if self.cell < 2**_LEVELS:
            raise ValueError(
                f"distribution must have a scale that x resolves, but {_REACH} scales, "
                f"{reach:.3g}, are {reach / self.unit:.3g} steps of {x.dtype} at {self.at:.6g}; "
                "pass a larger scale, or x.double()"
            )
        self.reach = self.cell * (_CELLS // 2) * self.unit

    def points(self, coordinates: Sequence[float]) -> Tensor:
        """x with its coordinate i replaced, [m, *x.shape]."""
        points = self.x.flatten().repeat(len(coordinates), 1)
        points[:, self.i] = torch.tensor(coordinates, dtype=torch.float64).to(points)
        return points.reshape(len(coordinates), *self.x.shape)

    def values(self, nodes: Sequence[int]) -> list[float]:
        return self.function.values(
            self.points([(self.origin + node) * self.unit for node in nodes])
        )

    def offset(self, node: int) -> float:
        return (self.origin + node) * self.unit - self.at


class _Evidence(NamedTuple):
    """What `_decide` decides from."""

    line: _Line
    grid: list[float]  # f at the cells' ends
    center: float  # f(x)
    scatter: float  # between evaluations at the same points
    noise: float  # over a short distance
    digit: float  # the last digit of f's largest value
    ad: float | None
    ad_line: list[float | None]
    ad_around: list[float | None]
    smoothed: float
    smoothed_error: float
    left: DirectionalDerivative
    right: DirectionalDerivative
    steepest: float  # slope between neighbouring points, where f is continuous
    breaks: list[Break]
    steps: list[float]
    forward: list[float]
    backward: list[float]

    @property
    def range(self) -> float:
        return max(self.grid) - min(self.grid)

    @property
    def mean_slope(self) -> float:
        return self.range / (2 * self.line.reach)


def _examine(
    line: _Line,
    repeats: list[float],
    ad: float | None,
    ad_around: list[float | None],
    smoothed: float,
    smoothed_error: float,
) -> _Evidence:
    nodes = [j * line.cell for j in range(-_CELLS // 2, _CELLS // 2 + 1)]
    grid, again = line.values(nodes), line.values(nodes)
    center = repeats[0]
    finite = [abs(v) for v in (*grid, center) if math.isfinite(v)]
    digit = max(
        line.eps * max(finite, default=0.0),
        # Where f is the small difference of larger numbers, their last digit is f's.
        min(_quantum(finite), _INNER_DIGITS * line.eps * max(1.0, float(line.x.abs().max()))),
        torch.finfo(line.x.dtype).tiny,  # below it f has no digits
    )
    pairs = [*zip(grid, again, strict=True), *((v, center) for v in repeats)]
    scatter = max((abs(a - b) for a, b in pairs if math.isfinite(a - b)), default=0.0)
    if any(math.isnan(a) != math.isnan(b) for a, b in pairs):
        scatter = math.inf

    shares = [line.at + share * line.reach for share in _LINE_SHARES]
    ad_line = [_entry(line.function.gradient(p), line.i) for p in line.points(shares)]
    noise = _noise(line, 0)
    breaks: list[Break] = []
    steepest = 0.0
    if all(map(math.isfinite, grid)) and scatter <= _REPEATABLE_DIGITS * digit:
        relevant = _RELEVANT_JUMP * (max(grid) - min(grid))
        for candidate in _candidates(grid, digit):
            found, slope = _refine(line, candidate * line.cell, digit, relevant)
            steepest = max(steepest, slope)
            if found is not None and not any(
                abs(found.offset - b.offset) < line.cell * line.unit / 4 for b in breaks
            ):
                breaks.append(found)
    breaks.sort(key=lambda b: abs(b.offset))

    # Beside a break, what looks like noise may be f.
    rounding = min(noise, _UNSTABLE_DIGITS * digit) if breaks else noise
    rounding = max(rounding, digit)
    rungs = round(-math.log2(line.eps)) - 3
    ladder = [line.reach * 0.5**k for k in range(rungs)]
    steps, forward, right = _side(line, ladder, center, rounding)
    _, backward, left = _side(line, [-t for t in ladder], center, rounding)
    return _Evidence(
        line,
        grid,
        center,
        scatter,
        noise,
        digit,
        ad,
        ad_line,
        ad_around,
        smoothed,
        smoothed_error,
        left,
        right,
        steepest,
        breaks,
        steps,
        forward,
        backward,
    )


def _side(
    line: _Line, ladder: list[float], center: float, noise: float
) -> tuple[list[float], list[float], DirectionalDerivative]:
    """Steps as rounding leaves them, difference quotients, and their limit."""
    points = line.points([line.at + t for t in ladder])
    moved = (points.flatten(1)[:, line.i] if line.x.ndim else points).double() - line.at
    steps = [abs(t) for t in moved.tolist()]
    values = line.function.values(points)
    sign = math.copysign(1.0, ladder[0])
    # Steps that rounding changes much are no steps of the ladder.
    kept = [k for k, t in enumerate(ladder) if abs(steps[k] - abs(t)) <= 0.05 * abs(t)]
    steps, values = [steps[k] for k in kept], [values[k] for k in kept]
    limit = one_sided_limit(steps, values, center, line.eps, noise)
    quotients = [sign * (value - center) / t for value, t in zip(values, steps, strict=True)]
    return steps, quotients, DirectionalDerivative(sign * limit.value + 0.0, limit.error)


def _noise(line: _Line, center: int) -> float:
    """How f's values scatter about a node, for another reason than f's slope and curvature.

    Third differences over short distances hold nothing of a smooth f. The largest are left out:
    they may be one jump (Moré, Wild, "Estimating computational noise", SIAM Journal on Scientific
    Computing 33, 2011, take the median; that of a regular staircase can be 0).
    """
    half = _NOISE_NODES // 2
    nodes = [center + line.short * j for j in range(-half, half + 1)]
    thirds = sorted(map(abs, _differences(line.values(nodes), 3)))[:-_LEFT_OUT]
    if not all(map(math.isfinite, thirds)):
        return 0.0
    # Of independent noise, a third difference has 20 times the variance; the smallest 10 of 14
    # normal variables have a root mean square of 0.57.
    return math.hypot(*thirds) / math.sqrt(20 * len(thirds)) / 0.57


def _quantum(values: list[float]) -> float:
    """The largest power of 2 that divides all values."""
    exponents = []
    for value in values:
        mantissa, exponent = math.frexp(value)
        digits = int(mantissa * 2**53)
        if digits:
            exponents.append(exponent - 53 + (digits & -digits).bit_length() - 1)
    return 2.0 ** min(exponents) if exponents else 0.0


def _differences(values: list[float], order: int) -> list[float]:
    for _ in range(order):
        values = [b - a for a, b in zip(values, values[1:], strict=False)]
    return values


def _candidates(grid: list[float], digit: float) -> list[int]:
    """Cells' ends, counted from x, near which f may break; x itself comes first.

    A break is an outlier among differences. In second differences the curvature of f competes, in
    fourth differences hardly: half of the candidates are taken from each.
    """
    chosen = [0]
    for order in (4, 2):
        sizes = [abs(d) for d in _differences(grid, order)]
        first = order // 2 - _CELLS // 2
        ranked = sorted(range(len(sizes)), key=lambda j: -sizes[j])
        taken = 0
        for j in ranked:
            if taken == _MAX_CANDIDATES // 2 or sizes[j] <= _TRUSTED * digit:
                break
            if all(abs(j + first - other) > 1 for other in chosen):
                chosen.append(j + first)
                taken += 1
    return chosen


def _refine(line: _Line, center: int, digit: float, relevant: float) -> tuple[Break | None, float]:
    """Follows the largest second difference into the break, if there is one near `center`.

    Of three centres at half the width the one with the largest second difference is next. The power
    of the width with which it falls says what is there. Returns the break, and the steepest slope
    on the way, over a change of f that is `relevant`.
    """

    def noise_at(node: int) -> float:
        return max(digit, min(_noise(line, node), _UNSTABLE_DIGITS * digit))

    noise = noise_at(center)
    width = 1 << (2 * line.cell - 1).bit_length()  # halves evenly down to 1
    bound = _CELLS // 2 * line.cell - width
    center = max(-bound, min(bound, center))
    low, middle, high = line.values([center - width, center, center + width])
    widths: list[int] = []
    bends: list[float] = []
    slope = 0.0
    while width > 1:
        width //= 2
        inner = line.values([center - width, center + width])
        nodes = [low, inner[0], middle, inner[1], high]
        if not all(map(math.isfinite, nodes)):
            return Break("spike", line.offset(center), math.inf), math.inf
        firsts, seconds = _differences(nodes, 1), [abs(d) for d in _differences(nodes, 2)]
        best = max(range(3), key=lambda j: seconds[j])
        if seconds[best] <= _TRUSTED * noise:
            break
        change = max(map(abs, firsts))
        if change >= max(relevant, _TRUSTED * noise):
            slope = max(slope, change / (width * line.unit))
        center += (best - 1) * width
        low, middle, high = nodes[best : best + 3]
        widths.append(width)
        bends.append(seconds[best])
    if len(bends) <= _LEVELS or math.log2(bends[-1 - _LEVELS] / bends[-1]) / _LEVELS >= (
        _SMOOTH_EXPONENT
    ):
        return None, slope
    if bends[-1 - _LEVELS] <= _TRUSTED * noise_at(center):  # f, and its noise, grew on the way
        return None, slope
    # What is not smooth keeps its exponent over all widths that are small beside what f does else.
    levels = min(len(bends) - 1, _LONG_LEVELS)
    exponent = math.log2(bends[-1 - levels] / bends[-1]) / levels
    found = _classify(line, center, widths[-1], exponent, slope)
    if found is not None and found.kind == "spike" and max(bends) < relevant:
        return None, slope
    return found, slope


def _classify(line: _Line, center: int, width: int, exponent: float, slope: float) -> Break | None:
    """What stands out at `center` over `width`; None if nothing does."""
    reach = 6
    values = line.values([center + j * width for j in range(-reach, reach + 1)])
    if not all(map(math.isfinite, values)):
        return Break("spike", line.offset(center), math.inf)
    seconds = [abs(d) for d in _differences(values, 2)]
    if max(seconds) <= _ISOLATED * statistics.median(seconds):
        return None
    unit = width * line.unit
    if exponent >= _KINK_EXPONENT:
        sides = (values[4] - values[0]) / (4 * unit), (values[-1] - values[-5]) / (4 * unit)
        return Break("kink", line.offset(center), sides[1] - sides[0])
    firsts = sorted(_differences(values, 1), key=abs)
    # A jump is one step; a pole has two of about the same size.
    if abs(exponent) <= _JUMP_EXPONENT and abs(firsts[-2]) < abs(firsts[-1]) / 2:
        return Break("jump", line.offset(center), firsts[-1])
    return Break("spike", line.offset(center), slope)


def _decide(e: _Evidence) -> tuple[str, str]:
    """The verdict and its reason: the most serious finding comes first."""
    ads = [e.ad, *e.ad_line, *e.ad_around]
    if not math.isfinite(e.center):
        return "nan", f"f(x) is {e.center}"
    if e.ad is not None and not math.isfinite(e.ad):
        return "nan", f"AD is {e.ad} at x, where f is {e.center:.4g}"
    if e.scatter > _REPEATABLE_DIGITS * e.digit:
        return (
            "unstable",
            f"f is random: evaluated twice at the same points, it differs by {_about(e.scatter)}",
        )
    if any(map(math.isnan, e.grid)):
        offset = min((_grid_offset(e, j) for j, v in enumerate(e.grid) if math.isnan(v)), key=abs)
        return "nan", f"f is NaN at {_place(offset)}"
    if any(a is not None and math.isnan(a) for a in ads):
        return "nan", "AD is NaN at points within reach, though f is not"
    if any(map(math.isinf, e.grid)):
        offset = min((_grid_offset(e, j) for j, v in enumerate(e.grid) if math.isinf(v)), key=abs)
        return "spike", f"f is infinite at {_place(offset)}"
    if e.noise > max(_UNSTABLE_SHARE * e.range, _UNSTABLE_DIGITS * e.digit):
        return "unstable", (
            f"f changes by {_about(e.noise)} over {e.line.short * e.line.unit:.2g}, and by "
            f"{_about(e.range)} within reach"
        )
    for b in e.breaks:
        if b.kind == "spike":
            return "spike", f"slopes grow without bound at {_place(b.offset)}"

    jumps = [b for b in e.breaks if b.kind == "jump" and abs(b.size) >= _RELEVANT_JUMP * e.range]
    kinks = [
        b for b in e.breaks if b.kind == "kink" and abs(b.size) >= _RELEVANT_KINK * e.mean_slope
    ]
    flat = all(not a for a in ads)
    says = "has no graph" if all(a is None for a in ads) else "is 0 at x and all around"
    alternates = len({b.size > 0 for b in jumps}) == 2
    if len(jumps) >= _OSCILLATION and (alternates or not flat):
        return "oscillation", (
            f"f jumps at least {len(jumps)} times within reach, next at {_place(jumps[0].offset)}"
        )
    if flat and jumps:
        return "vanishing", f"AD {says}, but f {_jump(jumps[0])}"
    if jumps:
        return "jump", f"f {_jump(jumps[0])}"
    significant = abs(e.smoothed) > _SIGNIFICANT * e.smoothed_error
    if flat and significant and abs(e.smoothed) * e.line.reach > _UNSTABLE_DIGITS * e.digit:
        if not kinks or says == "has no graph":
            return "vanishing", f"AD {says}, but the smoothed gradient is {e.smoothed:.4g}"
    if kinks:
        return "kink", _kink(e, kinks[0])
    if flat and says == "has no graph" and e.range > _UNSTABLE_DIGITS * e.digit:
        return "vanishing", f"AD {says}, but f changes by {_about(e.range)} within reach"
    steepest = e.steepest
    if steepest > _SPIKE * e.mean_slope and steepest * e.line.reach > _UNSTABLE_DIGITS * e.digit:
        return "spike", (
            f"a slope of {steepest:.3g} within reach, where the mean slope is {e.mean_slope:.3g}"
        )
    if _contradicts(e):
        return "mismatch", (
            f"AD is {'none' if e.ad is None else format(e.ad, '.4g')}, but the slope is "
            f"{e.left.value:.4g} on the left and {e.right.value:.4g} on the right"
        )
    if e.range <= _UNSTABLE_DIGITS * e.digit and flat:
        return "smooth", "f is constant within reach"
    if _agrees(e):
        return "smooth", "no break within reach, and AD is the slope on both sides"
    return "smooth", "no break within reach; difference quotients are too rough to judge AD"


def _contradicts(e: _Evidence) -> bool:
    """Whether AD is neither the left nor the right slope of a smooth f."""
    ad = e.ad or 0.0
    error = e.left.error + e.right.error
    if not math.isfinite(error):
        return False
    gap = min(abs(ad - e.left.value), abs(ad - e.right.value))
    slope = max(abs(ad), abs(e.left.value), abs(e.right.value))
    # What changes f by less than its rounding cannot be seen in its values, whoever is right. Where
    # f is constant its size does not tell what it was computed from: 1 stands for that.
    floor = e.digit if e.range else max(e.digit, e.line.eps)
    return (
        gap > _MISMATCH_ERRORS * error
        and gap > _MISMATCH_SHARE * max(slope, e.mean_slope)
        and gap * e.line.reach > _UNSTABLE_DIGITS * floor
    )


def _agrees(e: _Evidence) -> bool:
    ad = e.ad or 0.0
    share = _MISMATCH_SHARE * max(abs(ad), e.mean_slope)
    return all(abs(ad - d.value) <= share and d.error <= share for d in (e.left, e.right))


def _grid_offset(e: _Evidence, j: int) -> float:
    return e.line.offset((j - _CELLS // 2) * e.line.cell)


def _about(size: float) -> str:
    return f"{size:.2g}"


def _place(offset: float) -> str:
    if offset == 0.0:
        return "x"
    return f"{abs(offset):.3g} {'above' if offset > 0 else 'below'} x"


def _jump(b: Break) -> str:
    return f"jumps by {b.size:.3g} at {_place(b.offset)}"


def _kink(e: _Evidence, b: Break) -> str:
    text = f"the slope changes by {b.size:.3g} at {_place(b.offset)}"
    if e.ad is not None and b.offset == 0.0:
        return f"{text}, where AD says {e.ad:.4g}"
    return text


def _coordinate(
    e: _Evidence, verdict: str, reason: str, index: tuple[int, ...]
) -> CoordinateDiagnosis:
    central = [(a + b) / 2 for a, b in zip(e.forward, e.backward, strict=False)]
    count = len(central)
    return CoordinateDiagnosis(
        index,
        e.line.at,
        verdict,
        reason,
        e.ad,
        e.smoothed,
        e.smoothed_error,
        e.left,
        e.right,
        e.line.reach,
        tuple(e.breaks),
        tuple(e.steps[:count]),
        tuple(e.forward[:count]),
        tuple(e.backward[:count]),
        tuple(central),
        tuple(_grid_offset(e, j) for j in range(len(e.grid))),
        tuple(e.grid),
    )
