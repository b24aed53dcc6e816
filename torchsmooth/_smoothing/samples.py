"""The outputs of all samples, for what does not sum up, and for the mean of a few of them."""

from typing import final

import torch
from torch import Tensor

from ..statistics import AbstractStatistic
from .accumulator import AbstractAccumulator
from .outputs_rule import KeptOutputs
from .process_group import Ranks


@final
class Samples(AbstractAccumulator):
    """Keeps f's outputs; what the upstream gradient makes of them waits for the backward pass."""

    outputs: Tensor
    """[B, s, M], as soon as `value` has been called."""

    def __init__(self, statistic: AbstractStatistic, elements: int, num_samples: int):
        self.statistic = statistic
        self.elements = elements
        self.num_samples = num_samples
        self.chunks: list[Tensor] = []

    def add(self, chunk: Tensor, start: int, stop: int) -> "Samples":
        self.chunks.append(chunk.clone())  # it may be f's own buffer
        return self

    def value(self, ranks: Ranks | None) -> Tensor:  # [B, R]
        rows = self.chunks[0] if len(self.chunks) == 1 else torch.cat(self.chunks)
        self.chunks.clear()
        if ranks is not None:
            rows = ranks.gather(rows, self.elements * self.num_samples)
        self.outputs = rows.reshape(self.elements, self.num_samples, rows.shape[1])
        return self.statistic.value(self.outputs)

    def saved(
        self, value: Tensor, baseline: Tensor, factor: float, ranks: Ranks | None
    ) -> KeptOutputs:
        # NaN - NaN too, where an element's gradient is to be NaN.
        return KeptOutputs(self.outputs, value - baseline)
