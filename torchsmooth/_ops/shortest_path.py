"""The ops that find shortest paths."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import _reference
from .._arguments import GridOptions
from .autograd import NoVmap, below_autograd, first_order
from .library import ops, register_twin


@torch.library.register_fake("torchsmooth::hard_shortest_path")
def _(weights, neighbors, source, target, min_weight):
    return torch.empty_like(weights)


@torch.library.register_fake("torchsmooth::shortest_path")
def _(
    x,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    neighbors,
    source,
    target,
    min_weight,
):
    return torch.empty_like(x)


@torch.library.register_fake("torchsmooth::shortest_path_backward")
def _(
    grad,
    baseline,
    x,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    neighbors,
    source,
    target,
    min_weight,
    factor,
    pair_weight,
    scale_gradient,
):
    elements, height, width = x.shape
    return torch.empty_like(x), x.new_empty((elements, height * width if scale_gradient else 0))


@torch.library.register_fake("torchsmooth::hard_shortest_path_graph")
def _(weights, indptr, indices, source, target, min_weight):
    return torch.empty_like(weights)


for _name in (
    "hard_shortest_path",
    "shortest_path",
    "shortest_path_backward",
    "hard_shortest_path_graph",
):
    register_twin(_name, getattr(_reference, _name))


class PathOptions(NamedTuple):
    """The arguments of the ops that are not tensors, and how gradients are estimated."""

    law: str
    sampler: str
    antithetic: bool
    num_samples: int
    grid: GridOptions
    baseline: str
    factor: float
    pair_weight: float

    def of_noise(self) -> tuple[str, str, bool, int]:
        return self.law, self.sampler, self.antithetic, self.num_samples


class _ShortestPath(NoVmap):
    """The mean indicator of the paths through grids, with gradients in `x` and `scale`."""

    @staticmethod
    def forward(
        x: Tensor,  # [B, H, W]
        scale: Tensor,  # [1 or B, 1 or H * W]
        seed: Tensor,
        directions: Tensor,
        options: PathOptions,
    ) -> Tensor:
        return below_autograd(
            ops.shortest_path.default,
            x,
            scale,
            seed,
            directions,
            *options.of_noise(),
            *options.grid,
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, scale, seed, directions, ctx.options = inputs
        ctx.save_for_backward(x, scale, seed, directions, output)

    @staticmethod
    @first_order
    def backward(ctx, grad):
        x, scale, seed, directions, mean = ctx.saved_tensors
        options = ctx.options
        grad = grad.contiguous()
        if options.baseline == "none":
            center = grad.new_zeros(grad.shape[0])
        else:
            mean = mean if options.baseline == "mean" else hard_shortest_path(x, options.grid)
            center = (grad * mean).flatten(1).sum(1)
        needs_scale = ctx.needs_input_grad[1]
        grad_x, grad_scale = below_autograd(
            ops.shortest_path_backward.default,
            grad,
            center,
            x,
            scale,
            seed,
            directions,
            *options.of_noise(),
            *options.grid,
            options.factor,
            options.pair_weight,
            needs_scale,
        )
        grad_scale = grad_scale.sum_to_size(scale.shape) if needs_scale else None
        return grad_x, grad_scale, None, None, None


def hard_shortest_path(weights: Tensor, grid: GridOptions) -> Tensor:  # [R, H, W] -> [R, H, W]
    """The op `hard_shortest_path`."""
    return below_autograd(ops.hard_shortest_path.default, weights.detach(), *grid)


def hard_shortest_path_graph(
    weights: Tensor,  # [R, E]
    indptr: Tensor,  # [V + 1]
    indices: Tensor,  # [E]
    source: int,
    target: int,
    min_weight: float,
) -> Tensor:  # [R, E]
    """The op `hard_shortest_path_graph`."""
    return below_autograd(
        ops.hard_shortest_path_graph.default,
        weights.detach(),
        indptr,
        indices,
        source,
        target,
        min_weight,
    )


def shortest_path(
    x: Tensor,  # [B, H, W]
    scale: Tensor,  # [1 or B, 1 or H * W]
    seed: Tensor,
    directions: Tensor,
    options: PathOptions,
) -> Tensor:  # [B, H, W]
    """The op `shortest_path` with its gradient."""
    return _ShortestPath.apply(x, scale, seed, directions, options)
