"""Extrema over a dimension under any law, by numerical integration.

The maximum of independent noisy elements has the distribution function prod_j F((t - x_j) / scale),
so all results are integrals over one variable. Each element has nodes in its own noise, so that the
distances between the elements do not matter. Cost and memory grow with the square of the number of
elements, times the number of nodes: for long rows use `torchsmooth.functional`, which samples.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import check_bool, check_dim, check_int
from ..distributions import AbstractDistribution
from ._operands import elementwise


def argmax_quadrature(
    x: Tensor, dim: int, distribution: AbstractDistribution, *, num_nodes: int = 128
) -> Tensor:
    """Returns the probability of each element to be the largest, under any law.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `dim`: the dimension to reduce.
    - `distribution`: the law of the noise, independent for every element, with a scale that
        broadcasts against `x`. The scale may require grad.
    - `num_nodes`: nodes of the quadrature for each element. With 128 the result is exact to
        rounding for smooth densities, and to 1e-4 for those with a kink or an edge (Laplace,
        Triangular, WignerSemicircle).

    **Returns:** a tensor of the shape of `x`, which sums to 1 along `dim` to the same accuracy.

    **Raises:** TypeError if an argument is of another type; ValueError if the distribution has a
    `scale_matrix`, or if `num_nodes` is below 2.

    **Source:** David and Nagaraja, "Order statistics", third edition, 2003.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.argmax_quadrature(torch.tensor([0.0, 1.0, 3.0]), 0, ts.Gumbel(1.0))  # softmax
    tensor([0.0420, 0.1142, 0.8438])
    """
    return topk_mask_quadrature(x, 1, dim, distribution, num_nodes=num_nodes)


def argmin_quadrature(
    x: Tensor, dim: int, distribution: AbstractDistribution, *, num_nodes: int = 128
) -> Tensor:
    """Returns the probability of each element to be the smallest, under any law.

    **Arguments:**

    - `x`, `dim`, `distribution`, `num_nodes`: as for `argmax_quadrature`.

    **Returns:** a tensor of the shape of `x`, which sums to 1 along `dim`.

    **Raises:** as `argmax_quadrature`.

    **Source:** David and Nagaraja, "Order statistics", third edition, 2003.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.argmin_quadrature(torch.tensor([0.0, 1.0, 2.0]), 0, ts.Gaussian(1.0))
    tensor([0.7288, 0.2241, 0.0472])
    """
    return topk_mask_quadrature(x, 1, dim, distribution, largest=False, num_nodes=num_nodes)


def topk_mask_quadrature(
    x: Tensor,
    k: int,
    dim: int,
    distribution: AbstractDistribution,
    *,
    largest: bool = True,
    num_nodes: int = 128,
) -> Tensor:
    """Returns the probability of each element to be among the k largest, under any law.

    **Arguments:**

    - `x`, `dim`, `distribution`, `num_nodes`: as for `argmax_quadrature`.
    - `k`: how many elements are chosen, from 1 to the number of elements along `dim`. The cost
        grows with it.
    - `largest`: whether the largest are chosen, or the smallest.

    **Returns:** a tensor of the shape of `x`, which sums to k along `dim`. A mask of zeros and ones
    with this gradient is `ts.straight_through(mask, ts.soft.topk_mask_quadrature(...))`.

    **Raises:** as `argmax_quadrature`; also ValueError if there are fewer than k elements.

    **Source:** Taylor, Guiver, Robertson and Minka, "SoftRank: optimizing non-smooth rank metrics",
    WSDM 2008, has the recursion for the counts; here it is conditioned on the noise of one element,
    which makes it exact.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.topk_mask_quadrature(torch.tensor([0.0, 1.0, 2.0]), 2, 0, ts.Gaussian(1.0))
    tensor([0.2712, 0.7759, 0.9528])
    """
    k = check_int(k, "k", 1, 2)
    check_bool(largest, "largest")
    contest = _contest(x, dim, distribution, num_nodes, largest)
    n = contest.x.shape[-1]
    if k > n:
        raise ValueError(
            f"k must be at most the number of elements along dim, {n}, got {k}; pass for example "
            f"{max(n, 1)}"
        )
    # The law of how many others are ahead, up to k - 1: [..., i, node, count].
    ahead = contest.ahead
    none = torch.zeros_like(ahead[..., 0, :, None]).expand(*ahead[..., 0, :].shape, k)
    count = torch.cat([torch.ones_like(none[..., :1]), none[..., 1:]], -1)
    for p in ahead.unsqueeze(-1).unbind(-3):
        shifted = torch.cat([torch.zeros_like(count[..., :1]), count[..., :-1]], -1)
        count = count * (1 - p) + shifted * p
    return (count.sum(-1) @ contest.weights).movedim(-1, contest.dim).to(contest.dtype)


def amax_quadrature(
    x: Tensor,
    dim: int,
    distribution: AbstractDistribution,
    *,
    keepdim: bool = False,
    num_nodes: int = 128,
) -> Tensor:
    """Returns the expectation of the largest element, under any law that has a mean.

    **Arguments:**

    - `x`, `dim`, `distribution`, `num_nodes`: as for `argmax_quadrature`.
    - `keepdim`: whether the reduced dimension is kept, with size 1.

    **Returns:** a tensor without the dimension.

    **Raises:** as `argmax_quadrature`; also ValueError if the noise has no mean (Cauchy), or if
    there are no elements.

    **Source:** David and Nagaraja, "Order statistics", third edition, 2003.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.amax_quadrature(torch.zeros(2), 0, ts.Gaussian())  # 1 / sqrt(pi)
    tensor(0.5642)
    """
    return _extremum(_contest(x, dim, distribution, num_nodes, True), keepdim)


def amin_quadrature(
    x: Tensor,
    dim: int,
    distribution: AbstractDistribution,
    *,
    keepdim: bool = False,
    num_nodes: int = 128,
) -> Tensor:
    """Returns the expectation of the smallest element, under any law that has a mean.

    **Arguments:**

    - `x`, `dim`, `distribution`, `keepdim`, `num_nodes`: as for `amax_quadrature`.

    **Returns:** a tensor without the dimension.

    **Raises:** as `amax_quadrature`.

    **Source:** David and Nagaraja, "Order statistics", third edition, 2003.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.amin_quadrature(torch.zeros(2), 0, ts.Gaussian())
    tensor(-0.5642)
    """
    return _extremum(_contest(x, dim, distribution, num_nodes, False), keepdim)


class _Contest(NamedTuple):
    """Every element against all others, the dimension at the end."""

    x: Tensor  # [..., n]
    noise: Tensor  # [..., n, node], its own, scaled
    weights: Tensor  # [node]
    ahead: Tensor  # [..., i, j, node]: probability that j is ahead of i with the noise of the node
    dim: int  # from the end
    dtype: torch.dtype  # of the result
    law: AbstractDistribution
    largest: bool  # whether that is ahead, or the smallest


def _contest(
    x: Tensor, dim: int, distribution: AbstractDistribution, num_nodes: int, largest: bool
) -> _Contest:
    law, dtype, (x,) = elementwise(x, distribution)
    dim = check_dim(dim, x) - x.ndim  # from the end: the scale may add dimensions
    num_nodes = check_int(num_nodes, "num_nodes", 2, 128)
    assert law.scale is not None  # `elementwise` has looked
    x, scale = torch.broadcast_tensors(x, x.new_tensor(1.0) * law.scale)
    x, scale = x.movedim(dim, -1), scale.movedim(dim, -1)
    nodes, weights = law.nodes(num_nodes, dtype=x.dtype, device=x.device)
    noise = scale.unsqueeze(-1) * nodes
    distance = (x.unsqueeze(-1) - x.unsqueeze(-2)).unsqueeze(-1) + noise.unsqueeze(-2)
    others = law.with_scale(scale[..., None, :, None])
    p = others.probability_above(distance) if largest else others.probability_below(distance)
    itself = torch.eye(x.shape[-1], dtype=torch.bool, device=x.device).unsqueeze(-1)
    return _Contest(x, noise, weights, torch.where(itself, 0.0, p), dim, dtype, law, largest)


def _extremum(contest: _Contest, keepdim: bool) -> Tensor:
    check_bool(keepdim, "keepdim")
    contest.law.mean()  # raises if there is none
    x, dim = contest.x, contest.dim
    if x.shape[-1] == 0:
        raise ValueError(
            f"x must have at least one element along dim {dim}, got none; the extremum of nothing "
            "does not exist"
        )
    # Relative to the unperturbed extremum, because the probabilities sum to 1 only nearly.
    base = (x.detach().amax if contest.largest else x.detach().amin)(-1, keepdim=True)
    values = (x - base).unsqueeze(-1) + contest.noise
    first = (1 - contest.ahead).prod(-2)
    result = base.squeeze(-1) + ((values * first) @ contest.weights).sum(-1)
    return (result.unsqueeze(dim) if keepdim else result).to(contest.dtype)
