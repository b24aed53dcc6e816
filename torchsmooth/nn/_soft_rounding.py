"""Layers of staircases."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from .. import soft
from ..distributions import AbstractDistribution
from ..soft._operands import elementwise
from ._elementwise_layer import AbstractElementwiseLayer, AbstractUnaryLayer
from ._smoothing_layer import EvalMode


@final
class SoftRound(AbstractUnaryLayer):
    """E round(x + noise): `torchsmooth.soft.round`.

    In evaluation with `eval_mode="hard"` it is `torch.round`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.round` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftRound(ts.Gaussian(0.1), eval_mode="hard")
    >>> x = torch.tensor([0.4, 0.5, 1.0])
    >>> layer(x)
    tensor([0.1587, 0.5000, 1.0000])
    >>> layer.eval()(x)
    tensor([0., 0., 1.])
    """

    _smoothed = staticmethod(soft.round)
    _exact = staticmethod(torch.round)


@final
class SoftFloor(AbstractUnaryLayer):
    """E floor(x + noise): `torchsmooth.soft.floor`.

    In evaluation with `eval_mode="hard"` it is `torch.floor`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.floor` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftFloor(ts.Gaussian(0.1))(torch.tensor([0.0, 0.1, 0.5]))
    tensor([-0.5000, -0.1587,  0.0000])
    """

    _smoothed = staticmethod(soft.floor)
    _exact = staticmethod(torch.floor)


@final
class SoftCeil(AbstractUnaryLayer):
    """E ceil(x + noise): `torchsmooth.soft.ceil`.

    In evaluation with `eval_mode="hard"` it is `torch.ceil`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.ceil` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftCeil(ts.Gaussian(0.1))(torch.tensor([0.0, 0.1, 0.5]))
    tensor([0.5000, 0.8413, 1.0000])
    """

    _smoothed = staticmethod(soft.ceil)
    _exact = staticmethod(torch.ceil)


@final
class SoftTrunc(AbstractUnaryLayer):
    """E trunc(x + noise): `torchsmooth.soft.trunc`.

    In evaluation with `eval_mode="hard"` it is `torch.trunc`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.trunc` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftTrunc(ts.Gaussian(0.1))(torch.tensor([0.0, 0.9, -1.5]))
    tensor([ 0.0000,  0.1587, -1.0000])
    """

    _smoothed = staticmethod(soft.trunc)
    _exact = staticmethod(torch.trunc)


@final
class SoftQuantize(AbstractElementwiseLayer[[Tensor]]):
    """The expectation of the level nearest to x + noise: `torchsmooth.soft.quantize`.

    In evaluation with `eval_mode="hard"` it is the nearest level itself, the lower one halfway
    between two (`torch.bucketize`).

    **Arguments:**

    - `levels`: as for `torchsmooth.soft.quantize`. They become a buffer of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.quantize` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftQuantize([-1.0, 0.5, 2.0], ts.Logistic(0.1), eval_mode="hard")
    >>> x = torch.tensor([-9.0, 0.0, 9.0])
    >>> layer(x)
    tensor([-1.0000,  0.3862,  2.0000])
    >>> layer.eval()(x)
    tensor([-1.0000,  0.5000,  2.0000])
    """

    _smoothed = staticmethod(soft.quantize)
    _options = ("levels",)
    levels: Tensor

    def __init__(
        self,
        levels: Tensor | Sequence[float],
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        if not isinstance(levels, Tensor):
            levels = torch.tensor([float(level) for level in levels])
        self._hold_operands(levels)

    def _smooth(self, x: Tensor) -> Tensor:
        return self._smooth_of(x)

    def _hard(self, x: Tensor) -> Tensor:
        # The levels are a row, and do not broadcast against x.
        _, dtype, tensors = elementwise(x, self.distribution)
        (x,) = self._expand_to_scale(*tensors)
        levels = self.levels.to(x.dtype)
        thresholds = 0.5 * (levels[1:] + levels[:-1]).detach()
        nearest = levels[torch.bucketize(x.detach().contiguous(), thresholds)]
        return torch.where(x.isnan(), x, nearest).to(dtype)
