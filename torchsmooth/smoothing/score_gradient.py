"""From products with the scores to gradients in x and in the scale."""

from typing import Any

import torch
from torch import Tensor

from .. import _ops
from ..statistics import AbstractStatistic
from .noise import Noise


def _finish(scores: Tensor, moments: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """From sums at scale 1 to gradients in x and in the scale of each element.

    `scores` is [B, n]; `moments` is [B, n], or [B, n * n] for a scale matrix, or has no columns.
    The gradients are L^-T scores and L^-T moments (arXiv 2410.08125, equations 12 and 13, with
    L^-T in both).
    """
    if scale.ndim == 2:
        return scores / scale, moments / scale if moments.shape[-1] else moments
    # solve_ex, because solve waits for the device to tell whether the matrix is singular.
    solve = torch.linalg.solve_ex
    grad_x = solve(scale.mT, scores.unsqueeze(-1)).result.squeeze(-1)
    if not moments.shape[-1]:
        return grad_x, moments
    return grad_x, solve(scale.mT, moments.reshape(-1, *scale.shape[-2:])).result


class ScoreGradient(_ops.NoVmap):
    """The identity in `value`, with the score's gradient in `x` and `scale` beside it.

    `first` and `second` are either the accumulated Jacobians at scale 1 ([B, R, n] and [B, R, k]),
    or all of f's outputs and what their statistic lies above the baseline ([B, s, M] and [B, R]).
    """

    @staticmethod
    def forward(
        value: Tensor,  # [B, R]
        x: Tensor,  # [B, n]
        scale: Tensor,
        first: Tensor,
        second: Tensor,
        noise: Noise,
        # factor, pair_weight, moment, and the statistic of the outputs if they were kept
        options: tuple[float, float, str, AbstractStatistic | None],
    ) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, x, scale, first, second, noise, ctx.options = inputs
        ctx.noise = noise._replace(seed=None, directions=None)
        # x only says that the gradient depends on it.
        ctx.save_for_backward(scale, first, second, noise.seed, noise.directions, x)

    @staticmethod
    @_ops.first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scale, first, second, seed, directions, _ = ctx.saved_tensors
        factor, pair_weight, moment, statistic = ctx.options
        _, needs_x, needs_scale, *_ = ctx.needs_input_grad
        if not needs_x and not needs_scale:  # only f's own parameters and arguments do
            return grad, None, None, None, None, None, None
        if statistic is not None:
            noise = ctx.noise._replace(seed=seed, directions=directions)
            upstream = grad.to(first.dtype)
            # One number per sample: what the upstream gradient makes of its outputs.
            weights = statistic.weigh(first, upstream)
            weights = weights + statistic.k * (second * upstream).sum(-1, keepdim=True)
            scores, moments = noise.reduce(
                weights.reshape(-1, 1),
                weights.new_zeros(weights.shape[0], 1),
                pair_weight,
                moment,
                0,
                weights.numel(),
            )
            scores, moments = factor * scores[:, 0], factor * moments[:, 0]
        else:
            scores = torch.einsum("bm,bmn->bn", grad.to(first.dtype), first)
            moments = torch.einsum("bm,bmk->bk", grad.to(second.dtype), second)
        grad_x, scales = _finish(scores.to(scale.dtype), moments.to(scale.dtype), scale)
        grad_scale = scales.sum_to_size(scale.shape) if needs_scale else None
        return grad, grad_x, grad_scale, None, None, None, None
