"""Directional derivatives: one-sided limits of difference quotients."""

import dataclasses
import math
import numbers
import statistics
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from .scalar_function import ScalarFunction, check_direction, check_point


@final
@dataclasses.dataclass(frozen=True)
class DirectionalDerivative:
    """The result of `torchsmooth.directional_derivative`: a limit and its error.

    `error` is no strict bound: it adds up the remainder of the extrapolation, the effect of
    rounding, and contradictions by finer steps. It is infinite where no finite limit shows at the
    precision of x; `value` is then infinite if the quotients grow steadily, and else NaN.
    """

    value: float
    error: float


# Rungs of the ladder of steps end this many bits above the precision of x.
_GUARD_BITS = 3
# Columns of the extrapolation: errors of order t, t^2, ... are removed one after the other.
_MAX_ORDER = 5
# The finest rungs only test the coarser ones: without them, quotients that scatter would agree by
# chance at the end of the ladder, where nothing contradicts them.
_WITNESSES = 4
# Rungs over which quotients must grow without a break to be called unbounded.
_GROWTH = 8
# Rounding inside of f may cost this many times the precision of its value.
_MAX_CANCELLATION = 256
# Estimates of the remainder of an extrapolation are right to a factor of about this.
_SAFETY = 2.0


def directional_derivative(
    f: Callable[[Tensor], Any],
    x: Tensor,
    direction: Tensor,
    *,
    side: str = "right",
    step: float | None = None,
    vectorized: bool = False,
) -> DirectionalDerivative:
    """Returns the limit of (f(x + t v) - f(x)) / t as t goes to 0 from one side.

    f is evaluated on a ladder of halved steps and the quotients are extrapolated to t = 0 by
    polynomials in t (Richardson's scheme in Neville's form). The result is the entry of the scheme
    with the least estimated error. This error includes contradictions by finer steps, so that a
    kink beside x does not hide the limit at x.

    **Arguments:**

    - `f`: maps a tensor like `x` to one number (a tensor, a NumPy scalar or a Python number). It is
        not differentiated.
    - `x`: float32 or float64 tensor of any shape. f is evaluated in its dtype: float64 gives twice
        the digits.
    - `direction`: v, a tensor that broadcasts against `x`, finite and not 0.
    - `side`: "right" for t > 0, "left" for t < 0. The left limit is minus the right one along -v.
    - `step`: the largest step t; None for the power of 2 below a tenth of max(1, max |x|), over max
        |v|.
    - `vectorized`: whether f maps a batch of points [m, *x.shape] to [m].

    **Returns:** a `DirectionalDerivative` of two floats: `value` and `error`. A jump at x gives an
    infinite value, an f that is not finite NaN; both have an infinite error.

    **Raises:** TypeError or ValueError if an argument differs from this description. Exceptions of
    f are passed on, with a note that names the point.

    **Source:** Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering
    Software 4, 1982.

    >>> import torch, torchsmooth as ts
    >>> x, v = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    >>> [ts.directional_derivative(torch.abs, x, v, side=side).value for side in ("left", "right")]
    [-1.0, 1.0]
    >>> slope = ts.directional_derivative(torch.exp, x, v)
    >>> abs(slope.value - 1) <= slope.error < 1e-9
    True
    """
    function = ScalarFunction(f, vectorized, "directional_derivative")
    x = check_point(x)
    if x.numel() == 0:
        raise ValueError("x must have at least one element, got none; pass another point")
    v = check_direction(direction, x)
    if side not in ("right", "left"):
        raise ValueError(f"side must be 'right' or 'left', got {side!r}; pass one of the two")
    sign = 1.0 if side == "right" else -1.0
    size = max(1.0, float(x.abs().max()))
    if step is None:
        step = 2.0 ** math.floor(math.log2(0.1 * size / float(v.abs().max())))
    elif isinstance(step, bool) or not isinstance(step, numbers.Real):
        raise TypeError(f"step must be a number, got {step!r}; pass for example 0.1")
    elif not 0 < step < math.inf:
        raise ValueError(f"step must be positive and finite, got {step}; pass for example 0.1")

    eps = torch.finfo(x.dtype).eps
    rungs = round(-math.log2(eps)) - _GUARD_BITS
    ladder = [sign * float(step) * 0.5**k for k in range(rungs)]
    points = torch.stack([x + t * v for t in ladder])
    # x + t v is rounded: this is the actual step along v.
    moved = ((points - x) * v).reshape(rungs, -1).sum(1).double() / float((v * v).sum())
    steps = [abs(t) for t in moved.tolist()]
    center, *values = function.values(torch.cat([x.unsqueeze(0), points]))
    # Steps that rounding changes much are left out.
    kept = [k for k in range(rungs) if abs(steps[k] - abs(ladder[k])) <= 0.05 * abs(ladder[k])]
    result = one_sided_limit([steps[k] for k in kept], [values[k] for k in kept], center, eps)
    return DirectionalDerivative(sign * result.value + 0.0, result.error)  # no -0.0


def one_sided_limit(
    steps: list[float],  # positive, falling
    values: list[float],  # f(x + t v)
    center: float,  # f(x)
    eps: float,
    noise: float = 0.0,  # of f's values, beside the rounding of their last digits
) -> DirectionalDerivative:
    """The limit of (f(x + t v) - f(x)) / t, from values on a ladder of steps."""
    # The limit is at t = 0: steps coarser than the finest NaN or infinity are left out.
    first = max((k + 1 for k, value in enumerate(values) if not math.isfinite(value)), default=0)
    steps, values = steps[first:], values[first:]
    if len(steps) <= _GROWTH or not math.isfinite(center):
        return DirectionalDerivative(math.nan, math.inf)
    quotients = [(value - center) / t for value, t in zip(values, steps, strict=True)]
    rounding = [
        (eps * (abs(value) + abs(center)) + noise) / t
        for value, t in zip(values, steps, strict=True)
    ]
    scatter = [_scatter(steps, values, center, eps) / t for t in steps]

    entries: list[tuple[int, float, float, float]] = []  # rung, value, error, scatter
    column, bounds, spread = quotients, rounding, scatter
    for order in range(_MAX_ORDER + 1):
        if order:
            spread = _extrapolate(spread, steps, order, +1)
            bounds = _extrapolate(bounds, steps, order, +1)
            column = _extrapolate(column, steps, order, -1)
        for i in range(3, len(column)):
            a, b, c = (abs(column[i - m] - column[i - m - 1]) for m in range(3))
            error = _SAFETY * (bounds[i] + _remainder(a, b, c, bounds[i]))
            entries.append((order + i, column[i], error, spread[i]))

    # An entry also errs by what finer entries and finer quotients contradict: quotients come nearer
    # to their limit, or stay as near as rounding lets them.
    entries.sort(key=lambda entry: -entry[0])
    best = DirectionalDerivative(math.nan, math.inf)
    finer: list[tuple[float, float]] = []
    for rung, value, error, own_scatter in entries:
        distance = abs(quotients[rung] - value)
        excess = [
            abs(quotients[k] - value) - distance - _SAFETY * (rounding[k] + scatter[k])
            for k in range(rung + 1, len(quotients))
        ]
        error = max(error, *(abs(value - v) - e for v, e in finer), *excess, 0.0)
        finer.append((value, error + _SAFETY * own_scatter))
        if rung < len(quotients) - _WITNESSES and error < best.error:
            best = DirectionalDerivative(value, error)
    if best.error < math.inf:
        return best
    last = quotients[-_GROWTH:]
    grows = all(abs(b) > abs(a) and a * b > 0 for a, b in zip(last, last[1:], strict=False))
    return DirectionalDerivative(math.copysign(math.inf, last[-1]) if grows else math.nan, math.inf)


def _scatter(steps: list[float], values: list[float], center: float, eps: float) -> float:
    """The effect of rounding inside of f on its values: more than their last digit if f cancels.

    It is measured on the finest rungs, where f is otherwise linear; half of them may deviate for
    another reason. A jump is not rounding: f's largest value there bounds the result.
    """
    residuals = []
    for k in range(len(steps) - _GROWTH, len(steps)):
        share = steps[k] / steps[k - 1]
        residuals.append(abs(values[k] - center - share * (values[k - 1] - center)))
    largest = max(abs(center), *map(abs, values[-_GROWTH:]))
    return min(statistics.median(residuals), _MAX_CANCELLATION * eps * largest)


def _extrapolate(
    column: list[float],
    steps: list[float],
    order: int,
    sign: int,  # -1; or 1 for bounds on errors, which add up
) -> list[float]:
    """Polynomials of one degree more through neighbouring rungs, at t = 0."""
    result = []
    for i in range(1, len(column)):
        fine, coarse = steps[i + order - 1], steps[i - 1]
        result.append((coarse * column[i] + sign * fine * column[i - 1]) / (coarse - fine))
    return result


def _remainder(a: float, b: float, c: float, noise: float) -> float:
    """How far a sequence is from its limit, after changes of c, b and, last, a.

    Changes that fall in a ratio r have a r / (1 - r) to come. Changes that do not fall, and are not
    rounding, show that there is no limit.
    """
    last = max(a, b / 4)
    if last <= noise:
        return last
    ratio = max(a / b if b else math.inf, b / c if c else math.inf)
    return last * max(1.0, ratio / (1 - ratio)) if ratio < 0.97 else math.inf
