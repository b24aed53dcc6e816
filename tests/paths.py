"""What is known exactly about cheapest paths: scipy's Dijkstra, and all paths of a small grid."""

import functools

import numpy as np
import torch
from laws import SCIPY
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor


Cell = tuple[int, int]

# A grid, the scale of its noise, and the weighted sum of the mean path whose gradient is taken.
X = torch.tensor([[2.0, 2.6, 3.1], [2.9, 3.4, 2.2], [3.3, 2.4, 2.7]], dtype=torch.float64)
SCALE = 0.4
WEIGHT = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-1.2, 0.9, 0.1]], dtype=torch.float64)
LEAST = 1e-3


def steps(neighbors: int) -> list[Cell]:
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    return [(i, j) for i, j in around if neighbors == 8 or i == 0 or j == 0]


@functools.cache
def edges(height: int, width: int, neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """From which cell to which."""
    cells = np.arange(height * width).reshape(height, width)
    pairs = []
    for i, j in steps(neighbors):
        low, left = max(0, -i), max(0, -j)
        high, right = height - max(0, i), width - max(0, j)
        if low < high and left < right:
            start = cells[low:high, left:right]
            end = cells[low + i : high + i, left + j : right + j]
            pairs.append((start.ravel(), end.ravel()))
    if not pairs:
        return np.zeros(0, int), np.zeros(0, int)
    return tuple(np.concatenate(ends) for ends in zip(*pairs, strict=True))


def dijkstra_cost(weights: np.ndarray, neighbors: int, source: Cell, target: Cell) -> float:
    height, width = weights.shape
    start, end = edges(height, width, neighbors)
    graph = coo_array((weights.ravel()[end], (start, end)), shape=(weights.size, weights.size))
    from_source = dijkstra(graph.tocsr(), indices=source[0] * width + source[1])
    return from_source[target[0] * width + target[1]] + weights[source]


def assert_is_path(indicator: np.ndarray, neighbors: int, source: Cell, target: Cell) -> None:
    """Ones only on cells that can be walked from source to target, each once."""
    assert set(np.unique(indicator)) <= {0.0, 1.0}
    left = {(int(i), int(j)) for i, j in np.argwhere(indicator)}
    assert source in left and target in left
    # Weights are positive, so that a cheapest path has no shortcut: each cell has one way on.
    at = source
    left.remove(at)
    while at != target:
        on = [(at[0] + i, at[1] + j) for i, j in steps(neighbors)]
        on = [cell for cell in on if cell in left]
        if target in on:
            at = target
        else:
            assert len(on) == 1, (at, on)
            (at,) = on
        left.remove(at)
    assert not left


def assert_cheapest(
    weights: Tensor, indicator: Tensor, neighbors: int, source: Cell, target: Cell, lowest: float
) -> None:
    """What a path costs is what Dijkstra's costs, up to a rounding of the type per cell."""
    eps = torch.finfo(weights.dtype).eps
    for grid, path in zip(weights.clamp(min=lowest).double(), indicator.double(), strict=True):
        cost = float((grid * path).sum())
        expected = dijkstra_cost(grid.numpy(), neighbors, source, target)
        assert abs(cost - expected) <= eps * float(path.sum()) * expected


def random_weights(kind: int, shape: tuple[int, ...]) -> Tensor:
    if kind == 0:
        return torch.rand(shape, dtype=torch.float64)
    if kind == 1:  # six orders of magnitude
        return 10 ** torch.empty(shape, dtype=torch.float64).uniform_(-3, 3)
    if kind == 2:  # ties
        return torch.randint(1, 4, shape).double()
    # Sums in which small weights vanish.
    return torch.where(torch.rand(shape) < 0.5, 1e6, 1e-3).double()


@functools.cache
def all_paths(neighbors: int) -> np.ndarray:  # [paths, 9]
    """The indicators of all simple paths from corner to corner of a 3 x 3 grid."""
    found = []

    def walk(path: list[Cell]) -> None:
        if path[-1] == (2, 2):
            found.append([float((i, j) in path) for i in range(3) for j in range(3)])
            return
        for i, j in steps(neighbors):
            cell = (path[-1][0] + i, path[-1][1] + j)
            if 0 <= min(cell) and max(cell) <= 2 and cell not in path:
                walk([*path, cell])

    walk([(0, 0)])
    return np.array(found)


def useful_paths(neighbors: int) -> np.ndarray:  # [paths, 9]
    """Those that no other path is a part of: weights are positive, so that it would be cheaper."""
    paths = np.unique(all_paths(neighbors), axis=0)
    part = (paths[:, None] <= paths[None]).all(-1)
    return paths[part.sum(0) == 1]


@functools.cache
def expected(
    law: str, neighbors: int, batches: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Independent estimates of the mean path [batches, 9], and of the gradients in the weights and
    in the scale of each cell of <WEIGHT, mean path>, [batches, 9].

    Of the others' weights, a cell's own is a threshold: below it the cheapest path through the cell
    is taken, else the cheapest one around it. So the expectation over its own weight is known, and
    can be differentiated without a score.
    """
    paths, law_of = useful_paths(neighbors), SCIPY[law]
    size = 10_000
    g = np.random.default_rng(0)
    x, value = X.numpy().ravel(), paths @ WEIGHT.numpy().ravel()
    mean, in_x, in_scale = (np.zeros((batches, 9)) for _ in range(3))
    for batch in range(batches):
        w = np.maximum(x + SCALE * law_of.rvs(size=(size, 9), random_state=g), LEAST)
        cost = w @ paths.T
        mean[batch] = paths[cost.argmin(1)].mean(0)
        for j in range(9):
            through = paths[:, j] == 1
            if through.all() or not through.any():  # no choice, no gradient
                continue
            with_cell = cost[:, through] - w[:, [j]]
            threshold = cost[:, ~through].min(1) - with_cell.min(1)
            around = value[~through][cost[:, ~through].argmin(1)]
            gain = value[through][with_cell.argmin(1)] - around
            z = (threshold - x[j]) / SCALE
            slope = np.where(threshold > LEAST, -law_of.pdf(z) / SCALE * gain, 0)
            in_x[batch, j] = slope.mean()
            in_scale[batch, j] = (slope * z).mean()
    return mean, in_x, in_scale


def assert_same_mean(
    estimates: Tensor, known: np.ndarray, resolution: float, sigmas: float = 4.0
) -> None:
    """Two sets of independent estimates have the same mean, up to 4 standard errors of both.

    A correct estimator fails with probability 6e-5 per entry.
    """
    a, b = estimates.detach().double().reshape(len(estimates), -1).numpy(), known
    allowed = sigmas * np.sqrt(a.var(0, ddof=1) / len(a) + b.var(0, ddof=1) / len(b)) + 1e-9
    assert allowed.max() <= resolution, f"{sigmas} standard errors are {allowed}: they hide much"
    off = np.abs(a.mean(0) - b.mean(0)) / allowed * sigmas
    assert (off <= sigmas).all(), f"{off} sigmas"
