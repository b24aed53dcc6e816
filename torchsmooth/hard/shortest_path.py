"""Shortest paths on grids of cells that cost something to step on."""

import math
from collections.abc import Sequence

from torch import Tensor

from .. import _ops
from .._arguments import check_grid, check_grid_options, compute_dtype


def shortest_path(
    weights: Tensor,
    *,
    neighbors: int = 8,
    source: Sequence[int] = (0, 0),
    target: Sequence[int] = (-1, -1),
    min_weight: float = 1e-3,
) -> Tensor:
    """Returns the cells of the cheapest path through a grid, as a 0/1 indicator.

    The cost of a path is the sum of the weights of its cells, both ends included. The path is that
    of Dijkstra, "A note on two problems in connexion with graphs", 1959, for the clamped weights.

    **Arguments:**

    - `weights`: floating-point tensor of shape [..., H, W], what each cell costs.
    - `neighbors`: 8 for steps to all cells around, 4 for steps along rows and columns alone.
    - `source`, `target`: the (row, column) of both ends; negative ones count from the end.
    - `min_weight`: what a cell costs at least, >= 0; smaller weights, negative ones too, are raised
        to it.

    **Returns:** a tensor of the shape and the dtype of `weights`: 1 on the path, else 0. Going back
    from the target, each cell is entered from the neighbor that is cheapest to reach; between
    equals the first in row-major order is taken. Costs are added in the type of `weights` (half
    types: in float32), from the source on and without the source's own, and each step raises them
    at least to the next number; weights are clamped above at 1 / (4 H W) of the largest number. So
    a path is always connected and simple, and optimal to rounding. A grid with a NaN or an infinity
    is NaN. It carries no gradient.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.shortest_path(torch.tensor([[1.0, 9.0, 9.0], [1.0, 9.0, 1.0], [9.0, 1.0, 1.0]]))
    tensor([[1., 0., 0.],
            [1., 0., 0.],
            [0., 1., 1.]])
    """
    height, width = check_grid(weights)
    grid = check_grid_options((height, width), neighbors, source, target, min_weight)
    grids = weights.detach().reshape(math.prod(weights.shape[:-2]), height, width)
    path = _ops.hard_shortest_path(grids.to(compute_dtype(weights.dtype)).contiguous(), grid)
    return path.reshape(weights.shape).to(weights.dtype)
