"""Triangular noise."""

import math
from typing import final

import torch
from torch import Tensor

from ._expectation import Scale
from ._expectations import expectations_by_tails
from ._numeric import fold, ratio, with_sign
from ._steps import steps_by_sums, sum_of_tails
from ._tail_law import AbstractTailLaw
from ._traits import Traits


def _log_density(z: Tensor) -> Tensor:
    outside = z.abs() >= 1
    return torch.where(outside, -math.inf, torch.log1p(-torch.where(outside, 0.0, z).abs()))


def _density(z: Tensor) -> Tensor:
    return _log_density(z).exp()


def _edge(distance: Tensor, scale: Scale) -> Tensor:
    """How far inside the support, 0 outside."""
    return (1 - ratio(distance, scale)).clamp(min=0)


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return 0.5 * _edge(distance, scale).square()


def _log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    edge = _edge(distance, scale)
    inside = ~(edge <= 0)
    log_edge = torch.where(inside, edge, 1.0).log()
    return torch.where(inside, 2 * log_edge - math.log(2), -math.inf)


def _excess(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return scale * _edge(distance, scale).pow(3) / 6


def _cubic(t: Tensor) -> Tensor:
    """The second integral of the sawtooth, of period 1."""
    t = t - t.floor()
    return t * (t - 0.5) * (t - 1) / 6


def _second_difference(below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
    # The density is the second derivative of a broken line: the expectation of the sawtooth is the
    # second difference of its second integral.
    difference = _cubic(below + scale) - 2 * _cubic(below) + _cubic(below - scale)
    return (below - 0.5) - difference / scale / scale


@final
class Triangular(AbstractTailLaw):
    """The triangular law: density 1 - |x| on [-1, 1], score sign(x) / (1 - |x|), for scale 1.

    f is evaluated at most one scale away from x. The variance of the score is infinite (the
    integral of score^2 diverges at the edge of the support), so that averages of it have no plain
    confidence bound. Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Triangular(2.0).log_prob(torch.tensor([0.0, 1.0, 3.0])).exp()
    tensor([0.5000, 0.2500, 0.0000])
    """

    name = "triangular"
    traits = Traits(
        support=(-1.0, 1.0),
        tails="none",
        symmetric=True,
        mean=0.0,
        finite_score_variance=False,
        kinks="at -1, 0 and 1 (at scale 1)",
    )
    _expectations = expectations_by_tails(
        name,
        density=_density,
        tail=_tail,
        log_tail=_log_tail,
        excess=_excess,
        mean=0.0,
        steps=steps_by_sums(
            _tail, crossover=1.0, near=sum_of_tails(_tail, 1), far=_second_difference
        ),
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        edge = torch.sqrt(2 * tail)  # 1 - |noise|
        magnitude = (1 - 2 * tail) / (1 + edge)  # 1 - edge, without its cancellation
        return with_sign(upper, magnitude), with_sign(upper, edge.reciprocal())

    def _cdf(self, z: Tensor) -> Tensor:
        negative, magnitude = fold(z)
        tail = 0.5 * (1 - magnitude.clamp(max=1)).square()
        return torch.where(negative, tail, 1 - tail)

    def _log_prob(self, z: Tensor) -> Tensor:
        return _log_density(z)

    def _score(self, z: Tensor) -> Tensor:
        outside = z.abs() >= 1
        inner = torch.where(outside, 0.0, z)
        return inner.sign() / (1 - inner.abs())
