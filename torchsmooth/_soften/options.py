"""The options of a block of `soften`."""

from dataclasses import dataclass

from torch import Tensor

from ..distributions import AbstractDistribution


@dataclass(frozen=True)
class Options:
    distribution: AbstractDistribution
    operators: frozenset[str]
    tolerance: float | Tensor | None
