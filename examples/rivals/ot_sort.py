"""Sorting as optimal transport: Cuturi, Teboul, Vert, NeurIPS 2019 (arXiv 1905.11885)."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .rival import AbstractRelaxation


@final
@dataclass(frozen=True)
class OTSort(AbstractRelaxation):
    """n times the entropic transport plan from the scores to n points in increasing order.

    As in the paper, the scores are first squashed into [0, 1] (standardised over the n of them,
    then a logistic map), the points are a regular grid on [0, 1], the cost is the squared distance,
    and Sinkhorn's iterations, in log space, are differentiated as they are. Rows sum to 1, columns
    as nearly as the iterations have converged. `temperature` is epsilon, the weight of the entropy:
    it does not depend on the magnitude of the scores, which the standardisation removes.
    """

    temperature: float = 0.01
    iterations: int = 100

    def __call__(self, scores: Tensor) -> Tensor:
        n = scores.shape[-1]
        centred = scores - scores.mean(-1, keepdim=True)
        # The square root of a variance of 0 has no finite derivative.
        deviation = (
            centred.square().mean(-1, keepdim=True) + torch.finfo(scores.dtype).tiny
        ).sqrt()
        squashed = torch.sigmoid(centred / deviation)
        grid = torch.linspace(0, 1, n, dtype=scores.dtype, device=scores.device)
        log_kernel = -(grid.unsqueeze(-1) - squashed.unsqueeze(-2)).square() / self.temperature
        log_plan = log_kernel
        for _ in range(self.iterations):
            log_plan = log_plan - log_plan.logsumexp(-2, keepdim=True)
            log_plan = log_plan - log_plan.logsumexp(-1, keepdim=True)
        return log_plan.exp()
