"""Fast soft ranks: Blondel, Teboul, Berthet, Djolonga, ICML 2020 (arXiv 2002.08871).

The ranks and their gradient are those of the package torchsort.
"""

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from common.optional_package import optional_package
from torch import Tensor

from .rival import AbstractRival


@final
@dataclass(frozen=True)
class SoftRank(AbstractRival):
    """The ranks as a projection of x / epsilon onto the convex hull of all permutations of 1..n.

    There is no matrix: the loss is the mean squared error between soft and true ranks, as in the
    paper's experiments on label ranking. `temperature` is epsilon, the strength of the quadratic
    regularisation. Below some positive epsilon, the ranks are exact and the gradient is 0; for
    n = 2 that is epsilon <= |x_1 - x_2|.

    >>> SoftRank(temperature=2.0).ranks(torch.tensor([[0.0, 1.0]]))
    tensor([[1.2500, 1.7500]])
    """

    temperature: float = 1.0

    def ranks(
        self,
        scores: Tensor,  # [b, n]
    ) -> Tensor:  # [b, n], from 1 to n
        torchsort = optional_package(
            "torchsort", name="torchsort", needed_by="--method softrank", extra="benchmarks"
        )
        result: Tensor = torchsort.soft_rank(
            scores, regularization="l2", regularization_strength=self.temperature
        )
        return result

    def loss(self, scores: Tensor, truth: Tensor) -> Tensor:
        places = torch.arange(1, scores.shape[-1] + 1, dtype=truth.dtype, device=truth.device)
        return F.mse_loss(self.ranks(scores), places @ truth)
