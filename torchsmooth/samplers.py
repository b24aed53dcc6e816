"""Sources of the uniform numbers of the noise.

A sampler names one of the point sets of `csrc/core/samplers.h`. The points are computed inside the
ops, as a pure function of seed, batch element, sample and dimension; every batch element has
different points. A new sampler is a class here and a struct there.
"""

import abc
import dataclasses
import math
import numbers
import operator
import warnings
from collections.abc import Sequence
from typing import ClassVar, NoReturn, final

import torch
from torch import Tensor

from ._names import unknown_name
from ._torch_internals import (
    constant_in_graphs,
    frames_of_the_package,
    outside_of_transforms_and_modes,
)


__all__ = [
    "SAMPLERS",
    "AbstractSampler",
    "AutoSampler",
    "Cartesian",
    "LatinHypercube",
    "MonteCarlo",
    "Sobol",
]

# Sample and cell numbers are 32-bit words in the kernels, with two bits to spare.
_MAX_SAMPLES = 2**30
_DIRECTION_BITS = 32
_WORDS = 2**32


class AbstractSampler(abc.ABC):
    """A rule for the uniform numbers of a batch element's samples.

    Samplers are immutable, hold no state and compare by value: what is random in them comes from
    the seed.

    **Subclassing.** Subclasses are final and implement `name`, `independent`, `_validate_points`
    and `directions`.
    """

    independent: ClassVar[bool]
    """Whether the samples are independent of each other: only then is leaving one out exact."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The name that the ops use."""

    @abc.abstractmethod
    def directions(self, n: int, device: torch.device) -> Tensor:  # [n or 0, 32], int32
        """The direction numbers that the ops take; empty for all samplers except Sobol."""

    @abc.abstractmethod
    def _validate_points(self, points: int, n: int, mirrored: int) -> None:
        """Checks the number of points; each point makes `mirrored` samples."""

    def validate(self, num_samples: int, n: int, antithetic: bool = False) -> None:
        """Raises a `ValueError` or `TypeError` unless the sampler can make this number of samples.

        **Arguments:**

        - `num_samples`: samples per batch element; even if `antithetic`.
        - `n`: the number of dimensions of the event.
        - `antithetic`: whether samples come in mirror images.
        """
        if isinstance(num_samples, bool) or not isinstance(num_samples, numbers.Integral):
            raise TypeError(
                f"num_samples must be an integer, got {num_samples!r}; pass for example 1024"
            )
        if num_samples <= 0:
            raise ValueError(
                f"num_samples must be positive, got {num_samples}; pass for example 1024"
            )
        if num_samples > _MAX_SAMPLES:
            raise ValueError(
                f"num_samples must be at most 2**30, got {num_samples}; average the results "
                "of several seeds instead"
            )
        if antithetic and num_samples % 2 != 0:
            raise ValueError(
                f"num_samples must be even with antithetic=True, because samples come in "
                f"pairs, got {num_samples}; pass {num_samples + 1}"
            )
        mirrored = 2 if antithetic else 1
        self._validate_points(num_samples // mirrored, n, mirrored)

    def uniforms(
        self,
        num_samples: int,
        n: int,
        *,
        batch_shape: Sequence[int] = (),
        antithetic: bool = False,
        seed: int | Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:  # [*batch_shape, num_samples, n]
        """Returns uniform numbers, strictly between 0 and 1.

        They are (w + 1/2) / 2^32 for the 32-bit words w that smoothing draws for the same seed:
        exactly in float64, rounded but kept off 0 and 1 in the other types.

        **Arguments:**

        - `num_samples`, `n`, `antithetic`: as for `validate`. Antithetic samples 2i and 2i + 1 are
            mirror images, u and 1 - u.
        - `batch_shape`: the shape of the batch; every element has different points.
        - `seed`: an int, an int64 tensor with one element, or None for one from torch's generator.
        - `dtype`, `device`: of the result.

        **Returns:** a tensor of shape [*batch_shape, num_samples, n].

        **Raises:** TypeError or ValueError if an argument differs from this description.

        >>> import torchsmooth as ts
        >>> u = ts.LatinHypercube().uniforms(4, 1, seed=0)
        >>> (4 * u).floor().flatten().sort().values  # one in every quarter
        tensor([0., 1., 2., 3.])
        """
        if not dtype.is_floating_point:
            raise TypeError(
                f"dtype must be a floating-point type, got {dtype}; pass for example torch.float32"
            )
        self.validate(num_samples, n, antithetic)
        elements = math.prod(batch_shape)
        if min(batch_shape, default=0) < 0 or elements > _WORDS:
            raise ValueError(
                "batch_shape must be of at most 2^32 elements and without negative sizes, got "
                f"{tuple(batch_shape)}; draw a smaller batch"
            )
        target = torch.empty(0, device=device).device
        rows = elements * num_samples
        words = torch.ops.torchsmooth.words(
            seed_tensor(seed, target),
            self.directions(n, target),
            sampler_for(self, n).name,
            antithetic,
            num_samples,
            n,
            0,
            rows,
        )
        compute = torch.float64 if dtype == torch.float64 else torch.float32
        u = ((words.to(compute) + 0.5) * (1 / _WORDS)).to(dtype)
        info = torch.finfo(dtype)
        lowest = max(0.5 / _WORDS, info.tiny * info.eps)  # float16 has no 2^-33
        uniforms: Tensor = u.clamp(lowest, 1 - info.eps / 2)
        return uniforms.reshape(*batch_shape, num_samples, n)


@final
@dataclasses.dataclass(frozen=True)
class MonteCarlo(AbstractSampler):
    """Independent samples, by the counter-based generator Philox4x32-10.

    The variance of an average falls as 1/s.

    **Source:** Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
    2011.
    """

    independent = True

    @property
    def name(self) -> str:
        return "mc"

    def directions(self, n: int, device: torch.device) -> Tensor:
        return _no_directions(device)

    def _validate_points(self, points: int, n: int, mirrored: int) -> None:
        pass


@final
@dataclasses.dataclass(frozen=True)
class LatinHypercube(AbstractSampler):
    """Latin hypercube samples: in every dimension, one sample in each of s equal intervals.

    The number of samples is arbitrary. In every dimension the assignment of samples to intervals is
    random. Averages of functions that are additive in the dimensions have almost no variance.

    **Arguments:**

    - `randomized`: whether samples are uniform in their intervals, which keeps averages unbiased
        ("rqmc_latin"), or at the centres ("qmc_latin").

    **Source:** McKay, Beckman and Conover, "A comparison of three methods for selecting values of
    input variables in the analysis of output from a computer code", Technometrics 21, 1979.
    """

    randomized: bool = True

    independent = False

    @property
    def name(self) -> str:
        return "rqmc_latin" if self.randomized else "qmc_latin"

    def directions(self, n: int, device: torch.device) -> Tensor:
        return _no_directions(device)

    def _validate_points(self, points: int, n: int, mirrored: int) -> None:
        pass


@final
@dataclasses.dataclass(frozen=True)
class Cartesian(AbstractSampler):
    """A regular grid: one sample in each of s = k^n equal cells.

    Few numbers of samples have such a grid, and hardly any where n is large: then use `Sobol` or
    `LatinHypercube`.

    **Arguments:**

    - `randomized`: whether samples are uniform in their cells, which keeps averages unbiased
        ("rqmc_cartesian"), or at the centres ("qmc_cartesian").
    """

    randomized: bool = True

    independent = False

    @property
    def name(self) -> str:
        return "rqmc_cartesian" if self.randomized else "qmc_cartesian"

    def directions(self, n: int, device: torch.device) -> Tensor:
        return _no_directions(device)

    def _validate_points(self, points: int, n: int, mirrored: int) -> None:
        if n == 0:
            return
        n = operator.index(n)  # under torch.compile, n may be symbolic: this makes it a number
        side = floor_root(points, n)
        if side**n == points:
            return
        below, above = mirrored * side**n, mirrored * (side + 1) ** n
        nearest = f"{below} or {above}" if above <= _MAX_SAMPLES else f"{below}"
        law = "2 k**n (k**n points and their mirror images)" if mirrored == 2 else "k**n"
        raise ValueError(
            f"num_samples must be {law} for the cartesian samplers, with n = {n} dimensions here "
            f"and an integer k, got {mirrored * points}; the nearest valid: {nearest}; or use "
            "the sampler 'sobol' or 'rqmc_latin'"
        )


@final
@dataclasses.dataclass(frozen=True)
class Sobol(AbstractSampler):
    """Sobol points with nested uniform (Owen) scrambling.

    Every sample is uniform, so that averages are unbiased. Together the samples fill the cube
    evenly, in each dimension and in pairs of dimensions. The direction numbers are those of
    `torch.quasirandom.SobolEngine`, for up to 21201 dimensions. Numbers of samples that are powers
    of 2 are balanced; others work, with a warning.

    **Source:** Owen, "Randomly permuted (t, m, s)-nets and (t, s)-sequences", 1995; Joe and Kuo,
    "Constructing Sobol sequences with better two-dimensional projections", 2008.
    """

    independent = False

    @property
    def name(self) -> str:
        return "sobol"

    def directions(self, n: int, device: torch.device) -> Tensor:
        if torch.compiler.is_compiling():
            # Two tables serve all graphs. They are not cut to n, which a graph would then hold as a
            # number: the ops take rows beyond.
            capacity = _SOME_DIMENSIONS if n <= _SOME_DIMENSIONS else _MAX_SOBOL_DIMENSIONS
            return _sobol_table(capacity, torch.device(device))
        # Rounded up, so that few tables serve all n.
        capacity = min(max(16, 1 << (n - 1).bit_length()), _MAX_SOBOL_DIMENSIONS)
        return _sobol_table(capacity, torch.device(device))[:n]

    def _validate_points(self, points: int, n: int, mirrored: int) -> None:
        if n > _MAX_SOBOL_DIMENSIONS:
            raise ValueError(
                f"sampler must not be 'sobol' beyond {_MAX_SOBOL_DIMENSIONS} dimensions, got an "
                f"event of {n}; use 'rqmc_latin' or 'mc'"
            )
        if points & (points - 1) != 0 and not torch.compiler.is_compiling():
            _warn_unbalanced(points, mirrored)


_SOME_DIMENSIONS = 1024
_MAX_SOBOL_DIMENSIONS = torch.quasirandom.SobolEngine.MAXDIM


@final
@dataclasses.dataclass(frozen=True)
class AutoSampler(AbstractSampler):
    """`Sobol` up to its 21201 dimensions, randomised `LatinHypercube` beyond: the default."""

    independent = False

    @property
    def name(self) -> str:
        return "auto"

    def directions(self, n: int, device: torch.device) -> Tensor:
        return sampler_for(self, n).directions(n, device)

    def _validate_points(self, points: int, n: int, mirrored: int) -> None:
        sampler_for(self, n)._validate_points(points, n, mirrored)


def sampler_for(sampler: AbstractSampler, n: int) -> AbstractSampler:
    """The sampler whose points an event of n dimensions gets, which the ops know by its name."""
    if not isinstance(sampler, AutoSampler):
        return sampler
    return SAMPLERS["sobol" if n <= _MAX_SOBOL_DIMENSIONS else "rqmc_latin"]


_warned_unbalanced = False


def _warn_unbalanced(points: int, mirrored: int) -> None:
    global _warned_unbalanced
    if _warned_unbalanced:
        return
    _warned_unbalanced = True
    power = 1 << (points.bit_length() - 1)
    pairs = " pairs" if mirrored == 2 else ""
    warnings.warn(
        f"Sobol points balance for powers of 2 only, but there are {points}{pairs}: results are "
        f"right but less accurate; pass num_samples={mirrored * power} or {2 * mirrored * power}",
        UserWarning,
        stacklevel=frames_of_the_package(),
    )


_sobol_tables: dict[tuple[int, torch.device], Tensor] = {}


@constant_in_graphs
def _sobol_table(capacity: int, device: torch.device) -> Tensor:  # [capacity, 32], int32
    """Direction numbers with reversed bits, because the scrambling hash works on reversed bits.

    Row j, column b is the contribution of bit b of a sample's index to dimension j.
    """
    table = _sobol_tables.get((capacity, device))
    if table is None:
        # A plain tensor, valid for all later calls, even if the first one is made for inference,
        # within a transform, or for tracing. There is no gradient to switch off, and export would
        # record it.
        with outside_of_transforms_and_modes():
            engine = torch.quasirandom.SobolEngine(capacity)
            state = engine.sobolstate  # [capacity, 30], 30-bit numbers
            reversed_bits = torch.zeros_like(state)
            for bit in range(engine.MAXBIT):
                reversed_bits |= ((state >> bit) & 1) << (_DIRECTION_BITS - 1 - bit - 2)
            table = torch.nn.functional.pad(reversed_bits, (0, _DIRECTION_BITS - engine.MAXBIT))
            table = table.to(torch.int32).to(device)
        _sobol_tables[capacity, device] = table
    return table


def _no_directions(device: torch.device) -> Tensor:
    return torch.empty((0, _DIRECTION_BITS), dtype=torch.int32, device=device)


def floor_root(x: int, n: int) -> int:
    """The largest integer k with k^n <= x, for x >= 1."""
    k: int = round(x ** (1 / n))
    while k**n > x:
        k -= 1
    while (k + 1) ** n <= x:
        k += 1
    return k


SAMPLERS: dict[str, AbstractSampler] = {
    sampler.name: sampler
    for sampler in (
        MonteCarlo(),
        LatinHypercube(randomized=False),
        LatinHypercube(randomized=True),
        Cartesian(randomized=False),
        Cartesian(randomized=True),
        Sobol(),
    )
}
"""The samplers by their names in `sampler=`; "auto" chooses one of them."""

_AUTO = AutoSampler()


def resolve_sampler(sampler: str | AbstractSampler) -> AbstractSampler:
    """The sampler of this name, or the sampler itself."""
    if isinstance(sampler, AbstractSampler):
        return sampler
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler]
    if sampler == _AUTO.name:
        return _AUTO
    names = ", ".join(repr(name) for name in (*SAMPLERS, _AUTO.name))
    if not isinstance(sampler, str):
        raise TypeError(
            f"sampler must be one of {names} or a sampler such as Sobol(), got {sampler!r}"
        )
    raise ValueError(f"sampler must be one of {names}, got {sampler!r}")


def seed_tensor(seed: int | Tensor | None, device: torch.device | str) -> Tensor:  # [], int64
    """The seed as a tensor, so that a CUDA graph can replay with another one.

    None draws one from torch's generator of the device, so that `torch.manual_seed` reproduces.
    """
    expected = "seed must be an int, None, or an int64 tensor with one element"
    if seed is None:
        return torch.randint(2**63 - 1, (), dtype=torch.int64, device=device)
    if isinstance(seed, Tensor):
        if seed.dtype != torch.int64:
            raise TypeError(f"{expected}, got one of {seed.dtype}; convert it with .long()")
        if seed.numel() != 1:
            raise ValueError(
                f"{expected}, got one of shape {tuple(seed.shape)}; the batch elements of one call "
                "have noise of their own in any case"
            )
        return seed.reshape(()).to(device)
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(f"{expected}, got {seed!r}; pass for example 0")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed must fit into 64 signed bits, got {seed}; take it modulo 2**63")
    # torch.full writes the number in a kernel; torch.tensor would copy it from the host.
    return torch.full((), int(seed), dtype=torch.int64, device=device)


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
