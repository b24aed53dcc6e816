"""NeuralSort: Grover, Wang, Zweig, Ermon, ICLR 2019 (arXiv 1903.08850)."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .rival import AbstractRelaxation


@final
@dataclass(frozen=True)
class NeuralSort(AbstractRelaxation):
    """Row k is softmax(((2 k - n - 1) x - A) / tau) with A_i = sum_j |x_i - x_j|.

    This is equation 5 of the paper with its rows in reverse: there, the largest comes first. Rows
    sum to 1 and have their maxima in the right places; columns do not sum to 1. `temperature` is
    tau. For n = 2, the diagonal of P is sigmoid((x_2 - x_1) / tau).

    >>> NeuralSort(temperature=1.0)(torch.tensor([[0.0, 1.0]]))
    tensor([[[0.7311, 0.2689],
             [0.2689, 0.7311]]])
    """

    temperature: float = 1.0

    def __call__(self, scores: Tensor) -> Tensor:
        n = scores.shape[-1]
        distances = (scores.unsqueeze(-1) - scores.unsqueeze(-2)).abs().sum(-1)  # [b, n]
        weights = torch.arange(1 - n, n, 2, dtype=scores.dtype, device=scores.device)
        logits = weights.unsqueeze(-1) * scores.unsqueeze(-2) - distances.unsqueeze(-2)
        return torch.softmax(logits / self.temperature, dim=-1)
