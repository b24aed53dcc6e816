"""The competitor in plain PyTorch: what one would write without this package.

All samples at once, and autograd by hand: the score's gradient with the leave-one-out baseline.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class EagerSmoothing(torch.autograd.Function):
    """E f(x + scale * noise) for logistic noise, with its gradient in x, for any f."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,  # [b, n]
        f: Callable[[Tensor], Tensor],  # [s, b, n] -> [s, b, *out]
        scale: float,
        num_samples: int,
    ) -> Tensor:
        u, y = _perturbed(x, scale, num_samples)
        values = f(y)
        mean = values.mean(0)
        ctx.save_for_backward(values, u, mean)
        ctx.scale = scale
        return mean

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        values, u, mean = ctx.saved_tensors
        # Centring these products is centring the values, without another tensor of their size.
        products = (values * grad).flatten(2).sum(-1) - (mean * grad).flatten(1).sum(-1)
        return _times_score(products, u, ctx.scale), None, None, None


def permutation_matrices(y: Tensor) -> Tensor:  # [..., n] -> [..., n, n]
    # Faster than one_hot, whose result is int64.
    order = y.argsort(-1).unsqueeze(-1)
    return y.new_zeros(*y.shape, y.shape[-1]).scatter_(-1, order, 1.0)


def ranks(y: Tensor) -> Tensor:  # [..., n] -> [..., n], from 1
    places = torch.arange(1, y.shape[-1] + 1, dtype=y.dtype, device=y.device)
    return torch.empty_like(y).scatter_(-1, y.argsort(-1), places.expand_as(y))


class EagerArgSort(torch.autograd.Function):
    """The same as `EagerSmoothing` of `permutation_matrices`, without the matrices.

    What one would write who knows that f sorts: the mean counts indices, and the gradient gathers
    by them. It serves sorting alone.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,  # [b, n]
        scale: float,
        num_samples: int,
    ) -> Tensor:  # [b, n, n]
        b, n = x.shape
        u, y = _perturbed(x, scale, num_samples)
        rows = torch.arange(0, b * n * n, n, device=x.device).reshape(b, n)
        cells = rows + y.argsort(-1)  # of the matrices of all b elements in one list
        counts = torch.bincount(cells.flatten(), minlength=b * n * n)
        mean = counts.reshape(b, n, n).to(x.dtype) / num_samples
        ctx.save_for_backward(cells, u, mean)
        ctx.scale = scale
        return mean

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        cells, u, mean = ctx.saved_tensors
        products = grad.flatten()[cells].sum(-1) - (mean * grad).flatten(1).sum(-1)
        return _times_score(products, u, ctx.scale), None, None


def _perturbed(x: Tensor, scale: float, num_samples: int) -> tuple[Tensor, Tensor]:
    """Uniform numbers and perturbed copies [s, b, n] of x [b, n]."""
    u = torch.rand(num_samples, *x.shape, dtype=x.dtype, device=x.device)
    return u, torch.add(x, torch.logit(u, 1e-7), alpha=scale)


def _times_score(products: Tensor, u: Tensor, scale: float) -> Tensor:
    """The mean of products [s, b] with the scores 2 u - 1, with the leave-one-out factor."""
    return torch.einsum("sb,sbn->bn", products, 2 * u - 1) / ((len(u) - 1) * scale)
