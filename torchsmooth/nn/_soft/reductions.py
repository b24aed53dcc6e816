"""Layers of extrema over a dimension in closed form, which the Gumbel law alone has."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from ... import hard, soft
from ...distributions import AbstractDistribution
from .elementwise_layer import LayerOptions
from .reduction_layer import AbstractReductionLayer, extremum


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class SoftArgMax(AbstractReductionLayer):
    """The probability of each element to be the largest: `torchsmooth.soft.argmax`, the softmax.

    In evaluation with `eval_mode="hard"` it is the one-hot vector of `torchsmooth.hard.argmax`.
    `ArgMax` samples, and `SoftArgMaxQuadrature` integrates, under any law.

    **Arguments:** `dim`: as for `torchsmooth.soft.argmax`. `distribution`: a `Gumbel`. All other
    keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftArgMax(0, ts.Gumbel(), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0, 3.0])
    >>> layer(x)
    tensor([0.0420, 0.1142, 0.8438])
    >>> layer.eval()(x)
    tensor([0., 0., 1.])
    """

    def _reduce(self, x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
        return soft.argmax(x, dim, distribution)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(x, dim=dim)


@final
class SoftArgMin(AbstractReductionLayer):
    """The probability of each element to be the smallest: `torchsmooth.soft.argmin`.

    In evaluation with `eval_mode="hard"` it is the one-hot vector of the smallest element.

    **Arguments:** `dim`, `mirrored`: as for `torchsmooth.soft.argmin`. `distribution`: a `Gumbel`.
    All other keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftArgMin(0, ts.Gumbel(), mirrored=True)(torch.tensor([0.0, 1.0, 3.0]))
    tensor([0.7054, 0.2595, 0.0351])
    """

    _options = ("mirrored",)
    mirrored: bool

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        mirrored: bool,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(dim, distribution, **options)
        self._hold(mirrored)

    def _reduce(self, x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
        return soft.argmin(x, dim, distribution, mirrored=self.mirrored)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(-x, dim=dim)


@final
class SoftAMax(AbstractReductionLayer):
    """The expectation of the largest element: `torchsmooth.soft.amax`, a logsumexp.

    In evaluation with `eval_mode="hard"` it is `torch.amax`.

    **Arguments:** `dim`, `keepdim`: as for `torchsmooth.soft.amax`. `distribution`: a `Gumbel`. All
    other keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMax(0, ts.Gumbel(1e-3))(torch.tensor([0.0, 1.0, 3.0]))
    tensor(3.0006)
    """

    _options = ("keepdim",)
    keepdim: bool

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        keepdim: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(dim, distribution, **options)
        self._hold(keepdim)

    def _reduce(self, x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
        return soft.amax(x, dim, distribution, keepdim=self.keepdim)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=True)


@final
class SoftAMin(AbstractReductionLayer):
    """The expectation of the smallest element: `torchsmooth.soft.amin`.

    In evaluation with `eval_mode="hard"` it is `torch.amin`.

    **Arguments:** `dim`, `mirrored`, `keepdim`: as for `torchsmooth.soft.amin`. `distribution`: a
    `Gumbel`. All other keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMin(0, ts.Gumbel(1e-3), mirrored=True)(torch.tensor([0.0, 1.0, 3.0]))
    tensor(-0.0006)
    """

    _options = ("mirrored", "keepdim")
    mirrored: bool
    keepdim: bool

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        mirrored: bool,
        keepdim: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(dim, distribution, **options)
        self._hold(mirrored, keepdim)

    def _reduce(self, x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
        return soft.amin(x, dim, distribution, mirrored=self.mirrored, keepdim=self.keepdim)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=False)
