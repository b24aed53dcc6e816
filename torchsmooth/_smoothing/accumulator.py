"""The numbers that are kept of f's outputs between the passes."""

import abc

from torch import Tensor

from .process_group import Ranks


class AbstractAccumulator(abc.ABC):
    """Takes f's outputs chunk by chunk, for the value and for its derivatives.

    **Subclassing.** Subclasses are final and implement everything here.
    """

    @abc.abstractmethod
    def add(self, chunk: Tensor, start: int, stop: int) -> "AbstractAccumulator":
        """Takes f's outputs [stop - start, M] of these rows.

        Returns the accumulator that is to have the rest: itself, but for the first chunk, whose
        outputs may need another one.
        """

    @abc.abstractmethod
    def value(self, ranks: Ranks | None) -> Tensor:  # [B, R]
        """The statistic. To be called once, after the last chunk."""

    @abc.abstractmethod
    def saved(
        self, value: Tensor, baseline: Tensor, factor: float, ranks: Ranks | None
    ) -> tuple[Tensor, ...]:
        """The rule for derivatives, of samples compared with the baseline [B, R]."""
