"""The permutation that sorts."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from .sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class ArgSort(AbstractSampledLayer):
    """The expected permutation matrix that sorts perturbed `x`: `torchsmooth.functional.argsort`.

    Maps [..., n] to [..., n, n]. In evaluation with `eval_mode="hard"` it is the 0/1 matrix of
    `torchsmooth.hard.argsort`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.argsort`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.ArgSort(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.3, -1.0, 0.2]))
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [1., 0., 0.]])
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
        return functional.argsort(
            x, self.distribution, dim=self.dim, descending=self.descending, **self.sampling
        )

    def _hard(self, x: Tensor) -> Tensor:
        return hard.argsort(x, dim=self.dim, descending=self.descending)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}, descending={self.descending}"
