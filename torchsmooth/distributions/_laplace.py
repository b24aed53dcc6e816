"""Laplace noise."""

import math
from typing import final

import torch
from torch import Tensor

from ._expectation import Scale
from ._expectations import expectations_by_tails
from ._numeric import fold, horner, ratio, with_sign
from ._steps import steps_by_sums
from ._tail_law import AbstractTailLaw
from ._traits import Traits


# The Taylor coefficients of sinh(q) / q in powers of q^2, for q up to 1/2.
_SINH = tuple(1 / math.factorial(2 * k + 1) for k in range(8))


def _log_density(z: Tensor) -> Tensor:
    return -z.abs() - math.log(2)


def _density(z: Tensor) -> Tensor:
    return _log_density(z).exp()


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return 0.5 * torch.exp(-ratio(distance, scale))


def _log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return -distance / scale - math.log(2)


def _excess(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return scale * _tail(distance, scale, upper)


def _geometric_series(below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
    """The sum of the tails of all steps."""
    up, down, one = (
        torch.exp(-ratio(distance, scale)) for distance in (above, below, torch.ones_like(below))
    )
    return 0.5 * (up - down) / (1 - one)


def _quotient_of_sinh(below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
    # The same sum is sinh(c q) / (2 sinh q) for c = below - above and q = 1 / (2 scale): for
    # small q in powers of q^2, because the exponentials and the derivatives of the sinh cancel.
    c = below - above
    square = (0.5 / scale).square()
    return 0.5 * c * horner(c.square() * square, *_SINH) / horner(square, *_SINH)


@final
class Laplace(AbstractTailLaw):
    """The Laplace law: density exp(-|x|) / 2, score sign(x), for scale 1.

    All samples have a score of the same size. The density has a kink at 0, where the score is set
    to 0. Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Laplace(0.5).score(torch.tensor([-3.0, 0.1]))
    tensor([-2.,  2.])
    """

    name = "laplace"
    traits = Traits(
        support=(-math.inf, math.inf),
        tails="exponential",
        symmetric=True,
        mean=0.0,
        finite_score_variance=True,
        kinks="at 0 (at scale 1)",
    )
    _expectations = expectations_by_tails(
        name,
        density=_density,
        tail=_tail,
        log_tail=_log_tail,
        excess=_excess,
        mean=0.0,
        steps=steps_by_sums(_tail, crossover=1.0, near=_geometric_series, far=_quotient_of_sinh),
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        magnitude = -torch.log(2 * tail)
        return with_sign(upper, magnitude), with_sign(upper, torch.ones_like(tail))

    def _cdf(self, z: Tensor) -> Tensor:
        negative, magnitude = fold(z)
        tail = 0.5 * torch.exp(-magnitude)
        return torch.where(negative, tail, 1 - tail)

    def _log_prob(self, z: Tensor) -> Tensor:
        return _log_density(z)

    def _score(self, z: Tensor) -> Tensor:
        return torch.where(z.isnan(), z, z.sign())  # sign(NaN) is 0
