"""Shortest paths: on grids, whose cells have costs, and on graphs, whose edges have costs."""

import math
from collections.abc import Sequence

from torch import Tensor

from .._checks import check_graph, check_grid, check_grid_options, check_min_weight, check_node
from .._dtypes import compute_dtype
from .._kernels.shortest_path import hard_shortest_path, hard_shortest_path_graph
from .._torch_internals import values_are_readable


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
    of Dijkstra's algorithm for the clamped weights.

    **Arguments:**

    - `weights`: floating-point tensor of shape [..., H, W], the cost of each cell.
    - `neighbors`: 8 for steps to all surrounding cells, 4 for steps along rows and columns only.
    - `source`, `target`: the (row, column) of both ends; negative ones count from the end.
    - `min_weight`: the least cost of a cell, >= 0; smaller weights, negative ones too, are raised
        to it.

    **Returns:** a tensor of the shape and the dtype of `weights`: 1 on the path, else 0. A grid
    with a NaN or an infinity is NaN. The result carries no gradient.

    Backwards from the target, each cell is entered from the neighbor that is cheapest to reach; of
    equal ones the first in row-major order is taken. Costs are added in the type of `weights` (half
    types: in float32), beginning at the source and without the source's own cost, and each step
    raises them at least to the next number. Weights are clamped above at 1 / (4 H W) of the largest
    number. A path is therefore always connected and simple, and optimal to rounding.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Dijkstra, "A note on two problems in connexion with graphs", 1959.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.shortest_path(torch.tensor([[1.0, 9.0, 9.0], [1.0, 9.0, 1.0], [9.0, 1.0, 1.0]]))
    tensor([[1., 0., 0.],
            [1., 0., 0.],
            [0., 1., 1.]])
    """
    height, width = check_grid(weights)
    grid = check_grid_options((height, width), neighbors, source, target, min_weight)
    grids = weights.detach().reshape(math.prod(weights.shape[:-2]), height, width)
    path = hard_shortest_path(grids.to(compute_dtype(weights.dtype)).contiguous(), grid)
    return path.reshape(weights.shape).to(weights.dtype)


def shortest_path_graph(
    edge_weights: Tensor,
    indptr: Tensor,
    indices: Tensor,
    *,
    source: int = 0,
    target: int = -1,
    min_weight: float = 1e-3,
) -> Tensor:
    """Returns the edges of the cheapest path through a directed graph, as a 0/1 indicator.

    The graph has compressed sparse rows, as `scipy.sparse.csr_array`; an undirected edge is two
    directed ones. The path is that of Dijkstra's algorithm for the clamped weights.

    **Arguments:**

    - `edge_weights`: floating-point tensor of shape [..., E], the cost of each edge.
    - `indptr`: integers of shape [V + 1]: the edges that leave node u are those from `indptr[u]` to
        `indptr[u + 1]`, the latter excluded.
    - `indices`: integers of shape [E]: the node at which each edge ends.
    - `source`, `target`: the nodes at both ends; negative ones count from the end.
    - `min_weight`: the least cost of an edge, >= 0; smaller weights, negative ones too, are raised
        to it.

    **Returns:** a tensor of the shape and the dtype of `edge_weights`: 1 on the path, else 0.
    Backwards from the target, each node is entered by the edge over which it is cheapest to reach;
    of equal ones the first is taken. Costs are added as by `shortest_path`. A row with a NaN or an
    infinity is NaN. The result carries no gradient.

    **Raises:** TypeError or ValueError if an argument differs from this description. Also
    ValueError if no path leads to the target. Values are checked on the CPU in eager mode only;
    elsewhere the result of wrong indices is undefined, and the indicator of a path that does not
    exist is NaN.

    **Source:** Dijkstra, "A note on two problems in connexion with graphs", 1959.

    >>> import torch, torchsmooth as ts
    >>> indptr = torch.tensor([0, 2, 3, 3])  # 0 -> 1, 0 -> 2, 1 -> 2
    >>> indices = torch.tensor([1, 2, 2])
    >>> ts.hard.shortest_path_graph(torch.tensor([1.0, 5.0, 1.0]), indptr, indices)
    tensor([1., 0., 1.])
    """
    weights, rows, columns = check_graph(edge_weights, indptr, indices)
    nodes = rows.shape[0] - 1
    start, end = check_node(source, "source", nodes), check_node(target, "target", nodes)
    lowest = check_min_weight(min_weight)
    flat = weights.detach().reshape(math.prod(weights.shape[:-1]), weights.shape[-1])
    flat = flat.to(compute_dtype(weights.dtype)).contiguous()
    path = hard_shortest_path_graph(flat, rows, columns, start, end, lowest)
    if values_are_readable(path):
        lost = path.isnan().any(-1) & flat.isfinite().all(-1)
        if bool(lost.any()) or (start != end and not columns.numel()):
            raise ValueError(
                f"target must be reachable from source, got {target} and {source}, between which "
                "the graph has no path; pass other nodes, or a graph that connects them"
            )
    return path.reshape(weights.shape).to(weights.dtype)
