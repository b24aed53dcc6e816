"""Layers of staircases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from ... import soft
from ...distributions import AbstractDistribution
from ...soft._operands import elementwise
from .elementwise_layer import AbstractElementwiseLayer, LayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class SoftRound(AbstractElementwiseLayer):
    """E round(x + noise): `torchsmooth.soft.round`.

    In evaluation with `eval_mode="hard"` it is `torch.round`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftRound(ts.Gaussian(0.1), eval_mode="hard")
    >>> x = torch.tensor([0.4, 0.5, 1.0])
    >>> layer(x)
    tensor([0.1587, 0.5000, 1.0000])
    >>> layer.eval()(x)
    tensor([0., 0., 1.])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.round(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return torch.round(x)


@final
class SoftFloor(AbstractElementwiseLayer):
    """E floor(x + noise): `torchsmooth.soft.floor`.

    In evaluation with `eval_mode="hard"` it is `torch.floor`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftFloor(ts.Gaussian(0.1))(torch.tensor([0.0, 0.1, 0.5]))
    tensor([-0.5000, -0.1587,  0.0000])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.floor(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return torch.floor(x)


@final
class SoftCeil(AbstractElementwiseLayer):
    """E ceil(x + noise): `torchsmooth.soft.ceil`.

    In evaluation with `eval_mode="hard"` it is `torch.ceil`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftCeil(ts.Gaussian(0.1))(torch.tensor([0.0, 0.1, 0.5]))
    tensor([0.5000, 0.8413, 1.0000])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.ceil(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return torch.ceil(x)


@final
class SoftTrunc(AbstractElementwiseLayer):
    """E trunc(x + noise): `torchsmooth.soft.trunc`.

    In evaluation with `eval_mode="hard"` it is `torch.trunc`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftTrunc(ts.Gaussian(0.1))(torch.tensor([0.0, 0.9, -1.5]))
    tensor([ 0.0000,  0.1587, -1.0000])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.trunc(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return torch.trunc(x)


@final
class SoftQuantize(AbstractElementwiseLayer):
    """The expectation of the level nearest to x + noise: `torchsmooth.soft.quantize`.

    In evaluation with `eval_mode="hard"` it is the nearest level itself, the lower one halfway
    between two (`torch.bucketize`).

    **Arguments:**

    - `levels`: as for `torchsmooth.soft.quantize`. They become a buffer of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftQuantize([-1.0, 0.5, 2.0], ts.Logistic(0.1), eval_mode="hard")
    >>> x = torch.tensor([-9.0, 0.0, 9.0])
    >>> layer(x)
    tensor([-1.0000,  0.3862,  2.0000])
    >>> layer.eval()(x)
    tensor([-1.0000,  0.5000,  2.0000])
    """

    _operands = ("levels",)
    levels: Tensor

    def __init__(
        self,
        levels: Tensor | Sequence[float],
        distribution: AbstractDistribution,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        if not isinstance(levels, Tensor):
            levels = torch.tensor([float(level) for level in levels])
        self._hold(levels)

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.quantize(x, self.levels, self.distribution)

    def _checked(self, *inputs: Any) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
        (x,) = inputs
        return elementwise(x, self.distribution)  # the levels are a row, and do not broadcast

    def _exact(self, x: Tensor) -> Tensor:
        levels = self.levels.to(x.dtype)
        thresholds = 0.5 * (levels[1:] + levels[:-1]).detach()
        nearest = levels[torch.bucketize(x.detach().contiguous(), thresholds)]
        return torch.where(x.isnan(), x, nearest)
