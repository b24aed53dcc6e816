"""Shortest paths on graphs against scipy's Dijkstra, and against grids."""

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from facts import assert_mean, replicate
from scipy.sparse import csr_array, random_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

import torchsmooth as ts
from torchsmooth._kernels import reference as reference


OPS = torch.ops.torchsmooth
DTYPES = [torch.float32, torch.float64]

# 0 -> 1, 0 -> 2, 1 -> 2, 1 -> 3, 2 -> 3
INDPTR, INDICES = torch.tensor([0, 2, 4, 5, 5]), torch.tensor([1, 2, 2, 3, 3])
WEIGHTS = torch.tensor([1.0, 2.5, 1.2, 3.0, 1.1])


def random_graph(nodes: int, density: float, seed: int) -> tuple[Tensor, Tensor]:
    """With a circle through all nodes, so that each can be reached."""
    g = np.random.default_rng(seed)
    graph = random_array((nodes, nodes), density=density, format="lil", rng=g)
    for u in range(nodes):
        graph[u, (u + 1) % nodes] = 1
    graph = csr_array(graph)
    graph.sort_indices()
    return torch.as_tensor(graph.indptr), torch.as_tensor(graph.indices)


def tails(indptr: Tensor) -> Tensor:
    return torch.arange(len(indptr) - 1).repeat_interleave(indptr.diff())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nodes, density", [(2, 0.0), (5, 0.5), (30, 0.1), (200, 0.02)])
def test_cost_is_dijkstras(
    nodes: int, density: float, dtype: torch.dtype, device: torch.device
) -> None:
    indptr, indices = random_graph(nodes, density, nodes)
    edges = len(indices)
    for weights in (
        10 ** torch.empty(6, edges, dtype=torch.float64).uniform_(-3, 3),
        torch.randint(1, 4, (6, edges)),
    ):
        weights = weights.to(dtype)
        source, target = torch.randint(nodes, (2,)).tolist()
        path = ts.hard.shortest_path_graph(
            weights.to(device), indptr.to(device), indices.to(device), source=source, target=target
        ).cpu()
        start = tails(indptr)
        for row, indicator in zip(weights, path, strict=True):
            graph = csr_array((row.double().numpy(), indices, indptr), shape=(nodes, nodes))
            expected = dijkstra(graph, indices=source)[target]
            cost = float((row.double() * indicator).sum())
            used = indicator.nonzero().squeeze(1).tolist()
            assert abs(cost - expected) <= torch.finfo(dtype).eps * (len(used) + 1) * expected
            ways = {int(start[e]): int(indices[e]) for e in used}
            assert len(ways) == len(used)  # each node is left once
            at = source
            for _ in used:
                at = ways[at]
            assert at == target


@pytest.mark.parametrize("neighbors", [4, 8])
def test_grids_are_graphs(neighbors: int) -> None:
    """The weight of a cell is that of the edges that enter it. Ties aside, the same path."""
    height, width = 7, 5
    cells = torch.arange(height * width).reshape(height, width)
    pairs = [
        (int(cells[i, j]), int(cells[i + a, j + b]))
        for i in range(height)
        for j in range(width)
        for a in (-1, 0, 1)
        for b in (-1, 0, 1)
        if (a, b) != (0, 0) and (neighbors == 8 or a == 0 or b == 0)
        if 0 <= i + a < height and 0 <= j + b < width
    ]
    start, end = torch.tensor(pairs).mT
    indptr = torch.cat((torch.zeros(1, dtype=torch.int64), start.bincount().cumsum(0)))
    weights = 0.1 + torch.rand(10, height * width, dtype=torch.float64)
    edges = ts.hard.shortest_path_graph(weights[:, end], indptr, end)
    entered = torch.zeros_like(weights).index_add_(1, end, edges)
    entered[:, 0] = 1
    grids = ts.hard.shortest_path(weights.reshape(-1, height, width), neighbors=neighbors)
    torch.testing.assert_close(entered.reshape(grids.shape), grids, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_paths_are_the_twins(dtype: torch.dtype) -> None:
    """Edge by edge: the rule for ties leaves no choice."""
    for nodes, density in ((1, 0.0), (2, 0.0), (6, 0.4), (40, 0.1)):
        indptr, indices = (t.long() for t in random_graph(nodes, density, nodes))
        weights = torch.randint(0, 4, (20, len(indices))).to(dtype)
        weights[::2] = 10 ** (12 * torch.rand(10, len(indices)) - 3)
        weights[3, 0] = math.nan
        for target in range(0, nodes, 7):
            arguments = (weights, indptr, indices, 0, target, 1e-3)
            actual = OPS.hard_shortest_path_graph(*arguments)
            expected = reference.hard_shortest_path_graph(*arguments)
            torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def test_ties_go_to_the_first_edge() -> None:
    indptr, indices = torch.tensor([0, 3, 4, 5, 5]), torch.tensor([2, 1, 1, 3, 3])
    path = ts.hard.shortest_path_graph(torch.ones(5), indptr, indices)
    assert path.tolist() == [0, 1, 0, 1, 0]


def smoothed(weights: Tensor = WEIGHTS, **options: Any) -> Tensor:
    graph = {"indptr": INDPTR, "indices": INDICES, "distribution": ts.Logistic(0.5)}
    return ts.functional.shortest_path_graph(
        weights, **{**graph, "num_samples": 32, "seed": 3, **options}
    )


def test_smoothed_as_any_callable() -> None:
    weights = WEIGHTS.double().requires_grad_()
    results = []
    for path in (
        smoothed(weights),
        ts.smooth(
            functools.partial(ts.hard.shortest_path_graph, indptr=INDPTR, indices=INDICES),
            ts.Logistic(0.5),
            num_samples=32,
            seed=3,
        )(weights),
    ):
        results.append((path, *torch.autograd.grad(path.square().sum(), weights)))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_two_ways() -> None:
    """One edge, or two: P(w0 < w1 + w2) has a closed form under Gaussian noise."""
    indptr, indices = torch.tensor([0, 2, 3, 3]), torch.tensor([2, 1, 2])
    scale = 0.3
    rows = replicate(torch.tensor([3.3, 1.5, 1.7], dtype=torch.float64), 400)
    path = ts.functional.shortest_path_graph(
        rows, indptr, indices, ts.Gaussian(scale), num_samples=256, sampler="mc", seed=0
    )
    deviation = math.sqrt(3) * scale
    z = torch.tensor((1.5 + 1.7 - 3.3) / deviation, dtype=torch.float64)
    direct, slope = torch.special.ndtr(z), (-0.5 * z**2).exp() / math.sqrt(2 * math.pi) / deviation
    assert_mean(path, torch.stack((direct, 1 - direct, 1 - direct)), resolution=0.01)
    (gradient,) = torch.autograd.grad(path[:, 0].sum(), rows)
    assert_mean(gradient, torch.stack((-slope, slope, slope)), resolution=0.05)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 1, 5), (0, 5)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES])
def test_shapes_and_dtypes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    weights = (1 + torch.rand(shape)).to(dtype)
    hard = ts.hard.shortest_path_graph(weights, INDPTR.int(), INDICES.int())
    assert hard.shape == shape and hard.dtype == dtype
    assert smoothed(weights).shape == shape and smoothed(weights).dtype == dtype


def test_no_way_to_go() -> None:
    path = ts.hard.shortest_path_graph(WEIGHTS, INDPTR, INDICES, source=2, target=2)
    assert path.tolist() == [0] * 5
    indptr, indices = torch.tensor([0, 0]), torch.zeros(0, dtype=torch.int64)
    alone = ts.hard.shortest_path_graph(torch.ones(3, 0), indptr, indices)
    assert alone.shape == (3, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_numbers_stay_in_their_row(bad: float) -> None:
    weights = WEIGHTS.repeat(3, 1)
    weights[1, 4] = bad
    path = ts.hard.shortest_path_graph(weights, INDPTR, INDICES)
    assert path[1].isnan().all() and path[[0, 2]].isfinite().all()


@pytest.mark.parametrize(
    "options, error, part",
    [
        ({"weights": torch.ones(4)}, ValueError, "indices must have one entry per edge, 4 as"),
        ({"weights": torch.tensor(1.0)}, ValueError, "edge_weights must have at least one dim"),
        ({"weights": torch.ones(5).long()}, TypeError, "edge_weights must be a floating-point"),
        ({"indptr": [0, 1]}, TypeError, "indptr must be a 1-D tensor of int64 or int32, got list"),
        ({"indptr": INDPTR.float()}, TypeError, "indptr must be a 1-D tensor of int64 or int32"),
        ({"indptr": INDPTR[:1]}, ValueError, "indptr must have V + 1 entries"),
        ({"indptr": INDPTR + 1}, ValueError, "indptr must rise from 0 to the number of edges, 5"),
        ({"indptr": INDPTR.flip(0)}, ValueError, "indptr must rise from 0 to the number of edges"),
        (
            {"indptr": torch.tensor([0, 2, 1, 5, 5])},
            ValueError,
            "got 0 to 5 falling behind entry 1; pass the indptr",
        ),
        ({"indices": INDICES + 1}, ValueError, "indices must be nodes, in [0, 3], got 2 to 4"),
        ({"indices": INDICES - 2}, ValueError, "indices must be nodes, in [0, 3], got -1 to 1"),
        ({"source": 4}, ValueError, "source must be a node, in [-4, 3], got 4"),
        ({"target": 1.0}, TypeError, "target must be an int, got 1.0"),
        ({"min_weight": -1}, ValueError, "min_weight must be finite and >= 0"),
        ({"source": 3, "target": 0}, ValueError, "target must be reachable from source"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], part: str) -> None:
    with pytest.raises(error) as caught:
        smoothed(**options)
    assert part in str(caught.value)
    hard = {"indptr": INDPTR, "indices": INDICES, "weights": WEIGHTS, **options}
    with pytest.raises(error) as caught:
        ts.hard.shortest_path_graph(hard.pop("weights"), **hard)
    assert part in str(caught.value)


def test_no_edges_at_all() -> None:
    indptr, indices = torch.tensor([0, 0, 0]), torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="target must be reachable"):
        ts.hard.shortest_path_graph(torch.ones(0), indptr, indices)
    weights = torch.ones(2, 0, requires_grad=True)
    path = smoothed(weights, indptr=indptr[:2], indices=indices)  # one node: nowhere to go
    assert path.shape == (2, 0)
    assert torch.autograd.grad(path.sum(), weights)[0].shape == (2, 0)


def test_nodes_may_be_integers_of_numpy() -> None:
    path = ts.hard.shortest_path_graph(
        WEIGHTS, INDPTR, INDICES, source=np.int64(1), target=np.int32(-1)
    )
    assert torch.equal(path, torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0]))


def test_the_op_reads_nothing_outside_the_graph() -> None:
    weights = torch.ones(1, 5)
    for indptr, indices in ((INDPTR, INDICES + 3), (INDPTR * 2, INDICES), (INDPTR, INDICES[:3])):
        with pytest.raises(RuntimeError, match="hard_shortest_path_graph: ind"):
            OPS.hard_shortest_path_graph(weights, indptr, indices, 0, 3, 1e-3)
    with pytest.raises(RuntimeError, match="source and target must lie in"):
        OPS.hard_shortest_path_graph(weights, INDPTR, INDICES, 0, 4, 1e-3)
