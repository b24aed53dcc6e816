"""Layers of elementwise functions with a jump or a kink."""

from typing import final

import torch
from torch import Tensor

from .. import soft
from ..distributions import AbstractDistribution
from ._elementwise_layer import AbstractUnaryLayer
from ._smoothing_layer import EvalMode


def _heaviside(x: Tensor) -> Tensor:
    # Of torch's own, no derivative is implemented.
    return torch.heaviside(x.detach(), torch.zeros_like(x))


def _log_heaviside(x: Tensor) -> Tensor:
    return _heaviside(x).log()


# torch's own threshold and hardshrink take numbers only. Like them, these pass NaN on.


def _threshold(x: Tensor, threshold: Tensor, value: Tensor) -> Tensor:
    return torch.where(x <= threshold, value, x)


def _hardshrink(x: Tensor, lambd: Tensor) -> Tensor:
    return torch.where((-lambd <= x) & (x <= lambd), 0.0, x)


@final
class SoftHeaviside(AbstractUnaryLayer):
    """P(x + noise > 0), the smoothed step: `torchsmooth.soft.heaviside`.

    In evaluation with `eval_mode="hard"` it is 1 where x > 0, else 0 (`torch.heaviside` with 0 at
    0), without a gradient.

    **Arguments:** as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.heaviside` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftHeaviside(ts.Logistic(0.5), eval_mode="hard")
    >>> x = torch.tensor([-1.0, 0.0, 1.0])
    >>> layer(x)
    tensor([0.1192, 0.5000, 0.8808])
    >>> layer.eval()(x)
    tensor([0., 0., 1.])
    """

    _smoothed = staticmethod(soft.heaviside)
    _exact = staticmethod(_heaviside)


@final
class SoftLogHeaviside(AbstractUnaryLayer):
    """log P(x + noise > 0), without underflow: `torchsmooth.soft.log_heaviside`.

    In evaluation with `eval_mode="hard"` it is 0 where x > 0, else -inf, without a gradient.

    **Arguments:** as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.log_heaviside` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftLogHeaviside(ts.Logistic())(torch.tensor([-400.0, 0.0]))  # logsigmoid
    tensor([-400.0000,   -0.6931])
    """

    _smoothed = staticmethod(soft.log_heaviside)
    _exact = staticmethod(_log_heaviside)


@final
class SoftSign(AbstractUnaryLayer):
    """E sign(x + noise): `torchsmooth.soft.sign`.

    In evaluation with `eval_mode="hard"` it is `torch.sign`.

    **Arguments:** as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.sign` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftSign(ts.Logistic(0.5), eval_mode="hard")
    >>> x = torch.tensor([-1.0, 0.0, 1.0])
    >>> layer(x)  # tanh
    tensor([-0.7616,  0.0000,  0.7616])
    >>> layer.eval()(x)
    tensor([-1.,  0.,  1.])
    """

    _smoothed = staticmethod(soft.sign)
    _exact = staticmethod(torch.sign)


@final
class SoftAbs(AbstractUnaryLayer):
    """E |x + noise|: `torchsmooth.soft.abs`.

    In evaluation with `eval_mode="hard"` it is `torch.abs`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.abs` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAbs(ts.Laplace())(torch.tensor([-2.0, 0.0]))  # |x| + exp(-|x|)
    tensor([2.1353, 1.0000])
    """

    _smoothed = staticmethod(soft.abs)
    _exact = staticmethod(torch.abs)


@final
class SoftReLU(AbstractUnaryLayer):
    """E max(x + noise, 0): `torchsmooth.soft.relu`.

    In evaluation with `eval_mode="hard"` it is `torch.relu`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.relu` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftReLU(ts.Logistic())(torch.tensor([-1.0, 0.0, 1.0]))  # softplus
    tensor([0.3133, 0.6931, 1.3133])
    """

    _smoothed = staticmethod(soft.relu)
    _exact = staticmethod(torch.relu)


@final
class SoftClamp(AbstractUnaryLayer):
    """E clamp(x + noise, lo, hi): `torchsmooth.soft.clamp`.

    In evaluation with `eval_mode="hard"` it is `torch.clamp`.

    **Arguments:**

    - `lo`, `hi`: as for `torchsmooth.soft.clamp`. Tensors become buffers of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.clamp` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftClamp(0.0, 1.0, ts.Gaussian(0.5), eval_mode="hard")
    >>> x = torch.tensor([-9.0, 0.5, 9.0])
    >>> layer(x)
    tensor([0.0000, 0.5000, 1.0000])
    >>> layer.eval()(x)
    tensor([0.0000, 0.5000, 1.0000])
    """

    _smoothed = staticmethod(soft.clamp)
    _exact = staticmethod(torch.clamp)
    _options = ("lo", "hi")
    lo: float | Tensor
    hi: float | Tensor

    def __init__(
        self,
        lo: float | Tensor,
        hi: float | Tensor,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_operands(lo, hi)


@final
class SoftThreshold(AbstractUnaryLayer):
    """E of x + noise where that exceeds the threshold, else `value`: `torchsmooth.soft.threshold`.

    In evaluation with `eval_mode="hard"` it is `torch.nn.functional.threshold`.

    **Arguments:**

    - `threshold`, `value`: as for `torchsmooth.soft.threshold`. Tensors become buffers of the
        layer; an `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`. The law has a mean:
        not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.threshold` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftThreshold(1.0, -1.0, ts.Gaussian(0.5))(torch.tensor([-5.0, 5.0]))
    tensor([-1.,  5.])
    """

    _smoothed = staticmethod(soft.threshold)
    _exact = staticmethod(_threshold)
    _options = ("threshold", "value")
    threshold: float | Tensor
    value: float | Tensor

    def __init__(
        self,
        threshold: float | Tensor,
        value: float | Tensor,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_operands(threshold, value)


@final
class SoftHardshrink(AbstractUnaryLayer):
    """E of x + noise where its size exceeds lambd, else 0: `torchsmooth.soft.hardshrink`.

    In evaluation with `eval_mode="hard"` it is `torch.nn.functional.hardshrink`.

    **Arguments:**

    - `lambd`: as for `torchsmooth.soft.hardshrink`. A tensor becomes a buffer of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`. The law has a mean:
        not Cauchy.

    **Returns:** called with x, a tensor of its shape broadcast against the scale, of the promoted
    dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.hardshrink` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftHardshrink(1.0, ts.Gaussian(0.2))(torch.tensor([0.0, 5.0]))
    tensor([0., 5.])
    """

    _smoothed = staticmethod(soft.hardshrink)
    _exact = staticmethod(_hardshrink)
    _options = ("lambd",)
    lambd: float | Tensor

    def __init__(
        self,
        lambd: float | Tensor,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_operands(lambd)
