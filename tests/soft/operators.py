"""The operators of `torchsmooth.soft` beside what they smooth, and expectations by quadrature."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import scipy.integrate
from laws import FACTS
from torch import Tensor

from torchsmooth import soft
from torchsmooth.distributions import AbstractDistribution


@dataclass(frozen=True)
class Operator:
    soft: Callable[[Tensor, AbstractDistribution], Tensor]
    hard: Callable[[float], float]
    breaks: tuple[float, ...]  # where it jumps or has a kink
    bounded: bool  # then it has an expectation under laws without a mean too


def nearest(y: float, levels: tuple[float, ...]) -> float:
    return min(levels, key=lambda level: abs(level - y))


LEVELS = (-1.2, 0.1, 0.9, 2.5)

OPERATORS = {
    "heaviside": Operator(soft.heaviside, lambda y: float(y > 0), (0.0,), True),
    "sign": Operator(soft.sign, lambda y: math.copysign(1, y), (0.0,), True),
    "abs": Operator(soft.abs, abs, (0.0,), False),
    "relu": Operator(soft.relu, lambda y: max(y, 0.0), (0.0,), False),
    "clamp": Operator(
        lambda x, d: soft.clamp(x, -0.6, 1.5, d),
        lambda y: min(max(y, -0.6), 1.5),
        (-0.6, 1.5),
        True,
    ),
    "narrow clamp": Operator(
        lambda x, d: (soft.clamp(x, 0.3, 0.3 + 2.0**-16, d) - 0.3) * 2**16,
        lambda y: min(max((y - 0.3) * 2**16, 0.0), 1.0),
        (0.3, 0.3 + 2.0**-16),
        True,
    ),
    "maximum": Operator(lambda x, d: soft.maximum(x, 0.7, d), lambda y: max(y, 0.7), (0.7,), False),
    "minimum": Operator(lambda x, d: soft.minimum(x, 0.7, d), lambda y: min(y, 0.7), (0.7,), False),
    "threshold": Operator(
        lambda x, d: soft.threshold(x, 0.5, -1.0, d),
        lambda y: y if y > 0.5 else -1.0,
        (0.5,),
        False,
    ),
    "hardshrink": Operator(
        lambda x, d: soft.hardshrink(x, 0.8, d),
        lambda y: y if abs(y) > 0.8 else 0.0,
        (-0.8, 0.8),
        False,
    ),
    "greater": Operator(
        lambda x, d: soft.greater(x, 0.7, d), lambda y: float(y > 0.7), (0.7,), True
    ),
    "less": Operator(lambda x, d: soft.less(x, 0.7, d), lambda y: float(y < 0.7), (0.7,), True),
    "equal": Operator(
        lambda x, d: soft.equal(x, 0.7, 0.4, d),
        lambda y: float(abs(y - 0.7) < 0.4),
        (0.3, 1.1),
        True,
    ),
    "narrow equal": Operator(
        lambda x, d: soft.equal(x, 0.7, 2.0**-17, d) * 2**16,
        lambda y: 2.0**16 * (abs(y - 0.7) < 2.0**-17),
        (0.7 - 2.0**-17, 0.7 + 2.0**-17),
        True,
    ),
    "quantize": Operator(
        lambda x, d: soft.quantize(x, LEVELS, d),
        lambda y: nearest(y, LEVELS),
        (-0.55, 0.5, 1.7),
        True,
    ),
    "round": Operator(soft.round, round, tuple(k + 0.5 for k in range(-12, 12)), False),
    "floor": Operator(soft.floor, math.floor, tuple(range(-12, 13)), False),
    "ceil": Operator(soft.ceil, math.ceil, tuple(range(-12, 13)), False),
    "trunc": Operator(soft.trunc, math.trunc, tuple(k for k in range(-12, 13) if k), False),
}
"""The operators of one noisy variable y, with their other arguments bound."""


def expectation(
    name: str, hard: Callable[[float], float], breaks: tuple[float, ...], x: float, scale: float
) -> float:
    """E hard(x + scale noise) by quadrature over the whole support, piece by piece."""
    density = FACTS[name].density
    low, high = FACTS[name].mass
    inner = {(y - x) / scale for y in breaks} | {-30.0, -4.0, 0.0, 4.0, 30.0}
    points = [low, *sorted(e for e in inner if low < e < high), high]

    def integrand(e: float) -> float:
        return hard(x + scale * e) * density(e)

    return math.fsum(
        scipy.integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-10, limit=200)[0]
        for a, b in zip(points, points[1:], strict=False)
    )
