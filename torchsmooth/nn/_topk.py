"""The places of the k largest elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from ._sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class TopK(AbstractSampledLayer):
    """The expected one-hot vectors of the k largest elements: `torchsmooth.functional.topk`.

    Maps [..., n] to [..., k, n]. In evaluation with `eval_mode="hard"` it is
    `torchsmooth.hard.topk`.

    **Arguments:**

    - `k`, `dim`, `largest`: as for `torchsmooth.functional.topk`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.TopK(2, ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """

    def __init__(
        self,
        k: int,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        largest: bool = True,
        **options: Unpack[SampledLayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self.k = k
        self.dim = dim
        self.largest = largest

    def _smooth(self, x: Tensor) -> Tensor:
        return functional.topk(
            x, self.k, self.distribution, dim=self.dim, largest=self.largest, **self.sampling
        )

    def _hard(self, x: Tensor) -> Tensor:
        return hard.topk(x, self.k, dim=self.dim, largest=self.largest)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, k={self.k}, dim={self.dim}, largest={self.largest}"
