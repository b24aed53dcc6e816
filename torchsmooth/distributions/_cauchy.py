"""Cauchy noise."""

import math
from typing import final

import torch
from torch import Tensor

from ._expectation import Expectation, Scale
from ._expectations import (
    Expectations,
    between_by_tails,
    negated,
    negative_by_tail,
    positive_by_tail,
    rise_by_quadrature,
)
from ._numeric import with_sign
from ._tail_law import AbstractTailLaw
from ._traits import Traits


def _split(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether z^2 could overflow, z where it could not, and z where it could (0 and 1 else)."""
    large = z.abs() > 1
    return large, torch.where(large, 0.0, z), torch.where(large, z, 1.0)


def _angle(distance: Tensor, scale: Scale) -> Tensor:
    """atan(scale / distance) for distances >= 0."""
    # The angle does not change if both are divided by the larger one, but then no square overflows
    # or underflows, and the derivative in the scale is right where scale / distance is 0.
    infinite = distance.isinf()
    finite = torch.where(infinite, 0.0, distance)
    scale = distance.new_tensor(1.0) * scale
    size = torch.maximum(finite, scale).detach()
    return torch.where(infinite, 0.0, torch.atan2(scale / size, finite / size))


def _log_density(z: Tensor) -> Tensor:
    large, small_z, large_z = _split(z)
    log_square = torch.where(
        large,
        2 * large_z.abs().log() + torch.log1p(large_z.reciprocal().square()),
        torch.log1p(small_z.square()),
    )
    return -log_square - math.log(math.pi)


def _density(z: Tensor) -> Tensor:
    return _log_density(z).exp()


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return _angle(distance, scale) / math.pi


def _log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    # Far out, the logarithm of the quotient scale / distance is representable when it is not.
    scale = distance.new_tensor(1.0) * scale
    far = distance > 1e4 * scale
    near_angle = _angle(torch.where(far, 0.0, distance), scale)
    far_distance = torch.where(far, distance, 1e4 * scale)
    slope = -(scale / far_distance).square() / 3  # of log(atan(w) / w), w^4 is below rounding
    log_angle = torch.where(far, scale.log() - far_distance.log() + slope, near_angle.log())
    return log_angle - math.log(math.pi)


def _slopes_of_positive(x: Tensor, scale: Scale, factor: Tensor | float) -> tuple[Tensor, Tensor]:
    # scale / (x^2 + scale^2) and -x / (x^2 + scale^2): neither square may overflow.
    infinite = x.isinf()
    x = torch.where(infinite, 0.0, x)
    scale = x.new_tensor(1.0) * scale
    size = torch.maximum(x.abs(), scale).detach()
    x, scale = x / size, scale / size
    slope = torch.where(infinite, 0.0, 1 / (math.pi * (x.square() + scale.square()))) / size
    return factor * (scale * slope), factor * (-x * slope)


def _half_log_square(distance: Tensor, scale: Tensor) -> Tensor:
    """log(1 + z^2) / 2 for z = distance / scale."""
    far = distance > scale
    near_z = torch.where(far, 0.0, distance) / scale
    far_distance = torch.where(far, distance, scale)
    return torch.where(
        far,
        far_distance.log() - scale.log() + 0.5 * torch.log1p((scale / far_distance).square()),
        0.5 * torch.log1p(near_z.square()),
    )


def _gap(x: Tensor, scale: Scale) -> Tensor:
    # Minus the integral of the tail from 0 to |x|: there is no mean, so none to infinity.
    scale = x.new_tensor(1.0) * scale
    distance = torch.where(x > 0, x, -x)
    integral = distance * _angle(distance, scale) + scale * _half_log_square(distance, scale)
    return -integral / math.pi


def _slopes_of_gap(x: Tensor, scale: Scale, factor: Tensor | float) -> tuple[Tensor, Tensor]:
    scale = x.new_tensor(1.0) * scale
    positive = x > 0
    distance = torch.where(positive, x, -x)
    tail = _angle(distance, scale) / math.pi
    in_scale = -_half_log_square(distance, scale) / math.pi
    return factor * torch.where(positive, -tail, tail), factor * in_scale


_between_by_tails = between_by_tails(_tail, _density)


def _between(lo: Tensor, hi: Tensor, scale: Scale) -> Tensor:
    # The difference of two arctangents is one arctangent.
    infinite = lo.isinf() | hi.isinf()
    start, stop = torch.where(infinite, 0.0, lo), torch.where(infinite, 0.0, hi)
    height = lo.new_tensor(1.0) * scale
    size = torch.maximum(torch.maximum(start.abs(), stop.abs()), height).detach()
    start, stop, height = start / size, stop / size, height / size
    angle = torch.atan2(height * (stop - start), height.square() + start * stop)
    return torch.where(infinite, _between_by_tails(lo, hi, scale), angle / math.pi)


_positive = Expectation(positive_by_tail(_tail), _slopes_of_positive, "cauchy.positive")


@final
class Cauchy(AbstractTailLaw):
    """The Cauchy law: density 1 / (pi (1 + x^2)), score 2x / (1 + x^2), for scale 1.

    It has no mean, so the smoothed function exists only where f grows slower than |x|; f must be
    bounded, or nearly so. The scale is the half width at half maximum. Table 1 of Petersen et al.,
    2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Cauchy(0.5).icdf(torch.tensor([0.25, 0.75]))
    tensor([-0.5000,  0.5000])
    """

    name = "cauchy"
    traits = Traits(
        support=(-math.inf, math.inf),
        tails="power",
        symmetric=True,
        mean=None,
        finite_score_variance=True,
    )
    _expectations = Expectations(
        tail=_tail,
        log_tail=_log_tail,
        positive=_positive,
        negative=Expectation(
            negative_by_tail(_tail), negated(_slopes_of_positive), "cauchy.negative"
        ),
        gap=Expectation(_gap, _slopes_of_gap, "cauchy.gap"),
        rise=rise_by_quadrature(_positive),
        between=_between,
        steps=None,
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        sine = torch.sin(math.pi * tail)
        cosine = torch.sin(math.pi * (0.5 - tail))
        return with_sign(upper, cosine / sine), with_sign(upper, 2 * sine * cosine)

    def _cdf(self, z: Tensor) -> Tensor:
        # 1/2 + atan(z) / pi would cancel in the lower tail.
        return torch.atan2(torch.ones_like(z), -z) / math.pi

    def _log_prob(self, z: Tensor) -> Tensor:
        return _log_density(z)

    def _score(self, z: Tensor) -> Tensor:
        large, small_z, large_z = _split(z)
        y = torch.where(large, large_z.reciprocal(), small_z)  # the score is the same at z and 1/z
        return 2 * y / (1 + y.square())
