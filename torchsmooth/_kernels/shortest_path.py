"""The ops that find shortest paths."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._checks import GridOptions
from .._typing import Jacobian
from . import reference
from .fused_op import Drawing, Estimator, empty_gradients, no_jacobians
from .interrupts import interruptible
from .library import ops, register_fake, register_twin


@register_fake("hard_shortest_path")
@register_fake("hard_shortest_path_graph")
@register_fake("shortest_path")
def _(weights: Tensor, *options: Any) -> Tensor:
    return torch.empty_like(weights)


@register_fake("shortest_path_backward")
def _(grad: Tensor, center: Tensor, x: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    return empty_gradients(x, scale_gradient=options[-1])


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

    def in_one_pass(self, x: Tensor, jacobian: Jacobian) -> bool:
        return False

    def mean(self, jacobian: Jacobian, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        options = *self.drawing, *self.grid
        mean: Tensor = interruptible(ops.shortest_path.default, *tensors, *options)
        return mean, *no_jacobians(mean)

    def gradients(
        self, needs_scale: bool, grad: Tensor, center: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        _, *weights = self.estimator
        options = *self.drawing, *self.grid, *weights
        gradients: tuple[Tensor, Tensor]
        gradients = interruptible(
            ops.shortest_path_backward.default, grad, center, *tensors, *options, needs_scale
        )
        return gradients

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        return hard_shortest_path(x, self.grid)


def hard_shortest_path(weights: Tensor, grid: GridOptions) -> Tensor:  # [R, H, W] -> [R, H, W]
    """The op `hard_shortest_path`."""
    indicators: Tensor
    indicators = interruptible(ops.hard_shortest_path.default, weights.detach(), *grid)
    return indicators


def hard_shortest_path_graph(
    weights: Tensor,  # [R, E]
    indptr: Tensor,  # [V + 1]
    indices: Tensor,  # [E]
    source: int,
    target: int,
    min_weight: float,
) -> Tensor:  # [R, E]
    """The op `hard_shortest_path_graph`."""
    graph = (indptr, indices, source, target, min_weight)
    indicators: Tensor
    indicators = interruptible(ops.hard_shortest_path_graph.default, weights.detach(), *graph)
    return indicators
