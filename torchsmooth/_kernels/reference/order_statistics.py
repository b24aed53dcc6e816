"""Expected order statistics of noisy rows, and their gradients, by quadrature.

Given that element i lands at t, the number of others below t is Poisson-binomial: each is there
with the probability F((t - x_j) / scale_j). The nodes lie between cuts at fixed multiples of each
element's scale. They move with the elements, so that all derivatives of a sum over them are those
of the integral, also where densities have kinks.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...distributions import LAWS, AbstractDistribution
from .noise import accumulator


# Where the axis is cut, in scales from each element, by how the law's tails fall. The laws of
# compact support end like a root at 1, towards which cuts crowd.
_CUTS = {
    "squared exponential": (0.75, 1.5, 2.5, 3.5, 5.0, 7.0, 9.0),
    "exponential": (0.75, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 18.0, 25.0, 34.0),
    "power": tuple(0.5 * 2.0**k for k in range(46)),
    "none": (0.4, 0.8, 0.95, 1.0),
}
# The same for logarithms of probabilities, down to e^-700.
_FAR_CUTS = {
    "squared exponential": (11.0, 14.0, 18.0, 23.0, 29.0, 38.0),
    "exponential": (45.0, 60.0, 80.0, 110.0, 150.0, 200.0, 270.0, 360.0, 480.0, 640.0, 760.0),
    "power": (),
    "none": (),
}
_NODES = 16  # between two cuts
# Where the logarithm of the density is below, it is 0, and its formula may overflow.
_LEAST_LOG_DENSITY = -760.0
# Elements of the largest intermediate tensor: 32 MB.
_CHUNK_ELEMENTS = 4 * 2**20


class Contest(NamedTuple):
    """The quantities at each of the Q nodes of a row."""

    t: Tensor  # [B, Q]
    below: Tensor  # [B, Q, n]: P(the element is below t)
    above: Tensor  # [B, Q, n]
    density: Tensor  # [B, Q, n], of an element to be at t, with the weight of the node; 0 of masks


@functools.cache
def _legendre(count: int, roots: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes and weights on [0, 1]; with roots, in the angle of (1 - cos) / 2."""
    x, w = np.polynomial.legendre.leggauss(count)
    u, w = (x + 1) / 2, w / 2
    if roots:
        u, w = (1 - np.cos(np.pi * u)) / 2, np.pi / 2 * np.sin(np.pi * u) * w
    return tuple(u.tolist()), tuple(w.tolist())


def _cut_points(law: AbstractDistribution, x: Tensor, far: bool) -> Tensor:  # [K] or [K, n]
    tails = law.traits.tails
    if tails is None:  # a law of torch.distributions
        u = x.new_tensor([1e-15, 1e-12, 1e-9, 1e-7, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.15, 0.3, 0.5])
        u = torch.cat([u, 1 - u[:-1].flip(0)])
        return law._icdf(u)
    magnitudes = _CUTS[tails] + (_FAR_CUTS[tails] if far else ())
    return x.new_tensor([*(-m for m in reversed(magnitudes)), 0.0, *magnitudes])


def contest(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
    law: AbstractDistribution,  # of scale 1
    nodes: int = _NODES,
    far: bool = False,
) -> Contest:
    """In double precision where the device has it; rows with NaN give NaN."""
    bad = x.isnan().any(-1) | ~(scale.isfinite() & (scale > 0)).all(-1)
    x, scale = (t.to(accumulator(x)) for t in torch.broadcast_tensors(x, scale))
    finite = x.isfinite()
    # Masks stand at the place of another element, where their cuts change nothing.
    lowest = torch.where(finite, x, math.inf).amin(-1, keepdim=True).detach()
    at = torch.where(finite, x, torch.where(lowest.isfinite(), lowest, 0.0))
    scale = torch.where(scale > 0, scale, 1.0)

    cuts = _cut_points(law, x, far)
    cuts = at.unsqueeze(-2) + scale.unsqueeze(-2) * (cuts if cuts.ndim > 1 else cuts[:, None])
    cuts = cuts.flatten(1).sort(-1).values
    compact = law.traits.tails == "none"
    node, weight = (x.new_tensor(values) for values in _legendre(nodes, compact))
    length = cuts.diff(dim=-1).unsqueeze(-1)
    t = (cuts[:, :-1].unsqueeze(-1) + length * node).flatten(1)  # [B, Q]
    weight = (length * weight).flatten(1)

    z = (t.unsqueeze(-1) - at.unsqueeze(-2)) / scale.unsqueeze(-2)  # [B, Q, n]
    inside = law._log_prob(z.detach()) > _LEAST_LOG_DENSITY
    inner = torch.where(inside, z, 0.0)
    below = torch.where(inside, law.probability_below(inner), (z > 0).to(z.dtype))
    above = torch.where(inside, law.probability_above(inner), (z < 0).to(z.dtype))
    density = torch.where(inside, law._log_prob(inner).exp(), 0.0) / scale.unsqueeze(-2)
    density = torch.where(finite.unsqueeze(-2), density, 0.0) * weight.unsqueeze(-1)
    low, high = (x == -math.inf).unsqueeze(-2), (x == math.inf).unsqueeze(-2)
    below = torch.where(low, 1.0, torch.where(high, 0.0, below))
    above = torch.where(low, 0.0, torch.where(high, 1.0, above))
    nan = torch.where(bad, math.nan, 1.0).to(density.dtype)
    return Contest(t, below, above, density * nan[:, None, None])


def positions_of(parts: Contest) -> Tensor:  # [B, n, n]: position, element
    """The expected permutation matrix of the elements that are no masks, lowest first."""
    batch, _, n = parts.below.shape
    itself = torch.eye(n, dtype=torch.bool, device=parts.below.device)
    rows = max(1, _CHUNK_ELEMENTS // max(1, batch * n * n))
    total = parts.density.new_zeros(batch, n, n)
    for start in range(0, parts.below.shape[1], rows):
        part = slice(start, start + rows)
        below, above = parts.below[:, part], parts.above[:, part]
        # The law of the number of others below, for each element: [B, Q, element, count].
        count = torch.ones_like(below).unsqueeze(-1)
        for j in range(n):
            p = torch.where(itself[j], 0.0, below[..., j, None]).unsqueeze(-1)
            q = torch.where(itself[j], 1.0, above[..., j, None]).unsqueeze(-1)
            none = torch.zeros_like(count[..., :1])
            count = torch.cat([count * q, none], -1) + torch.cat([none, count * p], -1)
        total = total + torch.einsum("bqi,bqik->bki", parts.density[:, part], count[..., :n])
    return total


def masked_positions(x: Tensor, descending: bool) -> Tensor:  # [B, n, n], bool
    """Where the infinite elements stand, whatever the noise: in the order of their indices."""
    order = torch.argsort(x, dim=-1, descending=descending, stable=True)
    hot = order.unsqueeze(-1) == torch.arange(x.shape[-1], device=x.device)
    return hot & x.isinf().unsqueeze(-2)


def expected_matrix(
    x: Tensor, scale: Tensor, law: AbstractDistribution, descending: bool, far: bool = False
) -> Tensor:  # [B, n, n]
    """The expected permutation matrix; `far`: every entry above e^-700 is accurate relatively."""
    matrix = positions_of(contest(x, scale, law, far=far))
    matrix = matrix.flip(-2) if descending else matrix
    return matrix + masked_positions(x, descending).to(matrix.dtype)


def expected_largest(
    x: Tensor, scale: Tensor, law: AbstractDistribution, far: bool = False
) -> Tensor:  # [B, n]
    """The last row of that matrix."""
    parts = contest(x, scale, law, far=far)
    one = torch.ones_like(parts.below[..., :1])
    before = torch.cat([one, parts.below.cumprod(-1)[..., :-1]], -1)
    behind = torch.cat([one, parts.below.flip(-1).cumprod(-1)[..., :-1]], -1).flip(-1)
    fixed = masked_positions(x, True)[..., 0, :] if x.shape[-1] else x.bool()
    return (parts.density * before * behind).sum(-2) + fixed.to(parts.density.dtype)


def expected_order(
    x: Tensor,
    scale: Tensor,
    law: AbstractDistribution,
    descending: bool,
    output: str,
    first: int,
    last: int,
    nodes: int = _NODES,
) -> Tensor:
    """As `order_statistics`, for any law; differentiable as often as the law's density is."""
    n = x.shape[-1]
    parts = contest(x, scale, law, nodes)
    masks = masked_positions(x, descending)
    if output == "ranks":
        others = parts.above if descending else parts.below
        others = others.sum(-1, keepdim=True) - others
        rank = 1 + (parts.density * others).sum(-2)
        places = torch.arange(1, n + 1, device=x.device, dtype=rank.dtype)
        fixed = (masks.to(rank.dtype) * places[:, None]).sum(-2)
        return torch.where(x.isinf(), fixed, rank).to(x.dtype)
    if output == "matrix":
        matrix = positions_of(parts)
        matrix = matrix.flip(-2) if descending else matrix
        return (matrix + masks.to(matrix.dtype))[:, first:last].to(x.dtype)
    # Counted from the lowest element, so that a large offset costs no digits.
    finite = x.isfinite()
    origin = torch.where(finite, x.detach(), math.inf).amin(-1, keepdim=True).to(parts.t.dtype)
    origin = torch.where(origin.isfinite(), origin, 0.0)
    moments = parts._replace(density=parts.density * (parts.t - origin).unsqueeze(-1))
    values = origin + positions_of(moments).sum(-1)
    values = values.flip(-1) if descending else values
    ordered = x.gather(-1, torch.argsort(x.detach(), dim=-1, descending=descending, stable=True))
    fixed = masks.any(-1)
    return torch.where(fixed, ordered.to(values.dtype), values)[:, first:last].to(x.dtype)


def order_statistics(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
    law: str,
    descending: bool,
    output: str,
    first: int,
    last: int,
) -> Tensor:  # [B, last - first, n] for a matrix, else [B, last - first]
    """The mean outcome of sorting noisy rows.

    For `output` "matrix" the rows `first` to `last` of the expected permutation matrix; for
    "values" the expected order statistics at these positions; for "ranks" (then of all positions)
    the expected rank of each element, from 1. Elements at -inf are below all others whatever the
    noise and those at inf above, among themselves in the order of their indices. A row with NaN, or
    with a scale that is not positive and finite, is NaN.
    """
    return expected_order(x, scale, LAWS[law](), descending, output, first, last)


def order_statistics_backward(
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    law: str,
    descending: bool,
    output: str,
    first: int,
    last: int,
    scale_gradient: bool,
) -> tuple[Tensor, Tensor]:  # [B, n], and [B, n] or [B, 0]
    """The gradients in x and in each element's scale."""
    in_x, in_scale = gradients(grad, x, scale, LAWS[law](), descending, output, first, last)
    return in_x, in_scale if scale_gradient else in_scale.new_empty(x.shape[0], 0)


def gradients(
    grad: Tensor, x: Tensor, scale: Tensor, law: AbstractDistribution, *task: object
) -> tuple[Tensor, Tensor]:
    """Those of `expected_order`, in x and in each element's scale."""

    def value(x: Tensor, scale: Tensor) -> Tensor:
        return expected_order(x, scale, law, *task)  # type: ignore[arg-type]

    result: tuple[Tensor, Tensor] = torch.func.vjp(value, x, scale.expand_as(x))[1](grad)
    return result
