"""A perturbed optimizer: Berthet et al., NeurIPS 2020 (arXiv 2002.08676), in eager PyTorch."""

from dataclasses import dataclass
from typing import Any, final

import torch
from common.permutation_loss import permutation_loss
from torch import Tensor

import torchsmooth as ts

from .rival import AbstractRelaxation


@final
@dataclass(frozen=True)
class PerturbedSort(AbstractRelaxation):
    """The mean of the permutation matrices of x + sigma Z, with Z standard normal.

    The Jacobian is that of proposition 3.1 in the paper, E[P(x + sigma Z) Z^T] / sigma, from the
    same independent draws as the mean and without a baseline. It is what smoothed sorting does for
    Gaussian noise, plain sampling and no covariate, with all samples in memory. The draws come from
    torch's generator. `temperature` is sigma, the standard deviation of the noise.
    """

    temperature: float = 1 / 3
    num_samples: int = 1024

    def __call__(self, scores: Tensor) -> Tensor:
        result: Tensor = _PerturbedSort.apply(scores, self.temperature, self.num_samples)  # type: ignore[no-untyped-call]
        return result

    def loss(self, scores: Tensor, truth: Tensor) -> Tensor:
        return permutation_loss(self(scores), truth, self.num_samples)


class _PerturbedSort(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # torch's own stub knows neither saved tensors nor attributes
        scores: Tensor,  # [b, n]
        sigma: float,
        num_samples: int,
    ) -> Tensor:  # [b, n, n]
        noise = torch.randn(num_samples, *scores.shape, dtype=scores.dtype, device=scores.device)
        matrices = ts.hard.argsort(scores + sigma * noise)  # [s, b, n, n]
        ctx.save_for_backward(noise, matrices)
        ctx.sigma = sigma
        return matrices.mean(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        noise, matrices = ctx.saved_tensors
        values = (matrices * grad).sum((-2, -1))  # [s, b]
        return (values.unsqueeze(-1) * noise).mean(0) / ctx.sigma, None, None
