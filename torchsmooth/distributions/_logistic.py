"""Logistic noise."""

import math
from typing import final

import torch
from torch import Tensor

from .._torch_internals import stored_for_backward
from ._expectation import Expectation, Scale
from ._expectations import Expectations, between_by_tails, negated
from ._numeric import gamma_modulus, horner, ratio, with_sign
from ._steps import fourier_series, steps_by_sums, sum_of_tails
from ._tail_law import AbstractTailLaw
from ._traits import Traits


def _exponential(x: Tensor, scale: Scale) -> tuple[Tensor, Tensor, Tensor]:
    """z = x / scale, e = exp(-|z|) and 1 / (1 + e)."""
    z = x / scale
    negative = torch.where(z < 0, z, -z)
    with stored_for_backward(x):
        e = negative.exp()
    return z, e, (1 + e).reciprocal()


def _softplus(e: Tensor) -> Tensor:
    """log(1 + e)."""
    with stored_for_backward(e):
        return torch.log1p(e)


def _density(z: Tensor) -> Tensor:
    _, e, rest = _exponential(z, 1.0)
    return e * rest * rest


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return torch.sigmoid(-ratio(distance, scale))


def _log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    e = torch.exp(-ratio(distance, scale))
    return -distance / scale - torch.log1p(e)


def _characteristic(t: Tensor) -> tuple[Tensor, None]:
    return gamma_modulus(t).square(), None


def _probability_positive(x: Tensor, scale: Scale) -> Tensor:
    if not torch.compiler.is_compiling():
        return torch.sigmoid(x / scale)
    # The same, but of what the backward pass needs too.
    z, e, rest = _exponential(x, scale)
    return torch.where(z < 0, e * rest, rest)


def _probability_negative(x: Tensor, scale: Scale) -> Tensor:
    return _probability_positive(-x, scale)


def _slopes_of_positive(x: Tensor, scale: Scale, factor: Tensor | float) -> tuple[Tensor, Tensor]:
    # The value times its distance from 1 would be 0 where the value rounds to 1.
    z, e, rest = _exponential(x, scale)
    in_x = factor * (e * rest * rest) / scale
    return in_x, -z.clamp(-1e3, 1e3) * in_x


def _gap(x: Tensor, scale: Scale) -> Tensor:
    _, e, _ = _exponential(x, scale)
    return scale * _softplus(e)


def _slopes_of_gap(x: Tensor, scale: Scale, factor: Tensor | float) -> tuple[Tensor, Tensor]:
    z, e, rest = _exponential(x, scale)
    tail = e * rest
    in_x = factor * torch.where(x > 0, -tail, tail)
    return in_x, factor * _softplus(e) - z.clamp(-1e3, 1e3) * in_x


_positive = Expectation(_probability_positive, _slopes_of_positive, "logistic.positive")


def _rise(beyond: Tensor, width: Tensor, scale: Scale) -> Tensor:
    # The difference of two softplus, log(1 + (exp(width) - 1) P(noise < beyond)) at scale 1. Both
    # functions by their series, which is exact to rounding for such widths.
    w = width / scale
    u = w * horner(w, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120)
    u = u * _positive(beyond, scale)
    return scale * u * horner(u, 1.0, -1 / 2, 1 / 3, -1 / 4, 1 / 5)


@final
class Logistic(AbstractTailLaw):
    """The logistic law: density exp(-x) / (1 + exp(-x))^2, score tanh(x / 2), for scale 1.

    Its distribution function is the sigmoid. Heavier tails than the Gaussian, and a bounded score.
    Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> x = torch.tensor([-0.3, 0.0, 0.6])
    >>> torch.allclose(ts.Logistic(0.3).cdf(x), torch.sigmoid(x / 0.3))
    True
    """

    name = "logistic"
    traits = Traits(
        support=(-math.inf, math.inf),
        tails="exponential",
        symmetric=True,
        mean=0.0,
        finite_score_variance=True,
    )
    _expectations = Expectations(
        tail=_tail,
        log_tail=_log_tail,
        positive=_positive,
        negative=Expectation(
            _probability_negative, negated(_slopes_of_positive), "logistic.negative"
        ),
        gap=Expectation(_gap, _slopes_of_gap, "logistic.gap"),
        rise=_rise,
        between=between_by_tails(_tail, _density),
        steps=steps_by_sums(
            _tail,
            crossover=0.35,
            near=sum_of_tails(_tail, 13),
            far=fourier_series(_characteristic, 5),
        ),
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        # log((1 - t) / t) without cancellation at t = 1/2, where it is 0.
        central = 2 * torch.atanh(1 - 2 * tail.clamp(min=0.25))
        outer = torch.log1p(-tail) - tail.log()
        magnitude = torch.where(tail < 0.25, outer, central)
        return with_sign(upper, magnitude), with_sign(upper, 1 - 2 * tail)

    def _cdf(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def _log_prob(self, z: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(z) + torch.nn.functional.logsigmoid(-z)

    def _score(self, z: Tensor) -> Tensor:
        return torch.tanh(0.5 * z)
