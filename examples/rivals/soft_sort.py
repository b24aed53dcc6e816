"""SoftSort: Prillo, Eisenschlos, ICML 2020 (arXiv 2006.16038)."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .rival import AbstractRelaxation


@final
@dataclass(frozen=True)
class SoftSort(AbstractRelaxation):
    """Row k is softmax(-|x_(k) - x| / tau), with x_(k) the k-th smallest of x.

    This is equation 4 of the paper with the distance d = |.|, in ascending order. Rows sum to 1 and
    have their maxima in the right places; columns do not sum to 1. `temperature` is tau.

    >>> SoftSort(temperature=1.0)(torch.tensor([[0.0, 1.0]]))
    tensor([[[0.7311, 0.2689],
             [0.2689, 0.7311]]])
    """

    temperature: float = 1.0

    def __call__(self, scores: Tensor) -> Tensor:
        distances = (scores.sort(-1).values.unsqueeze(-1) - scores.unsqueeze(-2)).abs()
        return torch.softmax(-distances / self.temperature, dim=-1)
