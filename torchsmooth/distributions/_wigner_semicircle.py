"""Noise by Wigner's semicircle law."""

import math
from typing import final

import torch
from torch import Tensor

from ._expectation import Scale
from ._expectations import expectations_by_tails, log_by_tail
from ._numeric import fold, horner, ratio, with_sign
from ._steps import steps_by_sums, sum_of_tails
from ._tail_law import AbstractTailLaw
from ._traits import Traits


# The Taylor coefficients of (3/4 sin a + 1/12 sin 3a - a cos a) / (pi a^5) in powers of a^2.
_SEMICIRCLE_EXCESS = tuple(
    (-1) ** k * ((3 + 9**k) / 4 - (2 * k + 1)) / (math.factorial(2 * k + 1) * math.pi)
    for k in range(2, 18)
)

# The Taylor coefficients of (t - sin t) / t^3 and (1 - cos t) / t^2 in powers of t^2.
_EXCESS = tuple((-1) ** k / math.factorial(2 * k + 3) for k in range(13))
_SLOPE = tuple((-1) ** k / math.factorial(2 * k + 2) for k in range(13))


def _log_density(z: Tensor) -> Tensor:
    outside = z.abs() >= 1
    inner = torch.where(outside, 0.0, z)
    log_root = 0.5 * torch.log((1 - inner) * (1 + inner))
    return torch.where(outside, -math.inf, log_root + math.log(2 / math.pi))


def _density(z: Tensor) -> Tensor:
    return _log_density(z).exp()


def _cdf(z: Tensor) -> Tensor:
    negative, magnitude = fold(z)
    outside = magnitude >= 1
    t = 2 * torch.acos(torch.where(outside, 0.0, magnitude))
    # t - sin t cancels for small t; its Taylor series does not.
    small = t < 0.5
    small_t, large_t = torch.where(small, t, 0.25), torch.where(small, 1.0, t)
    excess = torch.where(
        small,
        small_t.pow(3) * horner(small_t.square(), *_EXCESS[:7]),
        large_t - large_t.sin(),
    )
    tail = torch.where(outside, 0.0, excess / (2 * math.pi))
    return torch.where(negative, tail, 1 - tail)


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return _cdf(-ratio(distance, scale))


def _excess(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    # (2/3 sin^3 a - cos a (a - sin a cos a)) / pi for z = cos a: in powers of a, because the
    # terms cancel down to a^5.
    z = ratio(distance, scale)
    outside = z >= 1
    angle = torch.acos(torch.where(outside, 0.0, z))
    excess = angle.pow(5) * horner(angle.square(), *_SEMICIRCLE_EXCESS)
    return scale * torch.where(outside, 0.0, excess)


def _sum_of_edges(below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
    # The Fourier coefficients fall slowly, because of the edges of the support: what is left of
    # the sum of steps minus its integral comes from the edges alone.
    return (below - 0.5) + _edge_sum(above, scale) - _edge_sum(below, scale)


def _edge_sum(distance: Tensor, scale: Tensor) -> Tensor:
    """The sum over the steps near an edge of the support, minus the integral.

    The steps stand `distance` + 0, 1, 2, ... away. The outermost 8 are summed, the others by the
    formula of Euler and Maclaurin.
    """
    steps = scale - distance
    first = steps - steps.floor()  # from the edge to the outermost step
    cut = first + 8
    inset = torch.cat([first.unsqueeze(-1) + k for k in range(8)] + [cut.unsqueeze(-1)], -1)
    upper = torch.ones_like(inset, dtype=torch.bool)
    wide = scale.unsqueeze(-1)
    tails = _tail(wide - inset, wide, upper)
    inner = cut / scale
    z2 = (1 - inner).square()
    room = cut * (2 - inner)  # scale (1 - z^2)
    slopes = room.sqrt() / 12
    slopes = slopes + room.pow(-1.5) / 720
    slopes = slopes - 3 * room.pow(-3.5) * (1 + 4 * z2) / 30240
    slopes = slopes + 45 * room.pow(-5.5) * horner(z2, 1.0, 12.0, 8.0) / 1209600
    return (
        tails[..., :-1].sum(-1)
        + 0.5 * tails[..., -1]
        - _excess(scale - cut, scale, upper[..., 0])
        - 2 / math.pi * slopes * scale.pow(-1.5)
    )


@final
class WignerSemicircle(AbstractTailLaw):
    """Wigner's semicircle: density 2/pi sqrt(1 - x^2) on [-1, 1], score x / (1 - x^2), for scale 1.

    The scale is the radius (as in `scipy.stats.semicircular`); the standard deviation is half of
    it. f is evaluated at most one scale away from x. The variance of the score is infinite, as for
    `Triangular`. Smoothing with compact support: section 2 of Petersen et al., 2024
    (arXiv:2410.08125); the law: Wigner, "Characteristic vectors of bordered matrices with infinite
    dimensions", 1955.

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.WignerSemicircle(2.0).icdf(torch.tensor([0.0, 1.0]))
    tensor([-2.,  2.])
    """

    name = "wigner_semicircle"
    traits = Traits(
        support=(-1.0, 1.0),
        tails="none",
        symmetric=True,
        mean=0.0,
        finite_score_variance=False,
        kinks="at -1 and 1 (at scale 1)",
    )
    _expectations = expectations_by_tails(
        name,
        density=_density,
        tail=_tail,
        log_tail=log_by_tail(_tail),
        excess=_excess,
        mean=0.0,
        steps=steps_by_sums(_tail, crossover=9.0, near=sum_of_tails(_tail, 10), far=_sum_of_edges),
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        # |noise| = cos(t / 2) where t - sin t = 2 pi tail: Kepler's equation of eccentricity 1, by
        # its series in (12 pi tail)^(1/3) and Newton's iteration. All is in powers of t, so that
        # small t keep their relative accuracy. Differentiating through the iterations gives the
        # derivatives of the root, of any order that is needed: each iteration doubles the orders
        # that are right.
        anomaly = 2 * math.pi * tail
        x = (6 * anomaly).pow(1 / 3)
        t = x * horner(
            x.square(), 1.0, 1 / 60, 1 / 1400, 1 / 25200, 43 / 17248000, 1213 / 7207200000
        )
        for _ in range(3):
            square = t.square()
            excess = t * horner(square, *_EXCESS)  # (t - sin t) / t^2
            slope = horner(square, *_SLOPE)  # (1 - cos t) / t^2
            t = t - (excess - anomaly / square) / slope
        angle = 0.5 * t
        noise = torch.sin(0.5 * math.pi - angle).clamp(min=0)
        return with_sign(upper, noise), with_sign(upper, noise / angle.sin().square())

    def _cdf(self, z: Tensor) -> Tensor:
        return _cdf(z)

    def _log_prob(self, z: Tensor) -> Tensor:
        return _log_density(z)

    def _score(self, z: Tensor) -> Tensor:
        inner = torch.where(z.abs() >= 1, 0.0, z)
        return inner / ((1 - inner) * (1 + inner))
