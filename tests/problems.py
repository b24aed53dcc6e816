"""Small problems of linear optimisation, all of whose solutions can be listed."""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def one_hot_vectors(n: int) -> Tensor:  # [n, n]
    return torch.eye(n, dtype=torch.float64)


def permutations(n: int) -> Tensor:  # [n!, n]
    """All rankings, counted from 1."""
    return torch.tensor(list(itertools.permutations(range(1, n + 1))), dtype=torch.float64)


def grid_paths(height: int, width: int) -> Tensor:  # [paths, height, width]
    """The indicators of all simple paths from corner to corner, with 8 neighbours."""

    def extend(path: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
        row, column = path[-1]
        if (row, column) == (height - 1, width - 1):
            yield path
            return
        for i, j in itertools.product((-1, 0, 1), repeat=2):
            cell = (row + i, column + j)
            inside = 0 <= cell[0] < height and 0 <= cell[1] < width
            if inside and cell not in path:
                yield from extend([*path, cell])

    indicators = set()
    for path in extend([(0, 0)]):
        cells = [[float((i, j) in path) for j in range(width)] for i in range(height)]
        indicators.add(tuple(map(tuple, cells)))
    return torch.tensor(sorted(indicators), dtype=torch.float64)


def solver_of(solutions: Tensor, *, maximize: bool) -> Callable[[Tensor], Tensor]:
    """The exact solver over a list of solutions [count, *event]."""
    flat = solutions.flatten(1)

    def solver(scores: Tensor) -> Tensor:
        objective = scores.to(flat.dtype).flatten(1) @ flat.mT
        best = objective.argmax(1) if maximize else objective.argmin(1)
        return solutions[best]

    return solver
