"""The median."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from ._sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class Median(AbstractSampledLayer):
    """The expected median of perturbed `x`: `torchsmooth.functional.median`.

    Maps [..., n] to [...]. In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.median`.

    **Arguments:**

    - `dim`, `keepdim`: as for `torchsmooth.functional.median`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Median(ts.Gaussian(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor(0.2500)
    """

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        keepdim: bool = False,
        **options: Unpack[SampledLayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self.dim = dim
        self.keepdim = keepdim

    def _smooth(self, x: Tensor) -> Tensor:
        return functional.median(
            x, self.distribution, dim=self.dim, keepdim=self.keepdim, **self.sampling
        )

    def _hard(self, x: Tensor) -> Tensor:
        return hard.median(x, dim=self.dim, keepdim=self.keepdim)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}, keepdim={self.keepdim}"
