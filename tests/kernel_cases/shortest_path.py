"""Shortest paths on grids."""

import itertools
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .comparison import (
    DTYPES,
    LAWS,
    SAMPLERS,
    Case,
    Kernels,
    assert_close,
    assert_equal,
    assert_same_nan,
    inputs,
    noise,
    points,
    tolerance,
)


# Height, width, neighbours: grids for which warps take samples each, for which blocks do, and one
# that no shared memory holds.
GRIDS = [(1, 1, 8), (1, 6, 4), (3, 3, 8), (5, 4, 4), (12, 12, 8), (13, 11, 4), (40, 41, 8)]
HUGE_GRID = (190, 200, 8)


def grids(batch: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Weights like those of maps."""
    return (3 + inputs(batch, height * width, dtype)).reshape(batch, height, width)


def ends(height: int, width: int, neighbors: int) -> tuple[int, int, int, float]:
    """Neighbours, source, target and least weight."""
    n = height * width
    return neighbors, n // 5, n - 1, 0.5


def hard_paths(
    kind: str, dtype: torch.dtype, height: int, width: int, neighbors: int, kernels: Kernels
) -> None:
    """The same paths cell by cell: costs are the same bits, and ties have a rule."""
    weights = grids(9 if height < 100 else 2, height, width, dtype)
    where = ends(height, width, neighbors)
    if kind == "ties":
        weights = weights.round()
    elif kind == "wide":
        weights = 10 ** (weights - 3)
    elif kind in ("walls", "no way to go"):
        weights = torch.where(weights > 3, 1e6, 1e-3).to(dtype)
    if kind == "no way to go":
        where = (neighbors, 0, 0, 0.0)
    if kind == "smooth":
        weights[len(weights) // 2, 0, 0] = float("nan")
    [expected], [got] = kernels.both("hard_shortest_path", weights, *where)
    assert_equal(kind, expected, got)


def paths(
    law: str, sampler: str, antithetic: bool, s: int, x: Tensor, scale: Tensor,
    where: tuple[int, int, int, float], kernels: Kernels,
) -> None:  # fmt: skip
    """Means and gradients from the same samples.

    Where the CPU has no fused multiply-add its noise differs in the last digits, and in float32 a
    sample in which two paths cost nearly the same may take the other one.
    """
    n = x.shape[1] * x.shape[2]
    drawing = (x, scale, *noise(sampler, n), law, sampler, antithetic, s, *where)
    [expected], [got] = kernels.both("shortest_path", *drawing)
    assert_close("forward", expected, got, 3 / s if x.dtype == torch.float32 else 1e-12)
    same = torch.equal(expected.nan_to_num(), got.nan_to_num())
    grad = x.nan_to_num(posinf=0.0) - 3
    center = (grad * expected).nan_to_num().flatten(1).sum(1)
    for scale_gradient in (False, True):
        options = (1 / s, 0.01 if antithetic else 0.0, scale_gradient)
        pairs = kernels.both("shortest_path_backward", grad, center, *drawing, *options)
        assert_same_nan("backward", *pairs)
        for e, g in zip(*pairs, strict=True):
            if same:
                assert_close(f"backward, {scale_gradient=}", e, g, 50 * tolerance(x.dtype))


def bad_paths(height: int, width: int, dtype: torch.dtype, place: str, kernels: Kernels) -> None:
    """NaN, infinities, negative and huge weights."""
    n = height * width
    source, target = {"down": (0, n - 1), "up": (n - 1, 0), "stay": (n // 2, n // 2)}[place]
    w = grids(7, height, width, dtype)
    w[0, 0, 0], w[1, -1, -1], w[2, 1, 1] = float("nan"), float("inf"), -float("inf")
    w[3] = -5.0
    w[4] = 1e38
    w[5] = torch.finfo(dtype).max
    w[6] = 0.0
    [expected], [got] = kernels.both("hard_shortest_path", w, 8, source, target, 0.0)
    assert_equal("hard", expected, got)
    scale = torch.full((1, 1), 0.3, dtype=dtype)
    options = (w, scale, *noise("mc", n), "cauchy", "mc", False, 3, 8, source, target, 0.0)
    [expected], [got] = kernels.both("shortest_path", *options)
    assert_close("forward", expected, got, 1e-6)
    upstream = (torch.ones_like(w), torch.zeros(7, dtype=dtype))
    results = kernels.both("shortest_path_backward", *upstream, *options, 1 / 3, 0.0, True)
    assert_same_nan("backward", *results)


def cases() -> Iterator[Case]:
    kinds = ("smooth", "ties", "wide", "walls", "no way to go")
    squares = [(k, k, 8) for k in range(1, 17)]
    more = [(24, 24, 4), (31, 33, 8), (1, 40, 8), (40, 1, 4), (2, 3, 8), (96, 96, 8), HUGE_GRID]
    for kind, dtype, grid in itertools.product(kinds, DTYPES, [*GRIDS, *squares, *more]):
        yield Case("hard paths", f"{kind} {grid} {dtype}", partial(hard_paths, kind, dtype, *grid))
    for law, sampler, dtype, grid in itertools.product(LAWS, SAMPLERS, DTYPES, [*GRIDS, HUGE_GRID]):
        height, width, neighbors = grid
        n, antithetic, few = height * width, width % 2 == 0, height * width > 200
        if few and (law, sampler) not in (("logistic", "mc"), ("gumbel", "sobol")):
            continue
        batch = 1 if few else 3
        s = points(sampler, n, 5 if few else 101) * (2 if antithetic else 1)
        x = grids(batch, height, width, dtype)
        if batch > 1:
            x[1, -1, 0] = float("inf")
        scale = torch.linspace(0.2, 0.4, n, dtype=dtype).expand(batch, n).contiguous()
        call = partial(paths, law, sampler, antithetic, s, x, scale, ends(height, width, neighbors))
        yield Case("paths", f"{law} {sampler} {dtype} {grid} {s=}", call)
    # Sums that are cut into chunks, and empty ones.
    for batch, height, width, s in [(1, 6, 7, 9001), (700, 3, 3, 37), (0, 4, 4, 8), (2, 0, 4, 8)]:
        x = grids(batch, height, width, torch.float64)
        where = (8, 0, max(0, height * width - 1), 1e-3)
        scale = torch.full((1, 1), 0.3, dtype=x.dtype)
        call = partial(paths, "logistic", "mc", False, s, x, scale, where)
        yield Case("path chunks", f"{tuple(x.shape)} {s=}", call)
    for size, dtype, place in itertools.product(
        [(3, 4), (13, 14), (40, 41)], DTYPES, ["down", "up", "stay"]
    ):
        run = partial(bad_paths, *size, dtype, place)
        yield Case("bad paths", f"{size} {dtype} {place}", run)


def small_cases() -> Iterator[Case]:
    for grid, dtype in itertools.product([(1, 1, 8), (5, 4, 4), (9, 10, 8), (20, 21, 8)], DTYPES):
        height, width, neighbors = grid
        n, s = height * width, 9 if height < 20 else 5
        yield Case("hard paths", f"{grid} {dtype}", partial(hard_paths, "smooth", dtype, *grid))
        x, scale = grids(3, height, width, dtype), torch.ones(3, n, dtype=dtype)
        where = ends(height, width, neighbors)
        call = partial(paths, "logistic", "mc", False, s, x, scale, where)
        yield Case("paths", f"{grid} {dtype}", call)
