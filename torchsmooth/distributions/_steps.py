"""How many steps of a staircase noise climbs on average, for small scales and for large ones."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ._expectations import Steps, Tail


Sum: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]  # of (below, above, scale)
Characteristic: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""t > 0 to E cos(t noise) and E sin(t noise) at scale 1; None if the second is 0."""


def steps_by_sums(tail: Tail, *, crossover: float, near: Sum, far: Sum) -> Steps:
    """Both sums are the expected number of steps; `near` up to the scale `crossover`, then `far`.

    They agree to rounding where they meet.
    """

    def steps(below: Tensor, above: Tensor, scale: Tensor, missing: Tensor | None) -> Tensor:
        small = scale <= crossover
        few, many = (torch.where(w, scale, crossover) for w in (small, ~small))
        smooth = far(below, above, many)
        if missing is not None:
            lower = below < above
            lost = tail(torch.where(lower, below, above), many, ~lower)
            smooth = smooth + torch.where(missing, torch.where(lower, lost, -lost), 0.0)
            below = torch.where(missing & lower, below + 1, below)
            above = torch.where(missing & ~lower, above + 1, above)
        return torch.where(small, near(below, above, few), smooth)

    return steps


def sum_of_tails(tail: Tail, count: int) -> Sum:
    """The probability of reaching each of the nearest steps, at unit distances beyond both."""

    def near(below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        steps = torch.arange(count, dtype=below.dtype, device=below.device)
        climbed = above.unsqueeze(-1) + steps
        fallen = below.unsqueeze(-1) + steps
        scale = scale.unsqueeze(-1)
        upper = torch.ones_like(climbed, dtype=torch.bool)
        up = tail(climbed, scale, upper)
        return (up - tail(fallen, scale, ~upper)).sum(-1)

    return near


def fourier_series(characteristic: Characteristic, count: int, mean: float = 0.0) -> Sum:
    """That of the sawtooth by which floor(x) differs from x, to `count` terms."""

    def far(below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        k = torch.arange(1, count + 1, dtype=below.dtype, device=below.device)
        phase = (2 * math.pi * below).unsqueeze(-1) * k
        # Beyond 600 every coefficient is 0; their derivatives could overflow.
        cosine, sine = characteristic((2 * math.pi * scale.unsqueeze(-1) * k).clamp(max=600))
        waves = phase.sin() * cosine
        if sine is not None:
            waves = waves + phase.cos() * sine
        waves = (waves / (math.pi * k)).sum(-1)
        return (below - 0.5) + waves + (mean * scale if mean else 0.0)

    return far
