"""The contract of what `torchsmooth.soft` needs of a law, and the pieces that laws make it of.

Functions named `..._by_...` make a part of the contract from what a law knows; a law that knows a
better way writes the part itself. x, distances and scales are tensors that broadcast; a scale may
be a number.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias, final

import torch
from torch import Tensor

from ._expectation import Expectation, Scale, Slopes, Value
from ._numeric import LEGENDRE, is_narrow, ratio, split_at_zero


Tail: TypeAlias = Callable[[Tensor, Scale, Tensor], Tensor]
"""(distance >= 0, scale, upper): of noise above distance if `upper`, below -distance if not."""
Density: TypeAlias = Callable[[Tensor], Tensor]  # at scale 1
Ratio: TypeAlias = Callable[[Tensor, Scale], Tensor]
Interval: TypeAlias = Callable[[Tensor, Tensor, Scale], Tensor]
Steps: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@final
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Expectations:
    """The expectations that `torchsmooth.soft` needs of a law.

    All parts are differentiable, without NaN in slopes.

    - `tail`: P(noise > distance), or P(noise < -distance).
    - `log_tail`: its logarithm, as far out as that is representable.
    - `positive`, `negative`: P(x + noise > 0) and P(x + noise < 0), accurate in both tails.
    - `gap`: E max(x + noise, 0) - max(x, 0), up to a constant if it has no value, but its
        differences do; None if no closed form is known.
    - `rise`: of (beyond, width, scale), E clamp(beyond + width + noise, 0, width) for widths far
        below the scale.
    - `between`: of (lo, hi, scale), P(lo < noise < hi).
    - `steps`: of (below, above, scale, missing), see `AbstractDistribution.expected_steps`; None if
        there is no expectation, or no closed form is known.
    """

    tail: Tail
    log_tail: Tail
    positive: Value
    negative: Value
    gap: Value | None
    rise: Interval
    between: Interval
    steps: Steps | None


def log_by_tail(tail: Tail) -> Tail:
    def log_tail(distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
        probability = tail(distance, scale, upper)
        reached = probability > 0
        return torch.where(reached, torch.where(reached, probability, 1.0).log(), -math.inf)

    return log_tail


def positive_by_tail(tail: Tail) -> Value:
    def value(x: Tensor, scale: Scale) -> Tensor:
        positive = x > 0
        rest = tail(torch.where(positive, x, -x), scale, ~positive)
        return torch.where(positive, 1 - rest, rest)

    return value


def negative_by_tail(tail: Tail) -> Value:
    def value(x: Tensor, scale: Scale) -> Tensor:
        positive = x > 0
        rest = tail(torch.where(positive, x, -x), scale, ~positive)
        return torch.where(positive, rest, 1 - rest)

    return value


def slopes_by_density(density: Density, reach: float = 1e3) -> Slopes:
    """Those of P(x + noise > 0). `reach`: so many scales away the density is 0 in every type."""

    def slopes(x: Tensor, scale: Scale, factor: Tensor | float) -> tuple[Tensor, Tensor]:
        z = (x / scale).clamp(-reach, reach)
        in_x = factor * (density(-z) / scale)
        return in_x, -z * in_x

    return slopes


def negated(slopes: Slopes) -> Slopes:
    return lambda x, scale, factor: slopes(x, scale, -factor)


def gap_by_excess(tail: Tail, excess: Tail, *, mean: float, node: str) -> Expectation:
    """`excess`: E max(noise - distance, 0), or E max(-noise - distance, 0)."""

    def value(x: Tensor, scale: Scale) -> Tensor:
        positive = x > 0
        gap = excess(torch.where(positive, x, -x), scale, ~positive)
        return gap + positive.to(x.dtype) * (mean * scale) if mean else gap

    def slopes(x: Tensor, scale: Scale, factor: Tensor | float) -> tuple[Tensor, Tensor]:
        # P(noise > -x) - 1 if x > 0, and E noise where x + noise > 0.
        positive = x > 0
        z = (torch.where(positive, x, -x) / scale).clamp(max=1e3)
        rest = tail(z, 1.0, ~positive)
        in_scale = excess(z, 1.0, ~positive) + z * rest
        if mean:
            in_scale = in_scale + positive.to(x.dtype) * mean
        return factor * torch.where(positive, -rest, rest), factor * in_scale

    return Expectation(value, slopes, node)


def rise_by_quadrature(positive: Value) -> Interval:
    """The probabilities of lying above, averaged over the interval."""

    def rise(beyond: Tensor, width: Tensor, scale: Scale) -> Tensor:
        slope = torch.zeros_like(beyond)
        for node, weight in LEGENDRE:
            slope = slope + weight * positive(beyond + node * width, scale)
        return width * slope

    return rise


def between_by_tails(tail: Tail, density: Density, ratio: Ratio = ratio) -> Interval:
    """By differences of tails in wide intervals, by quadrature of the density in narrow ones."""

    def between(lo: Tensor, hi: Tensor, scale: Scale) -> Tensor:
        lo_above, lo_distance = split_at_zero(lo)
        hi_above, hi_distance = split_at_zero(hi)
        lo_tail = tail(lo_distance, scale, lo_above)
        hi_tail = tail(hi_distance, scale, hi_above)
        straddling = ~lo_above & hi_above
        wide = torch.where(
            straddling,
            1 - lo_tail - hi_tail,
            torch.where(lo_above, lo_tail - hi_tail, hi_tail - lo_tail),
        )
        narrow = is_narrow(hi - lo, scale)
        start, width = torch.where(narrow, lo, 0.0), torch.where(narrow, hi - lo, 0.0)
        mean_density = torch.zeros_like(wide)
        for node, weight in LEGENDRE:
            above, distance = split_at_zero(start + node * width)
            z = ratio(distance, scale)
            mean_density = mean_density + weight * density(torch.where(above, z, -z))
        return torch.where(narrow, width / scale * mean_density, wide)

    return between


def expectations_by_tails(
    law: str,
    *,
    density: Density,
    tail: Tail,
    log_tail: Tail,
    excess: Tail,
    mean: float,
    steps: Steps,
) -> Expectations:
    """All of a law that knows nothing better: `law` is its name, the functions as above."""
    slopes = slopes_by_density(density)
    positive = Expectation(positive_by_tail(tail), slopes, f"{law}.positive")
    return Expectations(
        tail=tail,
        log_tail=log_tail,
        positive=positive,
        negative=Expectation(negative_by_tail(tail), negated(slopes), f"{law}.negative"),
        gap=gap_by_excess(tail, excess, mean=mean, node=f"{law}.gap"),
        rise=rise_by_quadrature(positive),
        between=between_by_tails(tail, density),
        steps=steps,
    )
