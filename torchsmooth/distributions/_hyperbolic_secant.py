"""Hyperbolic secant noise."""

import math
from typing import final

import torch
from torch import Tensor

from ._expectation import Scale
from ._expectations import expectations_by_tails
from ._numeric import fold, horner, ratio, with_sign
from ._steps import fourier_series, steps_by_sums, sum_of_tails
from ._tail_law import AbstractTailLaw
from ._traits import Traits


def _alternating_series(count: int) -> tuple[float, ...]:
    """Weights w_k such that sum (-1)^k a_k is sum w_k a_k to (3 + sqrt 8)^-count of itself.

    That holds for all a_k that are the moments of a positive density on [0, 1]. Cohen, Rodriguez
    Villegas and Zagier, "Convergence acceleration of alternating series", Experimental Mathematics
    9, 2000, algorithm 1, with the Chebyshev polynomial at 3 in whole numbers.
    """
    before, total = 1, 3
    for _ in range(count - 1):
        before, total = total, 6 * total - before
    b, c, weights = -1, -total, []
    for k in range(count):
        c = b - c
        weights.append(c / total)
        b = 2 * b * (k + count) * (k - count) // ((2 * k + 1) * (k + 1))
    return tuple(weights)


# The inverse tangent integral, e - e^3 / 9 + e^5 / 25 - ..., over e in powers of e^2, for e in
# [0, 1]: to 1e-17.
_INVERSE_TANGENT_INTEGRAL = tuple(
    weight / (2 * k + 1) ** 2 for k, weight in enumerate(_alternating_series(22))
)


def _density(z: Tensor) -> Tensor:
    e = torch.exp(-fold(z)[1])
    return 2 / math.pi * e / (1 + e.square())


def _tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    return 2 / math.pi * torch.atan(torch.exp(-ratio(distance, scale)))


def _log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    z = distance / scale
    # log atan(e) = log e - e^2 / 3 + ... for e = exp(-z), whose square is below rounding far out.
    far = z > 20
    near = torch.atan(torch.exp(-torch.where(far, 0.0, z))).log()
    return torch.where(far, -z, near) + math.log(2 / math.pi)


def _excess(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
    # The integral of 2/pi atan(v) / v over v from 0 to e.
    e = torch.exp(-ratio(distance, scale))
    return 2 / math.pi * scale * e * horner(e.square(), *_INVERSE_TANGENT_INTEGRAL)


def _characteristic(t: Tensor) -> tuple[Tensor, None]:
    e = torch.exp(-0.5 * math.pi * t)
    return 2 * e / (1 + e.square()), None


@final
class HyperbolicSecant(AbstractTailLaw):
    """The hyperbolic secant law: density sech(x) / pi, score tanh(x), for scale 1.

    Its tails fall as those of the logistic law of the same scale, and its score is bounded too, but
    rises twice as fast at 0. The standard deviation is pi / 2 scales. Baten, "The probability law
    for the sum of n independent variables, each subject to the law 1/(2h) sech(pi x / 2h)",
    Bulletin of the American Mathematical Society 40, 1934.

    >>> import torch
    >>> import torchsmooth as ts
    >>> x = torch.tensor([-0.5, 0.0, 1.0])
    >>> torch.allclose(ts.HyperbolicSecant(0.5).score(x), 2 * torch.tanh(2 * x))
    True
    """

    name = "hyperbolic_secant"
    traits = Traits(
        support=(-math.inf, math.inf),
        tails="exponential",
        symmetric=True,
        mean=0.0,
        finite_score_variance=True,
    )
    _expectations = expectations_by_tails(
        name,
        density=_density,
        tail=_tail,
        log_tail=_log_tail,
        excess=_excess,
        mean=0.0,
        steps=steps_by_sums(
            _tail,
            crossover=0.4,
            near=sum_of_tails(_tail, 16),
            far=fourier_series(_characteristic, 10),
        ),
    )

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        # -log tan(pi/2 tail) without cancellation at tail = 1/2, where it is 0.
        central = 2 * torch.atanh(torch.tan(0.5 * math.pi * (0.5 - tail.clamp(min=0.25))))
        outer = -torch.tan(0.5 * math.pi * tail).log()
        magnitude = torch.where(tail < 0.25, outer, central)
        return with_sign(upper, magnitude), with_sign(upper, torch.sin(math.pi * (0.5 - tail)))

    def _cdf(self, z: Tensor) -> Tensor:
        negative, magnitude = fold(z)
        tail = 2 / math.pi * torch.atan(torch.exp(-magnitude))
        return torch.where(negative, tail, 1 - tail)

    def _log_prob(self, z: Tensor) -> Tensor:
        # sech(z) is twice the root of the product of the sigmoids of 2z and -2z.
        log = torch.nn.functional.logsigmoid
        return 0.5 * (log(2 * z) + log(-2 * z)) + math.log(2 / math.pi)

    def _score(self, z: Tensor) -> Tensor:
        return torch.tanh(z)
