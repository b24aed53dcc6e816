"""Generalised derivatives: one-sided limits, and a sampled Clarke subdifferential."""

import dataclasses
import math
import numbers
import statistics
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from ._arguments import check_bool, check_floating, check_int
from .distributions import Gaussian
from .samplers import MonteCarlo


# What torch says of operators that take no part in a graph.
_NO_GRAPH = ("Tensor that requires grad", "is not implemented")


class ScalarFunction:
    """A function of tensors like x to one number, with its values as Python floats.

    What f raises gets a note that names the point.
    """

    def __init__(self, f: Callable[[Tensor], Any], vectorized: bool, caller: str):
        if not callable(f):
            raise TypeError(
                f"f must be callable, got {type(f).__name__}; pass a function of a tensor like x"
            )
        self.f = f
        self.vectorized = check_bool(vectorized, "vectorized")
        self.caller = caller

    def values(self, points: Tensor) -> list[float]:  # [m, *x.shape]
        """f at each of the points."""
        with torch.no_grad():
            if not self.vectorized:
                return [_number(self._call(point.clone())) for point in points]
            if not len(points):
                return []
            result = self._call(points.clone())
            if not isinstance(result, Tensor):
                result = torch.as_tensor(result)
            if result.shape != points.shape[:1]:
                raise ValueError(
                    f"f must map [m, *x.shape] to [m] with vectorized=True, here {[*points.shape]} "
                    f"to {[len(points)]}, got an output of shape {list(result.shape)}; pass "
                    "vectorized=False if f takes one point at a time"
                )
            return [_number(value) for value in result]

    def gradient(self, point: Tensor) -> Tensor | None:  # [*x.shape]
        """What automatic differentiation says; None if it finds no graph."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = point.detach().clone().requires_grad_()
            try:
                result = self._call(leaf.unsqueeze(0) if self.vectorized else leaf)
            except (RuntimeError, NotImplementedError) as error:
                if any(message in str(error) for message in _NO_GRAPH):
                    return None
                raise
            if not isinstance(result, Tensor) or not result.requires_grad:
                return None
            return torch.autograd.grad(result.sum(), leaf, allow_unused=True)[0]

    def _call(self, point: Tensor) -> Any:
        try:
            return self.f(point)
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                head = point.detach().flatten()[:8].tolist()
                dots = ", ..." if point.numel() > 8 else ""
                where = f"[{', '.join(map(repr, head))}{dots}], of shape {list(point.shape)}"
                error.add_note(f"raised by f, called by torchsmooth.{self.caller} at x = {where}")
            raise


def _number(value: Any) -> float:
    if isinstance(value, numbers.Real):
        return float(value)
    try:
        result = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"f must return one number, got {type(value).__name__}; return a tensor of one element"
        ) from error
    if result.is_complex():
        raise TypeError(f"f must return a real number, got {result.dtype}; return its real part")
    if result.numel() != 1:
        raise ValueError(
            f"f must return one number, got shape {list(result.shape)}; reduce it, for example as "
            "lambda x: f(x).sum()"
        )
    return float(result)


def check_point(x: object) -> Tensor:
    """x where differences of f are to be told from rounding."""
    point = check_floating(x, "x").detach()
    if point.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"x must be float32 or float64, got {point.dtype}, in which differences of f are "
            "mostly rounding; convert it with x.double()"
        )
    if not bool(point.isfinite().all()):
        raise ValueError("x must be finite, got NaN or infinite elements; pass another point")
    return point


@final
@dataclasses.dataclass(frozen=True)
class DirectionalDerivative:
    """A one-sided limit of difference quotients, and how far it may be off.

    `error` bounds nothing strictly: it adds up what is left to extrapolate, what rounding can do,
    and what finer steps contradict. It is infinite where no finite limit shows at the precision of
    x; `value` is then infinite if the quotients grow steadily, and else NaN.
    """

    value: float
    error: float


# Rungs of the ladder of steps end this many bits above the precision of x.
_GUARD_BITS = 3
# Columns of the extrapolation: errors of order t, t^2, ... are removed one after the other.
_MAX_ORDER = 5
# The finest rungs only test what coarser ones say: without them, quotients that scatter would agree
# by chance at the end of the ladder, where nothing contradicts them.
_WITNESSES = 4
# Rungs over which quotients must grow without a break to be called unbounded.
_GROWTH = 8
# Rounding inside of f may cost this many times the precision of its value.
_MAX_CANCELLATION = 256
# Estimates of what an extrapolation leaves over are right to a factor of about this.
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
    """The limit of (f(x + t v) - f(x)) / t as t goes to 0 from one side.

    f is evaluated on a ladder of halved steps and the quotients are extrapolated to t = 0 by
    polynomials in t (Richardson's scheme in Neville's form; Ridders, "Accurate computation of F'(x)
    and F'(x)F''(x)", Advances in Engineering Software 4, 1982). The entry with the least estimated
    error is returned, where an error counts what finer steps contradict, so that a kink beside x
    does not hide the limit at x.

    **Arguments:**

    - `f`: maps a tensor like `x` to one number (a tensor, a NumPy scalar or a Python number). It
        need not be differentiable, and is not differentiated.
    - `x`: float32 or float64 tensor of any shape. f is evaluated in its dtype: float64 gives twice
        the digits.
    - `direction`: v, a tensor that broadcasts against `x`, finite and not 0.
    - `side`: "right" for t > 0, "left" for t < 0. The left limit is minus the right one along -v.
    - `step`: the largest step t; None for the power of 2 below a tenth of max(1, max |x|), over
        max |v|.
    - `vectorized`: whether f maps a batch of points [m, *x.shape] to [m].

    **Returns:** a `DirectionalDerivative` of two floats: `value` and `error`. A jump at x gives an
    infinite value, an f that is not finite NaN; both have an infinite error.

    **Raises:** TypeError or ValueError if an argument is not what is said above; what f itself
    raises is passed on, with a note that names the point.

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
    v = _check_direction(direction, x)
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
    # x + t v is rounded: this is how far along v it really is.
    moved = ((points - x) * v).reshape(rungs, -1).sum(1).double() / float((v * v).sum())
    steps = [abs(t) for t in moved.tolist()]
    center, *values = function.values(torch.cat([x.unsqueeze(0), points]))
    # A step that rounding lengthens or shortens much is no step along v.
    kept = [k for k in range(rungs) if abs(steps[k] - abs(ladder[k])) <= 0.05 * abs(ladder[k])]
    result = one_sided_limit([steps[k] for k in kept], [values[k] for k in kept], center, eps)
    return DirectionalDerivative(sign * result.value + 0.0, result.error)  # no -0.0


def _check_direction(direction: object, x: Tensor) -> Tensor:
    v = check_floating(direction, "direction").detach()
    try:
        v = v.to(x).expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"direction must broadcast against x, {list(x.shape)}, got shape {list(v.shape)}; pass "
            "a tensor like x"
        ) from None
    if not bool(v.isfinite().all()) or not bool((v != 0).any()):
        raise ValueError(
            "direction must be finite and not 0, got a tensor that is not; pass for example a "
            "unit vector"
        )
    return v


def one_sided_limit(
    steps: list[float],  # positive, falling
    values: list[float],  # f(x + t v)
    center: float,  # f(x)
    eps: float,
    noise: float = 0.0,  # of f's values, beside the rounding of their last digits
) -> DirectionalDerivative:
    """The limit of (f(x + t v) - f(x)) / t, from values on a ladder of steps."""
    # What counts is near t = 0: steps beyond the finest NaN or infinity are left out.
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
    """What rounding inside of f adds to its values: more than their last digit if f cancels.

    Told from the finest rungs, where f is linear but for that; half of them may be off for another
    reason. A jump is no rounding: f's largest value there bounds what is called so.
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
    """From polynomials of one degree less through neighbouring rungs, the value at t = 0."""
    result = []
    for i in range(1, len(column)):
        fine, coarse = steps[i + order - 1], steps[i - 1]
        result.append((coarse * column[i] + sign * fine * column[i - 1]) / (coarse - fine))
    return result


def _remainder(a: float, b: float, c: float, noise: float) -> float:
    """How far a sequence is from its limit, after changes of c, b and, last, a.

    Changes that fall in a ratio r leave a r / (1 - r) to come. Changes that do not fall, and are
    not rounding, say that there is no limit.
    """
    last = max(a, b / 4)
    if last <= noise:
        return last
    ratio = max(a / b if b else math.inf, b / c if c else math.inf)
    return last * max(1.0, ratio / (1 - ratio)) if ratio < 0.97 else math.inf


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ClarkeSubdifferential:
    """A sampled Clarke subdifferential: the convex hull of gradients at nearby points."""

    points: Tensor  # [m, *x.shape]
    gradients: Tensor  # [m, *x.shape]
    weights: Tensor  # [m]
    """The convex combination of the gradients that gives `min_norm`."""
    min_norm: Tensor  # [*x.shape]
    """The hull's element nearest to 0. Minus it is a direction of descent, if it is not 0."""

    def support(self, direction: Tensor) -> float:
        """The largest product of `direction` [*x.shape] with an element of the hull.

        As the radius goes to 0 it tends to Clarke's directional derivative, the largest limit of
        (f(y + t v) - f(y)) / t for y near x. It bounds the right directional derivative from above.
        """
        v = _check_direction(direction, self.min_norm)
        return float((self.gradients * v).reshape(len(self.gradients), -1).sum(1).max())


def clarke(
    f: Callable[[Tensor], Any],
    x: Tensor,
    radius: float,
    num_samples: int | None = None,
    *,
    seed: int | Tensor | None = None,
    vectorized: bool = False,
) -> ClarkeSubdifferential:
    """A sampled Clarke subdifferential: the convex hull of gradients near `x`.

    A locally Lipschitz function is differentiable almost everywhere, and its Clarke subdifferential
    is the convex hull of the limits of gradients at points that tend to x. Here the gradients are
    those of automatic differentiation at independent, uniform points of the ball about x (Burke,
    Lewis, Overton, "A robust gradient sampling algorithm for nonsmooth, nonconvex optimization",
    SIAM Journal on Optimization 15, 2005). The hull's element of least norm is found by Wolfe's
    algorithm ("Finding the nearest point in a polytope", Mathematical Programming 11, 1976).

    The gradient at x itself is left out: at a kink it is a convention and may lie outside of the
    subdifferential, as that of relu(x) - relu(-x) does at 0.

    **Arguments:**

    - `f`: maps a tensor like `x` to one number, differentiable by autograd almost everywhere. A
        jump of f leaves no trace in its gradients: see `torchsmooth.diagnose`.
    - `x`: float32 or float64 tensor of any shape, with n elements.
    - `radius`: of the ball, in the Euclidean norm. The hull approximates the subdifferential at x
        if the ball holds no other kinks and the gradients change little across it.
    - `num_samples`: how many gradients, one call of f and one backward pass each; None for the
        larger of 2 n and 32. Fewer than n + 1 cannot fill the hull.
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator.
    - `vectorized`: whether f maps a batch of points [m, *x.shape] to [m].

    **Returns:** a `ClarkeSubdifferential` with `points` and `gradients` [m, *x.shape], `weights`
    [m] and `min_norm` [*x.shape].

    **Raises:** TypeError or ValueError if an argument is not what is said above, if autograd finds
    no graph, or if a gradient is not finite; what f itself raises is passed on, with a note that
    names the point.

    >>> import torch, torchsmooth as ts
    >>> hull = ts.clarke(lambda y: y.abs().sum(), torch.zeros(2), radius=0.1, seed=0)
    >>> hull.gradients.unique(dim=0)
    tensor([[-1., -1.],
            [-1.,  1.],
            [ 1., -1.],
            [ 1.,  1.]])
    >>> bool(hull.min_norm.norm() < 1e-6)  # 0 is in the hull: a minimum
    True
    """
    function = ScalarFunction(f, vectorized, "clarke")
    x = check_point(x)
    if isinstance(radius, bool) or not isinstance(radius, numbers.Real):
        raise TypeError(f"radius must be a number, got {radius!r}; pass for example 1e-3")
    if not 0 < radius < math.inf:
        raise ValueError(f"radius must be positive and finite, got {radius}; pass for example 1e-3")
    n = x.numel()
    if n == 0:
        raise ValueError("x must have at least one element, got none; pass another point")
    count = max(2 * n, 32) if num_samples is None else check_int(num_samples, "num_samples", 1, 32)
    # Of a uniform point, the direction is that of a normal one, and the n-th power of its distance
    # is uniform.
    uniforms = MonteCarlo().uniforms(count, n + 1, seed=seed, dtype=torch.float64, device=x.device)
    normal = Gaussian().icdf(uniforms[:, :n])
    distance = float(radius) * uniforms[:, n:] ** (1 / n)
    offsets = distance * normal / normal.norm(dim=1, keepdim=True)
    points = (x.double() + offsets.reshape(count, *x.shape)).to(x.dtype)
    gradients = torch.stack([_finite_gradient(function, point) for point in points])
    weights = _min_norm_weights(gradients.reshape(count, n).double().cpu()).to(x)
    min_norm = torch.tensordot(weights, gradients, 1)
    return ClarkeSubdifferential(points, gradients, weights, min_norm)


def _finite_gradient(function: ScalarFunction, point: Tensor) -> Tensor:
    gradient = function.gradient(point)
    if gradient is None:
        raise ValueError(
            "f must be differentiable by autograd near x, but its result has no graph to x; use "
            "torchsmooth.smooth, whose gradient needs none"
        )
    if not bool(gradient.isfinite().all()):
        raise ValueError(
            f"f must have finite gradients near x, got {gradient.flatten()[:8].tolist()} at "
            f"{point.flatten()[:8].tolist()}; pass a smaller radius, or see torchsmooth.diagnose"
        )
    return gradient


def _min_norm_weights(points: Tensor) -> Tensor:  # [m, n], float64 -> [m]
    """The convex combination of points that is nearest to 0, by Wolfe's algorithm.

    A corral, a set of affinely independent points, is kept whose hull has its nearest point
    inside. The point farthest beyond the plane through it is added, and points whose weights would
    be negative leave.
    """
    points = points / points.abs().max().clamp(min=torch.finfo(points.dtype).tiny)
    tolerance = 16 * torch.finfo(points.dtype).eps * float(points.square().sum(1).max())
    corral = [int(points.square().sum(1).argmin())]
    weights = points.new_ones(1)
    for _ in range(20 * len(points)):  # in theory finite, in practice a few times n
        nearest = weights @ points[corral]
        products = points @ nearest
        entering = int(products.argmin())
        if float(products[entering]) >= float(nearest @ nearest) - tolerance or entering in corral:
            break
        corral.append(entering)
        weights = torch.cat([weights, weights.new_zeros(1)])
        while True:
            affine = _affine_weights(points[corral])
            if bool((affine > 0).all()):
                weights = affine
                break
            # Towards the affine combination, as far as all weights stay positive.
            leaving = affine <= 0
            ratios = weights[leaving] / (weights[leaving] - affine[leaving])
            share = float(ratios.min())
            weights = (1 - share) * weights + share * affine
            weights[leaving & (weights <= weights[leaving].min())] = 0.0
            corral = [j for j, weight in zip(corral, weights.tolist(), strict=True) if weight > 0]
            weights = weights[weights > 0]
            weights = weights / weights.sum()
    result = points.new_zeros(len(points))
    result[corral] = weights
    return result


def _affine_weights(points: Tensor) -> Tensor:  # [k, n] -> [k]
    """The affine combination nearest to 0: weights that sum to 1, of any sign."""
    base = points[0]
    # Least squares over differences: as accurate as the points, and defined if they are dependent.
    rest = torch.linalg.lstsq((points[1:] - base).T, -base.unsqueeze(1), driver="gelsd").solution
    return torch.cat([1 - rest.sum(0), rest.squeeze(1)])
