"""Differentiable sorting networks: Petersen, Borgelt, Kuehne, Deussen.

ICML 2021 (arXiv 2105.04019) and ICLR 2022 (arXiv 2203.09630). The network and its relaxations are
those of the authors' package, diffsort.
"""

import functools
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from common.optional_package import optional_package
from torch import Tensor

from .rival import AbstractRelaxation


@final
@dataclass(frozen=True)
class SortingNetwork(AbstractRelaxation):
    """The odd-even network with relaxed swaps: a comparator's outputs are mixtures of its inputs.

    The smaller input comes first to the degree f(beta (b - a)). The `distribution` says which f:

    - logistic: sigmoid (ICML 2021);
    - cauchy: 1/2 + atan(.) / pi, monotonic (ICLR 2022);
    - optimal: monotonic with the least error, linear in the middle, 1 - 1 / (16 .) beyond 1/4
      (ICLR 2022).

    Rows and columns sum to 1. `temperature` is 1 / beta, beta being the steepness.

    >>> SortingNetwork(temperature=1.0)(torch.tensor([[0.0, 1.0]]))
    tensor([[[0.7500, 0.2500],
             [0.2500, 0.7500]]])
    """

    temperature: float = 1.0
    distribution: Literal["logistic", "cauchy", "optimal"] = "cauchy"

    def __call__(self, scores: Tensor) -> Tensor:
        diffsort = optional_package(
            "diffsort",
            name="diffsort",
            needed_by=f"--method diffsort-{self.distribution}",
            extra="benchmarks",
        )
        _, matrix = diffsort.sort(
            _odd_even_network(diffsort, scores.shape[-1], scores.device),
            scores,
            steepness=1 / self.temperature,
            distribution=self.distribution,
        )
        result: Tensor = matrix.mT  # theirs is [element, place]
        return result


@functools.cache
def _odd_even_network(diffsort: Any, n: int, device: torch.device) -> Any:
    return diffsort.get_sorting_network("odd_even", n, device)
