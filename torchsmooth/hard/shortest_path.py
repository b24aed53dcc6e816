"""Shortest paths on grids of cells that cost something to step on."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._arguments import check_cell, check_grid, check_min_weight, check_neighbors, compute_dtype


# Row-major, which is the order that decides between equals.
_STEPS = {
    4: ((-1, 0), (0, -1), (0, 1), (1, 0)),
    8: ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)),
}


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
    - `min_weight`: what a cell costs at least; smaller weights, negative ones too, are raised to it.

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
    check_neighbors(neighbors)
    start = check_cell(source, "source", height, width)
    end = check_cell(target, "target", height, width)
    lowest = check_min_weight(min_weight)
    grids = weights.detach().reshape(math.prod(weights.shape[:-2]), height, width)
    grids = grids.to(compute_dtype(weights.dtype))
    bad = ~grids.isfinite().flatten(1).all(1).reshape(-1, 1, 1)
    path = solve_paths(torch.where(bad, 1, grids), neighbors, start, end, lowest)
    return torch.where(bad, torch.nan, path).reshape(weights.shape).to(weights.dtype)


def solve_paths(
    weights: Tensor,  # [R, H, W], finite
    neighbors: int,
    source: tuple[int, int],
    target: tuple[int, int],
    min_weight: float,
) -> Tensor:  # [R, H, W]
    """The indicators of the cheapest paths, by relaxation of all cells at once (Bellman, 1958)."""
    rows, height, width = weights.shape
    path = torch.zeros_like(weights)
    if weights.numel() == 0:
        return path
    info = torch.finfo(weights.dtype)
    weights = weights.clamp(min_weight, info.max / (4 * height * width))
    # With a border that no path crosses. The source costs the smallest number that is not denormal.
    cost = weights.new_full((rows, height + 2, width + 2), torch.inf)
    inner = cost[:, 1:-1, 1:-1]
    steps = _STEPS[neighbors]
    while True:
        before = inner.clone()
        around = [cost[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width] for i, j in steps]
        cheapest = torch.stack(around).amin(0)
        higher = torch.nextafter(cheapest, cheapest.new_full((), torch.inf))
        inner.copy_(torch.maximum(cheapest + weights, higher))
        inner[:, source[0], source[1]] = info.tiny
        if torch.equal(inner, before):
            break
    # Costs fall with every step back, so that no cell is met twice.
    flat, stride = cost.flatten(1), width + 2
    offsets = torch.tensor([i * stride + j for i, j in steps], device=weights.device)
    at = torch.full((rows, 1), (target[0] + 1) * stride + target[1] + 1, device=weights.device)
    goal = (source[0] + 1) * stride + source[1] + 1
    visited = torch.zeros_like(flat)
    visited.scatter_(1, at, 1)
    while not bool((at == goal).all()):
        candidates = at + offsets
        cheapest = flat.gather(1, candidates).argmin(1, keepdim=True)  # the first of equal ones
        at = torch.where(at == goal, at, candidates.gather(1, cheapest))
        visited.scatter_(1, at, 1)
    return path.copy_(visited.reshape(cost.shape)[:, 1:-1, 1:-1])
