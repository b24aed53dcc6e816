"""Gumbel noise."""

import math
from typing import final

import torch
from torch import Tensor

from ._expectation import Scale
from ._expectations import expectations_by_tails
from ._numeric import gamma_modulus, horner, ratio
from ._steps import fourier_series, steps_by_sums, sum_of_tails
from ._tail_law import AbstractTailLaw
from ._traits import Traits


_EULER = 0.57721566490153286

# Ein(w) / w in powers of -w / 4, for w up to 4; the depth of the continued fraction of E1 beyond;
# the coefficients of Stirling's series, B_2k / (2k (2k - 1)).
_EIN = tuple(4 ** (k - 1) / (k * math.factorial(k)) for k in range(1, 31))
_E1_DEPTH = 20
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _log_density(z: Tensor) -> Tensor:
    # At -inf: inf - inf.
    lowest = z == -math.inf
    finite = torch.where(lowest, 0.0, z)
    return torch.where(lowest, z, -finite - torch.exp(-finite))


def _density(z: Tensor) -> Tensor:
    # Below -7 it is 0 in every type, but its derivative would be 0 times infinity.
    return _log_density(z.clamp(min=-7)).exp()


def _exponentials(distance: Tensor, scale: Scale, upper: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-z) for the upper tail, exp(z) for the lower one (1 else), z = distance / scale."""
    z = ratio(distance, scale)
    # From 7 on exp(-exp(z)) is 0 in every type; without a bound exp(z) could be infinite.
    lower_z = torch.where(upper, 0.0, z).clamp(max=7)
    return torch.exp(-torch.where(upper, z, 0.0)), torch.exp(lower_z)


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    w, v = _exponentials(distance, scale, upper)
    return torch.where(upper, -torch.expm1(-w), torch.exp(-v))


def _log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    z = distance / scale
    upper_z, lower_z = torch.where(upper, z, 0.0), torch.where(upper, 0.0, z)
    # log(1 - exp(-w)) for w = exp(-z), by two terms of its series where they are all.
    far = upper_z > 40
    w = torch.exp(-upper_z)
    near = (-torch.expm1(-torch.where(far, 1.0, w))).log()
    return torch.where(upper, torch.where(far, -upper_z - 0.5 * w, near), -lower_z.exp())


def _excess(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    # Ein(w), the integral of (1 - exp(-w)) / w, above; E1(v) = Ein(v) - log(v) - Euler below.
    w, v = _exponentials(distance, scale, upper)
    far = v > 4
    near = torch.where(upper, w, torch.where(far, 1.0, v))
    ein = near * horner(near / -4, *_EIN)
    small = torch.where(upper, ein, ein - torch.where(upper, 1.0, near).log() - _EULER)
    large_v = torch.where(far, v, 4.0)
    fraction = large_v + 2 * _E1_DEPTH + 1  # of Stieltjes, from its end
    for k in range(_E1_DEPTH, 0, -1):
        fraction = large_v + (2 * k - 1) - k * k / fraction
    return scale * torch.where(far, torch.exp(-large_v) / fraction, small)


def _characteristic(t: Tensor) -> tuple[Tensor, Tensor]:
    # Gamma(1 - it). The modulus is known; the argument is Stirling's at 9 + it, and 8 steps of the
    # recurrence. Valid for t > 0.
    real, imaginary = 9.0, t
    radius, angle = torch.hypot(t, torch.full_like(t, real)), torch.atan2(t, t.new_tensor(real))
    argument = (real - 0.5) * angle + imaginary * (radius.log() - 1)
    for k, coefficient in enumerate(_STIRLING):
        power = 2 * k + 1
        argument = argument - coefficient * radius.pow(-power) * torch.sin(power * angle)
    for k in range(1, 9):
        argument = argument - torch.atan(t / k)
    modulus = gamma_modulus(t)
    return modulus * argument.cos(), -modulus * argument.sin()


@final
class Gumbel(AbstractTailLaw):
    """The Gumbel law: density exp(-x - exp(-x)), score 1 - exp(-x), for scale 1.

    The law of a maximum. It is not symmetric, and its mean is Euler's constant times the scale:
    the upper tail falls as exp(-x), the lower one as exp(-exp(-x)). An argmax smoothed by it is the
    softmax, an argsort the Plackett-Luce law. Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Gumbel().cdf(torch.tensor(0.0))  # 1/e, not 1/2
    tensor(0.3679)
    """

    name = "gumbel"
    traits = Traits(
        support=(-math.inf, math.inf),
        tails="exponential",
        symmetric=False,
        mean=_EULER,
        finite_score_variance=True,
    )
    _expectations = expectations_by_tails(
        name,
        density=_density,
        tail=_tail,
        log_tail=_log_tail,
        excess=_excess,
        mean=_EULER,
        steps=steps_by_sums(
            _tail,
            crossover=0.35,
            near=sum_of_tails(_tail, 13),
            far=fourier_series(_characteristic, 10, mean=_EULER),
        ),
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        log_u = torch.where(upper, torch.log1p(-tail), tail.log())
        return -torch.log(-log_u), 1 + log_u

    def _cdf(self, z: Tensor) -> Tensor:
        # Below -20 the value is 0 in every type, but the derivative would be 0 times infinity.
        return torch.exp(-torch.exp(-z.clamp(min=-20)))

    def _log_prob(self, z: Tensor) -> Tensor:
        return _log_density(z)

    def _score(self, z: Tensor) -> Tensor:
        return -torch.expm1(-z)
