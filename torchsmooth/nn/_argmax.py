"""The place of the largest element."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from ._sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class ArgMax(AbstractSampledLayer):
    """The expected one-hot vector of the largest element: `torchsmooth.functional.argmax`.

    Maps [..., n] to [..., n]. In evaluation with `eval_mode="hard"` it is
    `torchsmooth.hard.argmax`.

    **Arguments:**

    - `dim`: as for `torchsmooth.functional.argmax`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.ArgMax(ts.Gumbel(scale=0.5), num_samples=4096, seed=0)
    >>> x = torch.tensor([0.5, -1.0, 0.25])
    >>> torch.allclose(layer(x), torch.softmax(x / 0.5, -1), atol=0.01)
    True
    """

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        **options: Unpack[SampledLayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self.dim = dim

    def _smooth(self, x: Tensor) -> Tensor:
        return functional.argmax(x, self.distribution, dim=self.dim, **self.sampling)

    def _hard(self, x: Tensor) -> Tensor:
        return hard.argmax(x, dim=self.dim)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}"
