"""The sorted values."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from .sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class Sort(AbstractSampledLayer):
    """The expected sorted values of perturbed `x`: `torchsmooth.functional.sort`.

    Maps [..., n] to [..., n]. In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.sort`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.sort`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Sort(ts.Gaussian(scale=0.1), descending=True, eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([ 0.5000,  0.2500, -1.0000])
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
        return functional.sort(
            x, self.distribution, dim=self.dim, descending=self.descending, **self.sampling
        )

    def _hard(self, x: Tensor) -> Tensor:
        return hard.sort(x, dim=self.dim, descending=self.descending)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}, descending={self.descending}"
