"""The expected shortest path through a grid or a graph of perturbed weights."""

import functools
from collections.abc import Sequence

from torch import Tensor

from .. import hard
from .._checks import check_distribution, check_graph, check_grid, check_grid_options
from .._kernels.shortest_path import PathOp
from .._smoothing import smooth
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler
from ._fused import SamplingOptions, smooth_fused


def shortest_path(
    weights: Tensor,
    distribution: AbstractDistribution,
    *,
    neighbors: int = 8,
    source: Sequence[int] = (0, 0),
    target: Sequence[int] = (-1, -1),
    min_weight: float = 1e-3,
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected indicator of the cheapest path through a grid of perturbed weights.

    Smooths `torchsmooth.hard.shortest_path`.

    **Arguments:**

    - `weights`: floating-point tensor of shape [..., H, W], the cost of each cell. A grid is one
        event: all leading dimensions are batch, and a scale broadcasts against [H, W] or against
        `weights`.
    - `distribution`: the law of the noise.
    - `neighbors`: 8 for steps to all surrounding cells, 4 for steps along rows and columns only.
    - `source`, `target`: the (row, column) of both ends; negative ones count from the end.
    - `min_weight`: the least cost of a perturbed cell; the smoothed function includes this clamp.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of the shape and the dtype of `weights`: each cell's probability to lie on
    the cheapest path. Both ends have probability 1.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2 and section 4.3.

    >>> import torch, torchsmooth as ts
    >>> weights = torch.tensor([[1.0, 2.0], [5.0, 1.0]], requires_grad=True)
    >>> p = ts.functional.shortest_path(
    ...     weights, ts.Logistic(scale=0.5), neighbors=4, num_samples=4096, seed=0
    ... )
    >>> bool(p[0, 1] > 0.9)  # the path through the expensive corner is almost never taken
    True
    >>> p[0, 1].backward()
    >>> bool(weights.grad[0, 1] < 0 < weights.grad[1, 0])
    True
    """
    grid = check_grid_options(check_grid(weights), neighbors, source, target, min_weight)
    return smooth_fused(
        weights,
        2,
        distribution,
        SamplingOptions(num_samples, sampler, antithetic, covariate, seed),
        op=lambda drawing, estimator: PathOp(drawing, grid, estimator),
        hard=functools.partial(
            hard.shortest_path,
            neighbors=neighbors,
            source=source,
            target=target,
            min_weight=min_weight,
        ),
    )


def shortest_path_graph(
    edge_weights: Tensor,
    indptr: Tensor,
    indices: Tensor,
    distribution: AbstractDistribution,
    *,
    source: int = 0,
    target: int = -1,
    min_weight: float = 1e-3,
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected indicator of the cheapest path through a graph of perturbed weights.

    Smooths `torchsmooth.hard.shortest_path_graph` by `torchsmooth.smooth`; it has no fused kernel.

    **Arguments:**

    - `edge_weights`: floating-point tensor of shape [..., E], the cost of each edge.
    - `indptr`, `indices`: the directed graph in compressed sparse rows, see
        `torchsmooth.hard.shortest_path_graph`.
    - `distribution`: the law of the noise.
    - `source`, `target`: the nodes at both ends; negative ones count from the end.
    - `min_weight`: the least cost of a perturbed edge; the smoothed function includes this clamp.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of the shape and the dtype of `edge_weights`: each edge's probability to
    lie on the cheapest path.

    **Raises:** TypeError or ValueError if an argument differs from this description. Also
    ValueError if no path leads to the target.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2 and section 4.3.

    >>> import torch, torchsmooth as ts
    >>> indptr = torch.tensor([0, 2, 3, 3])  # 0 -> 1, 0 -> 2, 1 -> 2
    >>> indices = torch.tensor([1, 2, 2])
    >>> weights = torch.tensor([1.0, 5.0, 1.0], requires_grad=True)
    >>> p = ts.functional.shortest_path_graph(weights, indptr, indices, ts.Logistic(), seed=0)
    >>> bool(p[0] == p[2]) and bool((p[0] + p[1] - 1).abs() < 1e-6)
    True
    >>> p[1].backward()
    >>> bool(weights.grad[1] < 0 < weights.grad[0])
    True
    """
    weights, rows, columns = check_graph(edge_weights, indptr, indices)
    path = functools.partial(
        hard.shortest_path_graph,
        indptr=rows,
        indices=columns,
        source=source,
        target=target,
        min_weight=min_weight,
    )
    smoothed = smooth(
        path,
        check_distribution(distribution),
        num_samples=num_samples,
        sampler=sampler,
        antithetic=antithetic,
        covariate=covariate,
        seed=seed,
        check=False,
    )
    return smoothed(weights)
