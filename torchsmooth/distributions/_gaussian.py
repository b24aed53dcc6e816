"""Normal noise."""

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from ._expectation import Expectation, Scale
from ._expectations import (
    Expectations,
    between_by_tails,
    gap_by_excess,
    negated,
    rise_by_quadrature,
    slopes_by_density,
)
from ._numeric import ratio, with_sign
from ._steps import fourier_series, steps_by_sums, sum_of_tails
from ._tail_law import AbstractTailLaw
from ._traits import Traits


# The positive nodes of Gauss-Hermite quadrature with 18 points for the standard normal law, and
# their weights with those of their mirror images. Mills' ratio tail(z) / density(z) is the
# expectation of z / (z^2 + noise^2), so that its series has positive terms only. From z = 3 on
# it is exact to 1e-8, from z = 6 on to 1e-15, and so are its derivatives.
_HERMITE = (
    (0.3652457555076976, 0.54556646930857575),
    (1.0983955180915012, 0.32137060778702527),
    (1.8397799215086455, 0.10979326496044526),
    (2.5958336889112403, 0.021033035503882684),
    (3.374736535778091, 0.002130969592583304),
    (4.1880202316294037, 0.00010359792288232412),
    (5.0540726854427398, 2.0431047952739625e-6),
    (6.0077459113595975, 1.1810976957673192e-8),
    (7.1394648491464789, 8.8331775387174105e-12),
)


def _weighted(like: Tensor, f: Callable[[float], Tensor]) -> Tensor:
    """The expectation of an even function of standard normal noise."""
    result = torch.zeros_like(like)
    for node, weight in _HERMITE:
        result = result + weight * f(node)
    return result


def _split(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether z is far out, z where it is not, and z where it is (0 and the limit else)."""
    # Where the quadrature of Mills' ratio is exact to rounding.
    limit = 6.0 if z.dtype == torch.float64 else 3.0
    far = z > limit
    return far, torch.where(far, 0.0, z), torch.where(far, z, limit)


def _log_density(z: Tensor) -> Tensor:
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


def _density(z: Tensor) -> Tensor:
    return _log_density(z).exp()


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return 0.5 * torch.erfc(ratio(distance, scale) * math.sqrt(0.5))


def _log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    far, near_z, far_z = _split(distance / scale)
    log_mills = _weighted(far_z, lambda node: 1 / (1 + (node / far_z).square())).log()
    return torch.where(
        far,
        _log_density(far_z) - far_z.log() + log_mills,
        (0.5 * torch.erfc(near_z * math.sqrt(0.5))).log(),
    )


def _excess(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    # density(z) - z tail(z), where the two terms do not cancel.
    far, near_z, far_z = _split(ratio(distance, scale))
    near = _density(near_z) - near_z * 0.5 * torch.erfc(near_z * math.sqrt(0.5))
    rest = _weighted(far_z, lambda node: node**2 / (far_z.square() + node**2))
    return scale * torch.where(far, _density(far_z) * rest, near)


def _characteristic(t: Tensor) -> tuple[Tensor, None]:
    return torch.exp(-0.5 * t.square()), None


def _probability_positive(x: Tensor, scale: Scale) -> Tensor:
    return 0.5 * torch.erfc(x / scale * -math.sqrt(0.5))


def _probability_negative(x: Tensor, scale: Scale) -> Tensor:
    return 0.5 * torch.erfc(x / scale * math.sqrt(0.5))


_slopes = slopes_by_density(_density)
_positive = Expectation(_probability_positive, _slopes, "gaussian.positive")


@final
class Gaussian(AbstractTailLaw):
    """The normal law: density exp(-x^2 / 2) / sqrt(2 pi), score x, for scale 1.

    The scale is the standard deviation; with a `scale_matrix` L, the covariance is L L^T. Table 1
    of Petersen et al., "Generalizing Stochastic Smoothing for Differentiation and Gradient
    Estimation", 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Gaussian(2.0).score(torch.tensor([1.0, -4.0]))
    tensor([ 0.2500, -1.0000])
    """

    name = "gaussian"
    traits = Traits(
        support=(-math.inf, math.inf),
        tails="squared exponential",
        symmetric=True,
        mean=0.0,
        finite_score_variance=True,
    )
    _expectations = Expectations(
        tail=_tail,
        log_tail=_log_tail,
        positive=_positive,
        negative=Expectation(_probability_negative, negated(_slopes), "gaussian.negative"),
        gap=gap_by_excess(_tail, _excess, mean=0.0, node="gaussian.gap"),
        rise=rise_by_quadrature(_positive),
        between=between_by_tails(_tail, _density),
        steps=steps_by_sums(
            _tail,
            crossover=0.4,
            near=sum_of_tails(_tail, 4),
            far=fourier_series(_characteristic, 3),
        ),
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        noise = with_sign(upper, -torch.special.ndtri(tail))
        return noise, noise

    def _cdf(self, z: Tensor) -> Tensor:
        # torch.special.ndtr is (1 + erf) / 2, which loses the lower tail to cancellation.
        return 0.5 * torch.erfc(z * -math.sqrt(0.5))

    def _log_prob(self, z: Tensor) -> Tensor:
        return _log_density(z)

    def _score(self, z: Tensor) -> Tensor:
        return z
