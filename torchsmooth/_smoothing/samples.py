"""The outputs of all samples, for what does not sum up, and for the mean of a few of them."""

import torch
from torch import Tensor

from ..statistics import AbstractStatistic
from .process_group import Ranks


class Samples:
    """Keeps f's outputs; what the upstream gradient makes of them waits for the backward pass."""

    def __init__(self, statistic: AbstractStatistic, elements: int, num_samples: int):
        self.statistic = statistic
        self.elements = elements
        self.num_samples = num_samples
        self.chunks: list[Tensor] = []

    def add(self, chunk: Tensor, start: int, stop: int) -> None:
        """Takes f's outputs [rows, M] for the rows [start, stop)."""
        self.chunks.append(chunk)

    def value(self, ranks: Ranks | None) -> Tensor:  # [B, R]
        rows = torch.cat(self.chunks)
        self.chunks.clear()
        if ranks is not None:
            rows = ranks.gather(rows, self.elements * self.num_samples)
        self.samples = rows.reshape(self.elements, self.num_samples, rows.shape[1])
        return self.statistic.value(self.samples)

    def payload(
        self, value: Tensor, baseline: Tensor, factor: float, ranks: Ranks | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `ScoreRule` takes, of a statistic that is compared with the baseline [B, R]."""
        # NaN - NaN too, where an element's gradient is to be NaN.
        return self.samples, value - baseline, value.new_empty(value.shape[0], 0)
