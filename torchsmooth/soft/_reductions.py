"""Extrema over a dimension under independent noise: exact expectations, without samples.

Under Gumbel noise of one scale the maximum has a closed form. Everything else is an integral over
the value of one element, which the kernels compute as for `torchsmooth.soft.argsort`, at a cost of
n times the number of nodes.
"""

import math

import torch
from torch import Tensor

from .._checks import check_bool
from ..distributions import AbstractDistribution, Gumbel
from ._expected_order import Rows, rows


EULER = 0.57721566490153286

# exp(-REACH) is 0 in every type.
REACH = 1e3


def argmax(x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
    """Returns the probability of each element to be the largest: the expected one-hot vector.

    Under `Gumbel` noise of one scale for all elements it is softmax(x / scale), in closed form;
    else it is computed by quadrature, with an error of at most 1e-6 (float32) or 1e-10 (float64).

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32. Elements at -inf take no part;
        of several at inf the first is the largest.
    - `dim`: the dimension to reduce.
    - `distribution`: the law of the noise, independent for every element, with a scale that
        broadcasts against `x`. The scale may require grad.

    **Returns:** a tensor of the shape of `x` that sums to 1 along `dim`.

    **Raises:** TypeError if an argument is of another type; ValueError if the distribution has a
    `scale_matrix`, under which the noise is not independent.

    **Source:** for Gumbel noise, Yellott, "The relationship between Luce's choice axiom,
    Thurstone's theory of comparative judgment, and the double exponential distribution", Journal
    of Mathematical Psychology 15, 1977.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.argmax(torch.tensor([0.0, 1.0, 3.0]), 0, ts.Gumbel(1.0))  # softmax
    tensor([0.0420, 0.1142, 0.8438])
    >>> ts.soft.argmax(torch.tensor([0.0, 1.0, 3.0]), 0, ts.Gaussian(1.0))
    tensor([0.0123, 0.0761, 0.9115])
    """
    return _argextremum(rows(x, distribution, dim), largest=True)


def argmin(x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
    """Returns the probability of each element to be the smallest.

    Under a symmetric law it is `argmax(-x, ...)`. Under `Gumbel` it is not: the softmax of
    -x / scale is `argmax(-x, dim, Gumbel(scale))`, for noise whose lower tail is the heavy one.

    **Arguments:**

    - `x`, `dim`, `distribution`: as for `argmax`.

    **Returns:** a tensor of the shape of `x` that sums to 1 along `dim`.

    **Raises:** as `argmax`.

    **Source:** as for `argmax`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.argmin(torch.tensor([0.0, 1.0, 2.0]), 0, ts.Gaussian(1.0))
    tensor([0.7288, 0.2241, 0.0472])
    """
    return _argextremum(rows(x, distribution, dim), largest=False)


def log_argmax(x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
    """Returns the logarithms of the probabilities of `argmax`, accurate also where these are tiny.

    Under `Gumbel` noise of one scale it is log_softmax(x / scale). Otherwise it is a quadrature in
    PyTorch whose cost grows with n^2.

    **Arguments:**

    - `x`, `dim`, `distribution`: as for `argmax`. The law is one of torchsmooth.

    **Returns:** a tensor of the shape of `x`; -inf, with gradient 0, where the probability is 0 or
    (but for the closed form) below e^-700.

    **Raises:** as `argmax`; also ValueError for a law without a kernel.

    **Source:** as for `argmax`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.log_argmax(torch.tensor([0.0, 100.0]), 0, ts.Gumbel(1.0))
    tensor([-100.,    0.])
    """
    noisy = rows(x, distribution, dim)
    if noisy.n > 0 and _has_closed_form(noisy):
        _, distance = _distances(noisy)
        known = torch.log_softmax(-distance, -1)
        masked = noisy.x == -math.inf
        return noisy.back(torch.where(masked, -math.inf, known).to(noisy.dtype))
    return noisy.back(noisy.log_largest())


def amax(
    x: Tensor, dim: int, distribution: AbstractDistribution, *, keepdim: bool = False
) -> Tensor:
    """Returns the expectation of the largest element.

    Under `Gumbel` noise of one scale it is scale (logsumexp(x / scale) + Euler's constant), in
    closed form; else it is computed by quadrature, with an error of at most 1e-6 (float32) or
    1e-10 (float64) of the spread of a row.

    **Arguments:**

    - `x`, `dim`, `distribution`: as for `argmax`. The law must have a mean: not Cauchy.
    - `keepdim`: whether the reduced dimension stays, with size 1.

    **Returns:** a tensor without the dimension. Its derivative in x is `argmax`.

    **Raises:** as `argmax`; also ValueError under `Cauchy`, or if there are no elements.

    **Source:** for Gaussian noise on two elements, Clark, "The greatest of a finite set of random
    variables", Operations Research 9, 1961.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.amax(torch.zeros(2), 0, ts.Gaussian())  # 1 / sqrt(pi)
    tensor(0.5642)
    """
    return _extremum(rows(x, distribution, dim), keepdim, largest=True)


def amin(
    x: Tensor, dim: int, distribution: AbstractDistribution, *, keepdim: bool = False
) -> Tensor:
    """Returns the expectation of the smallest element.

    **Arguments:**

    - `x`, `dim`, `distribution`, `keepdim`: as for `amax`.

    **Returns:** a tensor without the dimension. Its derivative in x is `argmin`.

    **Raises:** as `amax`.

    **Source:** as for `amax`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.amin(torch.zeros(2), 0, ts.Gaussian())
    tensor(-0.5642)
    """
    return _extremum(rows(x, distribution, dim), keepdim, largest=False)


def _argextremum(noisy: Rows, largest: bool) -> Tensor:
    if noisy.n == 0:
        return noisy.back(noisy.x.to(noisy.dtype))
    if largest and _has_closed_form(noisy):
        _, distance = _distances(noisy)
        return noisy.back(torch.softmax(-distance, -1).to(noisy.dtype))
    return noisy.back(noisy.expect(largest, "matrix", 0, 1).squeeze(-2))


def _extremum(noisy: Rows, keepdim: bool, largest: bool) -> Tensor:
    check_bool(keepdim, "keepdim")
    _check_mean(noisy)
    if noisy.n == 0:
        raise ValueError(
            f"x must have at least one element along dim, got shape {tuple(noisy.x.shape)} with "
            "dim moved to the end; the extremum of nothing does not exist"
        )
    if largest and _has_closed_form(noisy):
        top, distance = _distances(noisy)
        peak = torch.logsumexp(-distance, -1, keepdim=True) + EULER
        result = top + noisy.common_scale * peak
        result = result.to(noisy.dtype)
    else:
        result = noisy.expect(largest, "values", 0, 1)
    return noisy.back(result) if keepdim else result.squeeze(-1)


def _check_mean(noisy: Rows) -> None:
    if noisy.law.traits.tails == "power":
        raise ValueError(
            "distribution must have a mean for an extremum, because without one its expectation "
            f"does not exist, got {noisy.law!r}; use Logistic or Gaussian, or "
            "ts.soft.quantile of an inner position"
        )


def _has_closed_form(noisy: Rows) -> bool:
    return isinstance(noisy.law, Gumbel) and noisy.scale.shape[-1] == 1


def _distances(noisy: Rows) -> tuple[Tensor, Tensor]:
    """The largest element, a constant, and how many scales the others lie below it."""
    x, scale = noisy.x, noisy.common_scale
    top = x.detach().amax(-1, keepdim=True)
    # Where that is infinite, the first such element is it.
    ties = (x == top) & top.isinf()
    first = ties & (ties.cumsum(-1) == 1)
    distance = torch.where(first, 0.0, torch.where(ties, math.inf, top - x))
    beyond = distance > REACH * scale
    return top, torch.where(beyond, REACH, torch.where(beyond, 0.0, distance) / scale)
