"""A sampled Clarke subdifferential."""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from .._checks import check_int
from ..distributions import Gaussian
from ..samplers import MonteCarlo
from .scalar_function import ScalarFunction, check_direction, check_point


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ClarkeSubdifferential:
    """The result of `torchsmooth.clarke`: the convex hull of gradients at nearby points."""

    points: Tensor  # [m, *x.shape]
    gradients: Tensor  # [m, *x.shape]
    weights: Tensor  # [m]
    """The convex combination of the gradients that gives `min_norm`."""
    min_norm: Tensor  # [*x.shape]
    """The hull's element nearest to 0. Minus it is a direction of descent, if it is not 0."""

    def support(self, direction: Tensor) -> float:
        """Returns the largest product of `direction` [*x.shape] with an element of the hull.

        As the radius goes to 0 it tends to Clarke's directional derivative, the largest limit of
        (f(y + t v) - f(y)) / t for y near x. It bounds the right directional derivative from above.
        """
        v = check_direction(direction, self.min_norm)
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
    """Returns a sampled Clarke subdifferential: the convex hull of gradients near `x`.

    A locally Lipschitz function is differentiable almost everywhere, and its Clarke subdifferential
    is the convex hull of the limits of gradients at points that tend to x. Here the gradients are
    those of automatic differentiation at independent, uniform points of the ball around x. Wolfe's
    algorithm finds the element of least norm of the hull.

    The gradient at x itself is not used: at a kink it is a convention and may be outside of the
    subdifferential, as that of relu(x) - relu(-x) is at 0.

    **Arguments:**

    - `f`: maps a tensor like `x` to one number, differentiable by autograd almost everywhere. A
        jump of f leaves no trace in its gradients: see `torchsmooth.diagnose`.
    - `x`: float32 or float64 tensor of any shape, with n elements.
    - `radius`: of the ball, a number > 0.
    - `num_samples`: the number of gradients, with one backward pass each; None for the larger of 2
        n and 32. Fewer than n + 1 cannot fill the hull.
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator.
    - `vectorized`: whether f maps a batch of points [m, *x.shape] to [m].

    **Returns:** a `ClarkeSubdifferential` with `points` and `gradients` [m, *x.shape], `weights`
    [m] and `min_norm` [*x.shape].

    **Raises:** TypeError or ValueError if an argument differs from this description, if autograd
    finds no graph, or if a gradient is not finite. Exceptions of f are passed on, with a note that
    names the point.

    **Source:** Burke, Lewis and Overton, "A robust gradient sampling algorithm for nonsmooth,
    nonconvex optimization", SIAM Journal on Optimization 15, 2005; Wolfe, "Finding the nearest
    point in a polytope", Mathematical Programming 11, 1976.

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

    It keeps a corral, a set of affinely independent points whose hull has its nearest point inside.
    The point farthest beyond the plane through the nearest point enters, and points whose weights
    would be negative leave.
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
