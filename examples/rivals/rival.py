"""The interface of all other relaxations of sorting: a temperature, and a loss of scores."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from common.permutation_loss import permutation_loss
from torch import Tensor


# A relaxed matrix is known to the resolution of float32, as if 2^23 samples had been counted.
_RESOLUTION = 2**23


@dataclass(frozen=True)
class AbstractRival(ABC):
    """A published way to learn scores from their order only.

    - `temperature`: how soft; in the limit 0 the result is that of sorting. Each rival says what
      its authors call it. Scores of another magnitude need another temperature.
    """

    temperature: float

    @abstractmethod
    def loss(
        self,
        scores: Tensor,  # [b, n]
        truth: Tensor,  # [b, n, n], as `ts.hard.argsort` of the true values
    ) -> Tensor:  # []
        """The loss that training minimises."""


@dataclass(frozen=True)
class AbstractRelaxation(AbstractRival):
    """A rival that puts a differentiable matrix in the place of the permutation matrix."""

    @abstractmethod
    def __call__(
        self,
        scores: Tensor,  # [b, n]
    ) -> Tensor:  # [b, n, n]
        """[k, i]: to what degree element i is the k-th smallest. Every row sums to 1."""

    def loss(self, scores: Tensor, truth: Tensor) -> Tensor:
        """The cross entropy that smoothed sorting is trained with too."""
        return permutation_loss(self(scores), truth, _RESOLUTION)
