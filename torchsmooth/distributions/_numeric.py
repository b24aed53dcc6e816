"""Pieces of formulas that laws share: quotients without overflow, signs, polynomials."""

import math

import torch
from torch import Tensor

from .. import _linalg


# Gauss-Legendre quadrature on [0, 1] with 4 points: nodes and weights.
LEGENDRE = (
    (0.06943184420297371, 0.17392742256872693),
    (0.33000947820757187, 0.32607257743127307),
    (0.66999052179242813, 0.32607257743127307),
    (0.93056815579702629, 0.17392742256872693),
)


def horner(x: Tensor, *coefficients: float) -> Tensor:
    """c0 + x (c1 + x (c2 + ...))."""
    result = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def fold(x: Tensor) -> tuple[Tensor, Tensor]:
    """(x < 0, |x|), where |x| has a one-sided derivative at 0 instead of abs's zero."""
    negative = x < 0
    return negative, torch.where(negative, -x, x)


def split_at_zero(x: Tensor) -> tuple[Tensor, Tensor]:
    """(x >= 0, |x|), see `fold`."""
    negative, magnitude = fold(x)
    return ~negative, magnitude


def with_sign(upper: Tensor, magnitude: Tensor) -> Tensor:
    return torch.where(upper, magnitude, -magnitude)


def ratio(distance: Tensor, scale: float | Tensor) -> Tensor:
    """distance / scale, held where both tails of every law of ours are 0 in every type."""
    # No variable: under torch.compile(dynamic=True) that would be an input of the graph, which the
    # second autograd function in it cannot have.
    return ratio_held_at(1e3, distance, scale)


def ratio_held_at(reach: float, distance: Tensor, scale: float | Tensor) -> Tensor:
    """distance / scale, or the reach beyond it: there all derivatives are 0.

    The quotient's own derivative in the scale, distance / scale^2, can overflow, and 0 times
    infinity is NaN.
    """
    beyond = distance > reach * scale
    return torch.where(beyond, reach, torch.where(beyond, 0.0, distance) / scale)


def divide(x: Tensor, scale: float | Tensor) -> Tensor:
    if not isinstance(scale, Tensor):
        return x / scale
    # The derivative of an infinite quotient in the scale is infinite; times a slope of 0, NaN.
    infinite = (x / scale).isinf()
    infinity = torch.where(x > 0, math.inf, -math.inf).to(x.dtype)
    return torch.where(infinite, x + infinity, torch.where(infinite, 0.0, x) / scale)


def solve(matrix: Tensor, x: Tensor) -> Tensor:
    batch = torch.broadcast_shapes(matrix.shape[:-2], x.shape[:-1])
    columns = x.expand(*batch, x.shape[-1]).unsqueeze(-1)
    return _linalg.solve(matrix, columns).squeeze(-1)


def is_narrow(width: Tensor, scale: float | Tensor) -> Tensor:
    """Where an interval is to be integrated over by quadrature.

    Differences of what is known at its ends would cancel, and the quadrature is as good as exact.
    """
    result: Tensor = width <= torch.finfo(width.dtype).eps ** 0.25 * scale
    return result


def gamma_modulus(t: Tensor) -> Tensor:
    """|Gamma(1 + it)|, the root of pi t / sinh(pi t), for t > 0 and without overflow."""
    root: Tensor = (2 * math.pi * t / -torch.expm1(-2 * math.pi * t)).sqrt()
    return torch.exp(-0.5 * math.pi * t) * root
