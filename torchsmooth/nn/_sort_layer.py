"""What the layers share that sort along a dimension, in either direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from ..distributions import AbstractDistribution
from ._sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


class AbstractSortLayer(AbstractSampledLayer):
    """A layer around a function of the sort family that has a `dim` and can be `descending`.

    **Arguments:**

    - `dim`, `descending`: as for the function in `torchsmooth.functional`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Subclassing.** Subclasses are final and name the function in both of its forms.
    """

    _smoothed: ClassVar[Callable[..., Tensor]]  # of torchsmooth.functional
    _exact: ClassVar[Callable[..., Tensor]]  # of torchsmooth.hard

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
        return self._smoothed(
            x, self.distribution, dim=self.dim, descending=self.descending, **self.sampling
        )

    def _hard(self, x: Tensor) -> Tensor:
        return self._exact(x, dim=self.dim, descending=self.descending)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}, descending={self.descending}"
