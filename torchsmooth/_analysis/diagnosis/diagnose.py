"""The search for places where automatic differentiation is wrong."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..._checks import check_distribution, check_int
from ...distributions import AbstractDistribution, Gaussian
from ...samplers import MonteCarlo, seed_tensor
from ..estimates import estimate
from ..scalar_function import ScalarFunction, check_point
from .evidence import Evidence, entry, examine
from .line import Line
from .result import CoordinateDiagnosis, Diagnosis
from .thresholds import NEIGHBOURS, REACH, REPEATS
from .verdicts import decide


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
    """Checks for each coordinate of `x` whether the gradient of f by autograd can be trusted.

    Automatic differentiation (AD) differentiates the operations that were executed. It does not see
    the branch that was not taken, nor a jump, and returns zero for a piecewise constant function.
    Here its gradient is compared with f's values in three ways: on a line through x along the
    coordinate, as far as the noise reaches (3 scales); by difference quotients over a ladder of
    steps, from which the left and the right derivative are extrapolated; and by the gradient of the
    smoothed function, with its standard error. The line is searched for breaks by second
    differences, refined down to the precision of x: their power law distinguishes kinks, jumps and
    poles from steep but smooth places.

    **Arguments:**

    - `f`: maps a tensor like `x` to one number (a tensor, a NumPy scalar or a Python number). It
        may be differentiable by autograd or not. It is called 300 times for a straight line, up to
        1500 times for a coordinate with many breaks, and num_samples * repetitions times for all.
    - `x`: float32 or float64 tensor of any shape. f is evaluated in its dtype; float64 is
        recommended, because it distinguishes finer breaks from rounding.
    - `distribution`: the law of the noise of the smoothed gradient. Its scale defines what is near.
        None for a Gaussian whose scale is a tenth of max(1, |x|), elementwise.
    - `coordinates`: the elements of the flattened x to examine; None for all.
    - `num_samples`, `repetitions`: of the smoothed gradient, as for `torchsmooth.estimate` with
        Sobol points. Its standard error comes from the scatter of the repetitions.
    - `vectorized`: whether f maps a batch of points [m, *x.shape] to [m].
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator.

    **Returns:** a `Diagnosis`: a table as `str()`, with a `CoordinateDiagnosis` for each of the
    `coordinates`, `to_dict()` and `plot()`. `torchsmooth.VERDICTS` explains its verdicts. A break
    that no line along a coordinate meets shows in the smoothed gradient only. A break between two
    neighbours of the 65 points of a line does not show at all.

    **Raises:** TypeError or ValueError if an argument differs from this description. Exceptions of
    f are passed on, with a note that names the point.

    **Source:** Moré and Wild, "Estimating computational noise", SIAM Journal on Scientific
    Computing 33, 2011, for the rounding of f.

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

    with warnings.catch_warnings():
        # The verdicts say where f is NaN.
        warnings.filterwarnings("ignore", "f returned NaN", UserWarning)
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
    repeats = function.values(x.expand(REPEATS, *x.shape))
    ad = function.gradient(x)
    uniforms = MonteCarlo().uniforms(
        NEIGHBOURS, x.numel(), seed=seed, dtype=torch.float64, device=x.device
    )
    noise = (scale.flatten() * Gaussian().icdf(uniforms)).reshape(NEIGHBOURS, *x.shape)
    around = [function.gradient(point) for point in (x + noise).to(x.dtype)]

    shape = torch.empty(x.shape, device="meta")
    found = []
    for i in indices:
        line = Line(function, x, i, REACH * float(scale.flatten()[i]))
        evidence = examine(
            line,
            repeats,
            entry(ad, i),
            [entry(gradient, i) for gradient in around],
            float(smoothed.jacobian.flatten()[i]),
            float(smoothed.jacobian_error.flatten()[i]),
        )
        verdict, reason = decide(evidence)
        found.append(as_result(evidence, verdict, reason, _unravel(i, shape.shape)))
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
        result: Tensor = rows.reshape(x.shape)
        return result
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


def as_result(
    e: Evidence, verdict: str, reason: str, index: tuple[int, ...]
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
        tuple(e.grid_offset(j) for j in range(len(e.grid))),
        tuple(e.grid),
    )
