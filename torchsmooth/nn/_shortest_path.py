"""The shortest path through a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from .. import functional, hard
from .._checks import check_grid_options
from ..distributions import AbstractDistribution
from ._sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class ShortestPath(AbstractSampledLayer):
    """The expected shortest path through a grid: `torchsmooth.functional.shortest_path`.

    Maps [..., H, W] to [..., H, W]. In evaluation with `eval_mode="hard"` it is the 0/1 indicator
    of `torchsmooth.hard.shortest_path`.

    **Arguments:**

    - `neighbors`, `source`, `target`, `min_weight`: as for `torchsmooth.functional.shortest_path`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.ShortestPath(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([[1.0, 9.0, 9.0], [1.0, 9.0, 1.0], [9.0, 1.0, 1.0]]))
    tensor([[1., 0., 0.],
            [1., 0., 0.],
            [0., 1., 1.]])
    """

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        neighbors: int = 8,
        source: Sequence[int] = (0, 0),
        target: Sequence[int] = (-1, -1),
        min_weight: float = 1e-3,
        **options: Unpack[SampledLayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self.neighbors = neighbors
        self.source = source
        self.target = target
        self.min_weight = min_weight
        # Looks at the options here and now; whether the cells exist, only a grid can tell.
        check_grid_options((0, 0), **self._grid)

    @property
    def _grid(self) -> dict[str, Any]:
        return {
            "neighbors": self.neighbors,
            "source": self.source,
            "target": self.target,
            "min_weight": self.min_weight,
        }

    def _smooth(self, weights: Tensor) -> Tensor:
        return functional.shortest_path(weights, self.distribution, **self._grid, **self.sampling)

    def _hard(self, weights: Tensor) -> Tensor:
        return hard.shortest_path(weights, **self._grid)

    def extra_repr(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._grid.items())
        return f"{super().extra_repr()}, {options}"
