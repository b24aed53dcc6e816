"""Checks of arguments, and their canonical shapes: batch and event flattened to rows [B, n]."""

import math
import numbers
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor

from .distributions import AbstractDistribution


def check_floating(x: object, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor, got {type(x).__name__}; convert it with "
            f"torch.as_tensor({name})"
        )
    if not x.is_floating_point():
        remedy = f"pass {name}.real" if x.is_complex() else f"convert it with {name}.float()"
        raise TypeError(f"{name} must be a floating-point tensor, got {x.dtype}; {remedy}")
    return x


def check_distribution(distribution: object) -> AbstractDistribution:
    if isinstance(distribution, type) and issubclass(distribution, AbstractDistribution):
        name = distribution.__name__
        raise TypeError(
            f"distribution must be a distribution of torchsmooth, got the class {name}; call it: "
            f"ts.{name}(scale=0.3)"
        )
    if not isinstance(distribution, AbstractDistribution):
        raise TypeError(
            "distribution must be a distribution of torchsmooth, such as ts.Logistic(scale=0.3), "
            f"got {type(distribution).__name__}; wrap a law of torch.distributions as "
            "ts.FromTorch(law)"
        )
    return distribution


def is_int(value: object) -> TypeGuard[numbers.Integral]:
    """Also of NumPy; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_int(value: object, name: str, lowest: int, example: int) -> int:
    if not is_int(value):
        raise TypeError(f"{name} must be an int, got {value!r}; pass for example {example}")
    if value < lowest:
        raise ValueError(
            f"{name} must be at least {lowest}, got {value}; pass for example {example}"
        )
    return int(value)


def check_bool(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}; pass one of the two")
    return value


def check_event_dim(x: Tensor, event_dim: int, name: str) -> None:
    if x.ndim < event_dim:
        raise ValueError(
            f"{name} must have at least event_dim={event_dim} dimensions, got shape "
            f"{list(x.shape)}; add dimensions, or pass a smaller event_dim"
        )


def check_dim(dim: object, x: Tensor) -> int:
    """The dimension as a non-negative index."""
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"dim must be an int, got {dim!r}; pass for example -1")
    if x.ndim == 0:
        raise ValueError("x must have at least one dimension, got a scalar; use x.reshape(1)")
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(
            f"dim must be in [{-x.ndim}, {x.ndim - 1}] for x of {x.ndim} dimensions, got {dim}; "
            "pass for example -1"
        )
    return dim % x.ndim


def check_nonempty(x: Tensor, name: str) -> int:
    """The size of the last dimension, of which `name` must have at least one element."""
    if x.shape[-1] == 0:
        raise ValueError(
            f"x must have at least one element along dim for {name}, got none; leave the call out "
            "where there is nothing to sort"
        )
    return x.shape[-1]


def check_count(k: object, n: int) -> int:
    k = check_int(k, "k", 0, 1)
    if k > n:
        raise ValueError(f"k must be at most the number of elements, {n}, got {k}; pass k={n}")
    return k


def check_quantile(q: object) -> float | Tensor:
    remedy = "pass a number in [0, 1], such as 0.5, or a 1-D tensor of them"
    if isinstance(q, Tensor):
        if not q.is_floating_point() or q.ndim > 1:
            raise ValueError(
                f"q must be a number or a 1-D floating-point tensor, got {q.dtype} of shape "
                f"{list(q.shape)}; {remedy}"
            )
        # Reading values would wait for a device, or break a graph.
        readable = q.device.type == "cpu" and not torch.compiler.is_compiling()
        if readable and not bool(((q >= 0) & (q <= 1)).all()):
            raise ValueError(f"q must be in [0, 1], got {q.tolist()}; {remedy}")
        return q
    if isinstance(q, bool) or not isinstance(q, numbers.Real):
        raise TypeError(f"q must be a number or a tensor, got {q!r}; {remedy}")
    number = float(q)
    if not 0 <= number <= 1:
        raise ValueError(f"q must be in [0, 1], got {q}; {remedy}")
    return number


class GridOptions(NamedTuple):
    """The options of a path through a grid, in the order of the ops' schemas.

    `source` and `target` count the cells in row-major order.
    """

    neighbors: int
    source: int
    target: int
    min_weight: float


def check_grid(weights: object) -> tuple[int, int]:
    """The height and the width of grids of weights."""
    grids = check_floating(weights, "weights")
    if grids.ndim < 2:
        raise ValueError(
            f"weights must have at least two dimensions, [..., H, W], got {list(grids.shape)}; "
            "reshape them to a grid"
        )
    return grids.shape[-2], grids.shape[-1]


def check_grid_options(
    size: tuple[int, int],
    neighbors: object,
    source: object,
    target: object,
    min_weight: object,
) -> GridOptions:
    if not is_int(neighbors) or neighbors not in (4, 8):
        raise ValueError(
            f"neighbors must be 4 or 8, got {neighbors!r}; pass 8 for steps along diagonals too"
        )
    start = _check_cell(source, "source", size)
    end = _check_cell(target, "target", size)
    return GridOptions(8 if neighbors == 8 else 4, start, end, check_min_weight(min_weight))


def check_min_weight(min_weight: object) -> float:
    remedy = "pass for example 1e-3"
    if isinstance(min_weight, bool) or not isinstance(min_weight, numbers.Real):
        raise TypeError(f"min_weight must be a number, got {min_weight!r}; {remedy}")
    lowest = float(min_weight)
    if not 0 <= lowest < math.inf:
        raise ValueError(f"min_weight must be finite and >= 0, got {min_weight}; {remedy}")
    return lowest


def _check_cell(cell: object, name: str, size: tuple[int, int]) -> int:
    """The cell's place in row-major order; of an empty grid, 0."""
    remedy = "pass for example (0, 0), or (-1, -1) for the last cell"
    pair = tuple(cell) if isinstance(cell, (tuple, list)) else ()
    if len(pair) != 2 or not all(is_int(index) for index in pair):
        raise TypeError(f"{name} must be a (row, column) of two ints, got {cell!r}; {remedy}")
    (row, column), (height, width) = map(int, pair), size
    if height * width == 0:
        return 0
    if not (-height <= row < height and -width <= column < width):
        raise ValueError(
            f"{name} must be a cell of the grid of {height} x {width} cells, got {cell!r}; {remedy}"
        )
    return row % height * width + column % width


def check_graph(
    edge_weights: object, indptr: object, indices: object
) -> tuple[Tensor, Tensor, Tensor]:
    """The edges' weights, and the graph in compressed sparse rows, as int64 on their device."""
    weights = check_floating(edge_weights, "edge_weights")
    if weights.ndim == 0:
        raise ValueError(
            "edge_weights must have at least one dimension, [..., E], got a scalar; use "
            "edge_weights.reshape(1)"
        )
    edges = weights.shape[-1]
    rows, columns = (
        _check_index(t, name, weights.device)
        for t, name in ((indptr, "indptr"), (indices, "indices"))
    )
    if rows.shape[0] < 2:
        raise ValueError(
            f"indptr must have V + 1 entries for a graph of V >= 1 nodes, got {rows.shape[0]}; "
            "pass the indptr of a scipy.sparse.csr_array"
        )
    if columns.shape[0] != edges:
        raise ValueError(
            f"indices must have one entry per edge, {edges} as edge_weights, got "
            f"{columns.shape[0]}; pass the indices of the same scipy.sparse.csr_array"
        )
    # Reading values would wait for a device, or break a graph.
    if weights.device.type == "cpu" and not torch.compiler.is_compiling():
        nodes = rows.shape[0] - 1
        falls = (rows.diff() < 0).nonzero().flatten().tolist()
        if rows[0] != 0 or rows[-1] != edges or falls:
            where = f" falling behind entry {falls[0]}" if falls else ""
            raise ValueError(
                f"indptr must rise from 0 to the number of edges, {edges}, got {rows[0]} to "
                f"{rows[-1]}{where}; pass the indptr of a scipy.sparse.csr_array"
            )
        if edges and not bool(((columns >= 0) & (columns < nodes)).all()):
            raise ValueError(
                f"indices must be nodes, in [0, {nodes - 1}], got {columns.min().item()} to "
                f"{columns.max().item()}; pass the indices of a scipy.sparse.csr_array"
            )
    return weights, rows, columns


def _check_index(t: object, name: str, device: torch.device) -> Tensor:
    if not isinstance(t, Tensor) or t.dtype not in (torch.int32, torch.int64) or t.ndim != 1:
        came = f"{t.dtype} of shape {list(t.shape)}" if isinstance(t, Tensor) else type(t).__name__
        raise TypeError(
            f"{name} must be a 1-D tensor of int64 or int32, got {came}; convert it with "
            f"torch.as_tensor({name})"
        )
    if t.device != device:
        raise ValueError(
            f"{name} must be on the device of edge_weights, {device}, got {t.device}; move it with "
            f"{name}.to(edge_weights.device)"
        )
    return t.to(torch.int64).contiguous()


def check_node(node: object, name: str, nodes: int) -> int:
    if not is_int(node):
        raise TypeError(f"{name} must be an int, got {node!r}; pass for example 0")
    node = int(node)
    if not -nodes <= node < nodes:
        raise ValueError(
            f"{name} must be a node, in [{-nodes}, {nodes - 1}], got {node}; pass for example 0"
        )
    return node % nodes


def scale_rows(
    distribution: AbstractDistribution,
    batch: Sequence[int],
    event: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The scale as the ops take it: [1 or B, 1 or n], or a scale matrix [1 or B, n, n]."""
    n, elements = math.prod(event), math.prod(batch)
    if distribution.scale_matrix is not None:
        matrix = _like(distribution.scale_matrix, "scale_matrix", dtype, device)
        if tuple(matrix.shape[-2:]) != (n, n):
            raise ValueError(
                f"scale_matrix must have shape [..., {n}, {n}] for an event of {n} elements, got "
                f"{list(matrix.shape)}; pass another matrix, or flatten the event by event_dim"
            )
        if matrix.ndim == 2:
            return matrix.reshape(1, n, n).contiguous()
        matrix = _expand(matrix, (*batch, n, n), "scale_matrix", "batch x [n, n]")
        return matrix.reshape(elements, n, n).contiguous()
    if not isinstance(distribution.scale, Tensor):
        assert distribution.scale is not None  # exactly one of the two is given
        return torch.full((1, 1), distribution.scale, dtype=dtype, device=device)
    scale = _like(distribution.scale, "scale", dtype, device)
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    if scale.ndim <= len(event):
        return _expand(scale, tuple(event), "scale", "the event").reshape(1, n).contiguous()
    scale = _expand(scale, (*batch, *event), "scale", "batch x event")
    return scale.reshape(elements, n).contiguous()


def _like(t: Tensor, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    if t.device != device and t.ndim > 0:
        raise ValueError(
            f"{name} must be on the device of x, {device}, got {t.device}; move it with "
            f"{name}.to(x.device)"
        )
    return t.to(device=device, dtype=dtype)


def _expand(t: Tensor, shape: tuple[int, ...], name: str, what: str) -> Tensor:
    try:
        return t.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"{name} must broadcast against {what}, {list(shape)}, got shape {list(t.shape)}; "
            "reshape it, with a 1 for every dimension that shares it"
        ) from None
