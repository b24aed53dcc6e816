"""What a block of `soften` is told."""

from dataclasses import dataclass

from torch import Tensor

from ..distributions import AbstractDistribution


@dataclass(frozen=True)
class Options:
    distribution: AbstractDistribution
    operators: frozenset[str]
    tolerance: float | Tensor | None
