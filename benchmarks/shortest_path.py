"""How fast and how exact are smoothed shortest paths, and how noisy are their gradients?

Three questions:

- speed: forward and forward + backward of `functional.shortest_path` (logistic noise, 8 neighbors,
  leave-one-out), and `hard.shortest_path`, over sizes of grids, of batches and of samples, against
  scipy's Dijkstra on a graph that is built already, and against Dijkstra in Python with heapq;
- exactness: costs of random grids of mixed sizes against scipy's Dijkstra, and means and gradients
  on 3 x 3 grids against all paths;
- gradient error at equal numbers of samples: sobol against latin hypercubes and plain Monte Carlo.

    python shortest_path.py      # writes results/shortest_path.json and .md
"""

import argparse
import heapq
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from timing import interleaved, table, write
from torch import Tensor
from tqdm import tqdm

import torchsmooth as ts


sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from paths import (  # noqa: E402
    LEAST,
    SCALE,
    WEIGHT,
    X,
    assert_cheapest,
    assert_is_path,
    assert_same_mean,
    edges,
    expected,
    random_weights,
    steps,
)


# Height = width, batch, samples.
CASES = (
    (12, 1, 1024),
    (12, 1, 16384),
    (12, 70, 10),
    (12, 70, 100),
    (12, 70, 1000),
    (12, 10, 10000),
    (18, 10, 1000),
    (24, 10, 1000),
    (30, 10, 1000),
    (48, 4, 256),
    (96, 2, 128),
)
RIVAL_SIZES = (12, 24, 48, 96)
COSTS = torch.tensor([0.8, 1.2, 5.3, 7.7, 9.2])  # of the Warcraft maps
LAWS = {"gaussian": ts.Gaussian, "logistic": ts.Logistic, "laplace": ts.Laplace}
SAMPLERS = ("sobol", "rqmc_latin", "qmc_latin", "mc")
ERROR_SAMPLES = (256, 1024, 4096)


# Speed


def path_by_heap(weights: list[list[float]]) -> list[tuple[int, int]]:
    """Dijkstra's algorithm as one writes it in Python."""
    height, width = len(weights), len(weights[0])
    around = steps(8)
    cost = {(0, 0): weights[0][0]}
    came_from: dict[tuple[int, int], tuple[int, int]] = {}
    heap = [(weights[0][0], (0, 0))]
    done = set()
    while heap:
        here, cell = heapq.heappop(heap)
        if cell in done:
            continue
        if cell == (height - 1, width - 1):
            break
        done.add(cell)
        for i, j in around:
            row, column = cell[0] + i, cell[1] + j
            if not (0 <= row < height and 0 <= column < width):
                continue
            there = here + weights[row][column]
            if there < cost.get((row, column), float("inf")):
                cost[row, column] = there
                came_from[row, column] = cell
                heapq.heappush(heap, (there, (row, column)))
    path = [(height - 1, width - 1)]
    while path[-1] != (0, 0):
        path.append(came_from[path[-1]])
    return path


def rivals(size: int) -> dict[str, Callable[[], object]]:
    """What finds one path."""
    torch.manual_seed(0)
    weights = 1 + 8 * torch.rand(size, size, dtype=torch.float64)
    start, end = edges(size, size, 8)
    graph = coo_array((weights.numpy().ravel()[end], (start, end)), shape=(size**2, size**2))
    graph, rows = graph.tocsr(), weights.tolist()
    return {
        "scipy": lambda: dijkstra(graph, indices=0, return_predecessors=True),
        "heapq": lambda: path_by_heap(rows),
    }


def measure_speed(size: int, b: int, s: int, seconds: float) -> dict:
    torch.manual_seed(0)
    x = (1 + 8 * torch.rand(b, size, size)).requires_grad_()
    upstream = torch.randn(b, size, size)
    points = (1 + 8 * torch.rand(b, size, size)).repeat(max(1, s // 16), 1, 1)

    def forward(sampler: str) -> Tensor:
        return ts.functional.shortest_path(
            x, ts.Logistic(1.0), num_samples=s, sampler=sampler, seed=0
        )

    calls: dict[str, Callable[[], object]] = {}
    for sampler in ("mc", "sobol"):
        calls[f"forward, {sampler}"] = lambda sampler=sampler: forward(sampler)
        calls[f"both, {sampler}"] = lambda sampler=sampler: torch.autograd.grad(
            forward(sampler), x, upstream
        )
    calls["hard"] = lambda: ts.hard.shortest_path(points)
    best = interleaved(calls, seconds, least=3)
    row: dict = {"grid": f"{size} x {size}", "b": b, "s": s}
    for name, time in best.items():
        row[f"{name} [M paths/s]"] = (len(points) if name == "hard" else b * s) / time / 1e6
    return row


def measure_rivals(size: int, seconds: float) -> dict:
    """On one thread: what a core does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    s = max(64, 200_000 // size**2 // 32 * 32)
    x = 1 + 8 * torch.rand(1, size, size)
    calls = {
        "fused": lambda: ts.functional.shortest_path(
            x, ts.Logistic(1.0), num_samples=s, sampler="mc", seed=0
        ),
        **rivals(size),
    }
    best = interleaved(calls, seconds, least=3)
    torch.set_num_threads(threads)
    best["fused"] /= s
    row: dict = {"grid": f"{size} x {size}"}
    row |= {f"{name} [us/path]": time * 1e6 for name, time in best.items()}
    row |= {f"{name} / fused": best[name] / best["fused"] for name in ("scipy", "heapq")}
    return row


# Exactness


def check_costs(grids: int) -> dict:
    """Of grids of mixed sizes, types, ends and neighbors; raises at the first that is wrong."""
    torch.manual_seed(1)
    each, checked, largest = 32, 0, 0
    for round in tqdm(range(-(-grids // each)), desc="costs", leave=False):
        height, width = (int(2 ** float(5.2 * torch.rand(()))) for _ in range(2))
        kind, neighbors = round % 4, 4 + 4 * (round // 4 % 2)
        dtype = (torch.float32, torch.float64)[round // 8 % 2]
        weights = random_weights(kind, (each, height, width)).to(dtype)
        ends = (0, height * width - 1) if round // 16 % 2 else torch.randint(height * width, (2,))
        source, target = (divmod(int(end), width) for end in ends)
        path = ts.hard.shortest_path(weights, neighbors=neighbors, source=source, target=target)
        assert_cheapest(weights, path, neighbors, source, target, 1e-3)
        if kind < 3:  # with weights that vanish in sums, shortcuts cost the same
            for indicator in path.numpy():
                assert_is_path(indicator, neighbors, source, target)
        checked, largest = checked + each, max(largest, height * width)
    return {
        "what": "cost equal to Dijkstra's, path simple, connected, within the grid",
        "checked": f"{checked} grids of 1 to {largest} cells",
        "result": "all",
    }


def check_gradients(samples: int, resolution: float) -> list[dict]:
    """Means and gradients of 3 x 3 grids within 4 standard errors of those from all paths."""
    rows, each = [], 10_000
    for law in ("gaussian", "logistic", "gumbel", "cauchy", "laplace"):
        replicates = -(-samples // each)
        make = getattr(ts, law.capitalize())
        weights = X.expand(replicates, 3, 3).clone().requires_grad_()
        scale = torch.full((replicates, 3, 3), SCALE, dtype=torch.float64, requires_grad=True)
        path = ts.functional.shortest_path(
            weights, make(scale), min_weight=LEAST, num_samples=each, sampler="mc", seed=7
        )
        gradients = torch.autograd.grad((WEIGHT * path).sum(), (weights, scale))
        batches = max(2, samples // 10_000)
        for estimate, known in zip((path, *gradients), expected(law, 8, batches), strict=True):
            assert_same_mean(estimate, known, resolution)
        errors = [float(t.std(0).max()) / replicates**0.5 for t in gradients]
        rows.append(
            {
                "what": f"{law}: mean, gradients in weights and scales within 4 standard errors",
                "checked": f"{replicates * each} samples",
                "result": f"all; standard errors up to {errors[0]:.1g} and {errors[1]:.1g}",
            }
        )
    return rows


# Gradient error


def terrains(points: int) -> dict[str, Tensor]:
    """Grids of 12 x 12 weights: of maps with connected terrain, and two without any structure."""
    torch.manual_seed(0)
    coarse = torch.randn(points, 1, 4, 4)
    smooth = torch.nn.functional.interpolate(coarse, size=(12, 12), mode="bicubic")[:, 0]
    classes = torch.bucketize(smooth, torch.quantile(smooth, torch.tensor([0.2, 0.4, 0.6, 0.8])))
    return {
        "terrain": COSTS[classes],
        "costs at random": COSTS[torch.randint(5, (points, 12, 12))],
        "uniform": torch.rand(points, 12, 12),
    }


def gradients(x: Tensor, law: object, upstream: Tensor, sampler: str, s: int, seed: int) -> Tensor:
    leaf = x.clone().requires_grad_()
    path = ts.functional.shortest_path(leaf, law, num_samples=s, sampler=sampler, seed=seed)
    return torch.autograd.grad(path, leaf, upstream)[0].double()


def measure_errors(points: int, truth_samples: int, budget: int) -> list[dict]:
    """Root mean square L2 errors of the gradient for a random normal upstream, which is the L2
    error of the Jacobian. The truth is the mean of many samples, none of which is used again."""
    rows = []
    for terrain, x in terrains(points).items():
        upstream = torch.randn(points, 12, 12)
        for name, make in LAWS.items():
            law = make(1.0)
            truth = torch.stack(
                [
                    gradients(x, law, upstream, "sobol", 2**14, seed)
                    for seed in range(1000, 1000 + truth_samples // 2**14)
                ]
            ).mean(0)
            for s in ERROR_SAMPLES:
                row: dict = {"weights": terrain, "law": name, "s": s}
                replicas = max(4, budget // s)
                for sampler in SAMPLERS:
                    estimates = gradients(
                        x.repeat(replicas, 1, 1),
                        law,
                        upstream.repeat(replicas, 1, 1),
                        sampler,
                        s,
                        s,
                    ).reshape(replicas, points, -1)
                    off = estimates - truth.reshape(points, -1)
                    row[sampler] = float(off.square().sum(-1).mean().sqrt())
                row["sobol / rqmc_latin"] = row["sobol"] / row["rqmc_latin"]
                rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few small sizes; keep nothing")
    quick = parser.parse_args().quick
    seconds = 0.05 if quick else 1.0
    cases, sizes = (CASES[:4], (12,)) if quick else (CASES, RIVAL_SIZES)
    exact = [check_costs(2_000 if quick else 100_000)]
    exact += check_gradients(*((100_000, 0.5) if quick else (10_000_000, 0.05)))
    speed = [measure_speed(*case, seconds) for case in tqdm(cases, desc="speed", leave=False)]
    per_core = [measure_rivals(size, seconds) for size in sizes]
    errors = measure_errors(*((1, 2**16, 2**12) if quick else (8, 2**20, 2**15)))
    sections = {
        "Speed": speed,
        "One path on one core": per_core,
        "Exactness": exact,
        "Gradient error": errors,
    }
    write(
        "shortest_path",
        [{"table": title, **row} for title, rows in sections.items() for row in rows],
        [
            "Goals for 12 x 12 on 2 cores: 2 M paths/s forward, 1 M paths/s forward + backward; "
            "scipy / fused >= 30; sobol / rqmc_latin <= 0.8.",
            "forward, both: functional.shortest_path with 8 neighbors and logistic noise, drawing "
            "it included; both: with the gradient in the weights. hard: without noise.",
            "scipy: csgraph.dijkstra from one corner, with predecessors, on a graph that is built "
            "already; heapq: in Python, up to the other corner. Both find one path without noise.",
            "Expected: 144 words and quantiles of 2.3 ns, some 9 sweeps over 144 cells that take "
            "16 lanes 9 cycles each, and a walk of 17 steps of 6 ns: 0.33 + 0.24 + 0.1 = 0.7 us "
            "per path and core, and twice that with the gradient, which draws and finds all again.",
            "Gradient error: root of the mean over grids and seeds of the squared L2 norm of the "
            "error of the gradient of <upstream, path>, upstream standard normal, scale 1, "
            "leave-one-out. terrain: weights of the Warcraft classes, connected as on a map.",
        ],
        "\n\n".join(f"## {title}\n\n{table(rows)}" for title, rows in sections.items()),
        keep=not quick,
    )


if __name__ == "__main__":
    main()
