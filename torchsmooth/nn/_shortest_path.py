"""Layers of shortest paths, through a grid and through a graph."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from .. import functional, hard
from .._checks import check_graph, check_grid_options, check_min_weight, check_node
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..functional._fused import SamplingOptions
from ..samplers import AbstractSampler
from ._sampled_layer import AbstractAlgorithmLayer
from ._smoothing_layer import EvalMode


@final
class ShortestPath(AbstractAlgorithmLayer):
    """The expected shortest path through a grid: `torchsmooth.functional.shortest_path`.

    In evaluation with `eval_mode="hard"` it is the 0/1 indicator of
    `torchsmooth.hard.shortest_path` (arXiv 2410.08125, section 4.3).

    **Arguments:**

    - `neighbors`, `source`, `target`, `min_weight`: as for `torchsmooth.functional.shortest_path`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with weights [..., H, W], a tensor of their shape and dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.shortest_path` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.ShortestPath(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([[1.0, 9.0, 9.0], [1.0, 9.0, 1.0], [9.0, 1.0, 1.0]]))
    tensor([[1., 0., 0.],
            [1., 0., 0.],
            [0., 1., 1.]])
    """

    _smoothed = staticmethod(functional.shortest_path)
    _exact = staticmethod(hard.shortest_path)
    _options = ("neighbors", "source", "target", "min_weight")
    neighbors: int
    source: Sequence[int]
    target: Sequence[int]
    min_weight: float

    def __init__(
        self,
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
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        self.neighbors = neighbors
        self.source = source
        self.target = target
        self.min_weight = min_weight
        # Looks at the options here and now; whether the cells exist, only a grid can tell.
        check_grid_options((0, 0), **self._given())


@final
class ShortestPathGraph(AbstractAlgorithmLayer):
    """The expected shortest path through a graph: `torchsmooth.functional.shortest_path_graph`.

    In evaluation with `eval_mode="hard"` it is the 0/1 indicator of
    `torchsmooth.hard.shortest_path_graph`.

    **Arguments:**

    - `indptr`, `indices`: the directed graph in compressed sparse rows, as for
        `torchsmooth.hard.shortest_path_graph`. They become buffers.
    - `source`, `target`, `min_weight`: as for `torchsmooth.functional.shortest_path_graph`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with the weights of the edges [..., E], a tensor of their shape and dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.shortest_path_graph` raises.

    >>> import torch, torchsmooth as ts
    >>> indptr, indices = torch.tensor([0, 2, 3, 3]), torch.tensor([1, 2, 2])
    >>> layer = ts.nn.ShortestPathGraph(indptr, indices, ts.Logistic(), eval_mode="hard")
    >>> layer.eval()(torch.tensor([1.0, 5.0, 1.0]))  # 0 -> 1, 1 -> 2
    tensor([1., 0., 1.])
    """

    _smoothed = staticmethod(functional.shortest_path_graph)
    _exact = staticmethod(hard.shortest_path_graph)
    _options = ("indptr", "indices", "source", "target", "min_weight")
    indptr: Tensor
    indices: Tensor
    source: int
    target: int
    min_weight: float

    def __init__(
        self,
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
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        # The graph is looked at here and now, not only in the first call.
        edges = torch.empty(0)
        if isinstance(indices, Tensor):
            edges = torch.empty(indices.numel(), device=indices.device)
        check_graph(edges, indptr, indices)
        self._hold("indptr", indptr)
        self._hold("indices", indices)
        nodes = indptr.shape[0] - 1
        check_node(source, "source", nodes)
        check_node(target, "target", nodes)
        self.source = source
        self.target = target
        self.min_weight = check_min_weight(min_weight)
