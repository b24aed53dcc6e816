"""The rivals in plain PyTorch: what one would write without this package.

All samples at once, and autograd by hand: the score's gradient with the leave-one-out baseline.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class EagerSmoothing(torch.autograd.Function):
    """E f(x + scale * noise) for logistic noise, with its gradient in x."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,  # [b, n]
        f: Callable[[Tensor], Tensor],  # [s, b, n] -> [s, b, *out]
        scale: float,
        num_samples: int,
    ) -> Tensor:
        u = torch.rand(num_samples, *x.shape)
        values = f(x + scale * torch.logit(u, 1e-7))
        mean = values.mean(0)
        ctx.save_for_backward(values, 2 * u - 1, mean)
        ctx.scale = scale
        return mean

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        values, score, mean = ctx.saved_tensors
        s, b = values.shape[:2]
        centred = ((values - mean) * grad).reshape(s, b, -1).sum(-1)
        return torch.einsum("sb,sbn->bn", centred, score) / ((s - 1) * ctx.scale), None, None, None


def permutation_matrices(y: Tensor) -> Tensor:
    order = y.argsort(-1)
    return torch.nn.functional.one_hot(order, y.shape[-1]).to(y.dtype)
