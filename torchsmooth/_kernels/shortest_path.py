"""The ops that find shortest paths."""

from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import GridOptions
from . import reference
from .fused_op import Drawing, Estimator, no_jacobians
from .interrupts import interruptible
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
    register_twin(_name, getattr(reference, _name))


class PathOp(NamedTuple):
    """The op `shortest_path`."""

    drawing: Drawing
    grid: GridOptions
    estimator: Estimator

    def in_one_pass(self, x: Tensor, jacobian: str) -> bool:
        return False

    def mean(
        self,
        jacobian: str,
        x: Tensor,  # [B, H, W]
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        *extras: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = interruptible(
            ops.shortest_path.default,
            x,
            scale,
            seed,
            directions,
            *self.drawing,
            *self.grid,
        )
        return mean, *no_jacobians(mean)

    def gradients(
        self,
        needs_scale: bool,
        grad: Tensor,
        center: Tensor,
        x: Tensor,
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        *extras: Tensor,
    ) -> tuple[Tensor, Tensor]:
        return interruptible(
            ops.shortest_path_backward.default,
            grad,
            center,
            x,
            scale,
            seed,
            directions,
            *self.drawing,
            *self.grid,
            self.estimator.factor,
            self.estimator.pair_weight,
            needs_scale,
        )

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        return hard_shortest_path(x, self.grid)


def hard_shortest_path(weights: Tensor, grid: GridOptions) -> Tensor:  # [R, H, W] -> [R, H, W]
    """The op `hard_shortest_path`."""
    return interruptible(ops.hard_shortest_path.default, weights.detach(), *grid)


def hard_shortest_path_graph(
    weights: Tensor,  # [R, E]
    indptr: Tensor,  # [V + 1]
    indices: Tensor,  # [E]
    source: int,
    target: int,
    min_weight: float,
) -> Tensor:  # [R, E]
    """The op `hard_shortest_path_graph`."""
    return interruptible(
        ops.hard_shortest_path_graph.default,
        weights.detach(),
        indptr,
        indices,
        source,
        target,
        min_weight,
    )
