"""The ranks of elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from .sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class Rank(AbstractSampledLayer):
    """The expected ranks of the elements of perturbed `x`: `torchsmooth.functional.rank`.

    Maps [..., n] to [..., n], counting from 1. In evaluation with `eval_mode="hard"` it is
    `torchsmooth.hard.rank`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.rank`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Rank(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([3., 1., 2.])
    """

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        descending: bool = False,
        **options: Unpack[SampledLayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self.dim = dim
        self.descending = descending

    def _smooth(self, x: Tensor) -> Tensor:
        return functional.rank(
            x, self.distribution, dim=self.dim, descending=self.descending, **self.sampling
        )

    def _hard(self, x: Tensor) -> Tensor:
        return hard.rank(x, dim=self.dim, descending=self.descending)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}, descending={self.descending}"
