"""Layers of elementwise functions with a jump or a kink."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from ... import soft
from ...distributions import AbstractDistribution
from .elementwise_layer import AbstractElementwiseLayer, LayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class SoftHeaviside(AbstractElementwiseLayer):
    """P(x + noise > 0), the smoothed step: `torchsmooth.soft.heaviside`.

    In evaluation with `eval_mode="hard"` it is 1 where x > 0, else 0 (`torch.heaviside` with 0 at
    0), without a gradient.

    **Arguments:** as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftHeaviside(ts.Logistic(0.5), eval_mode="hard")
    >>> x = torch.tensor([-1.0, 0.0, 1.0])
    >>> layer(x)
    tensor([0.1192, 0.5000, 0.8808])
    >>> layer.eval()(x)
    tensor([0., 0., 1.])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.heaviside(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return _heaviside(x)


@final
class SoftLogHeaviside(AbstractElementwiseLayer):
    """log P(x + noise > 0), without underflow: `torchsmooth.soft.log_heaviside`.

    In evaluation with `eval_mode="hard"` it is 0 where x > 0, else -inf, without a gradient.

    **Arguments:** as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftLogHeaviside(ts.Logistic())(torch.tensor([-400.0, 0.0]))  # logsigmoid
    tensor([-400.0000,   -0.6931])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.log_heaviside(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return _heaviside(x).log()


@final
class SoftSign(AbstractElementwiseLayer):
    """E sign(x + noise): `torchsmooth.soft.sign`.

    In evaluation with `eval_mode="hard"` it is `torch.sign`.

    **Arguments:** as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftSign(ts.Logistic(0.5), eval_mode="hard")
    >>> x = torch.tensor([-1.0, 0.0, 1.0])
    >>> layer(x)  # tanh
    tensor([-0.7616,  0.0000,  0.7616])
    >>> layer.eval()(x)
    tensor([-1.,  0.,  1.])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.sign(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return torch.sign(x)


@final
class SoftAbs(AbstractElementwiseLayer):
    """E |x + noise|: `torchsmooth.soft.abs`.

    In evaluation with `eval_mode="hard"` it is `torch.abs`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAbs(ts.Laplace())(torch.tensor([-2.0, 0.0]))  # |x| + exp(-|x|)
    tensor([2.1353, 1.0000])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.abs(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return torch.abs(x)


@final
class SoftReLU(AbstractElementwiseLayer):
    """E max(x + noise, 0): `torchsmooth.soft.relu`.

    In evaluation with `eval_mode="hard"` it is `torch.relu`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftReLU(ts.Logistic())(torch.tensor([-1.0, 0.0, 1.0]))  # softplus
    tensor([0.3133, 0.6931, 1.3133])
    """

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.relu(x, self.distribution)

    def _exact(self, x: Tensor) -> Tensor:
        return torch.relu(x)


@final
class SoftClamp(AbstractElementwiseLayer):
    """E clamp(x + noise, lo, hi): `torchsmooth.soft.clamp`.

    In evaluation with `eval_mode="hard"` it is `torch.clamp`.

    **Arguments:**

    - `lo`, `hi`: as for `torchsmooth.soft.clamp`. Tensors become buffers of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftClamp(0.0, 1.0, ts.Gaussian(0.5), eval_mode="hard")
    >>> x = torch.tensor([-9.0, 0.5, 9.0])
    >>> layer(x)
    tensor([0.0000, 0.5000, 1.0000])
    >>> layer.eval()(x)
    tensor([0.0000, 0.5000, 1.0000])
    """

    _operands = ("lo", "hi")
    lo: float | Tensor
    hi: float | Tensor

    def __init__(
        self,
        lo: float | Tensor,
        hi: float | Tensor,
        distribution: AbstractDistribution,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self._hold(lo, hi)

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.clamp(x, self.lo, self.hi, self.distribution)

    def _exact(self, x: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
        return torch.clamp(x, lo, hi)


@final
class SoftThreshold(AbstractElementwiseLayer):
    """E of x + noise where that exceeds the threshold, else `value`: `torchsmooth.soft.threshold`.

    In evaluation with `eval_mode="hard"` it is `torch.nn.functional.threshold`.

    **Arguments:**

    - `threshold`, `value`: as for `torchsmooth.soft.threshold`. Tensors become buffers of the
        layer; an `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`. The law has a mean:
        not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftThreshold(1.0, -1.0, ts.Gaussian(0.5))(torch.tensor([-5.0, 5.0]))
    tensor([-1.,  5.])
    """

    _operands = ("threshold", "value")
    threshold: float | Tensor
    value: float | Tensor

    def __init__(
        self,
        threshold: float | Tensor,
        value: float | Tensor,
        distribution: AbstractDistribution,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self._hold(threshold, value)

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.threshold(x, self.threshold, self.value, self.distribution)

    def _exact(self, x: Tensor, threshold: Tensor, value: Tensor) -> Tensor:
        # torch's own takes numbers only; like it, NaN is passed on.
        return torch.where(x <= threshold, value, x)


@final
class SoftHardshrink(AbstractElementwiseLayer):
    """E of x + noise where its size exceeds lambd, else 0: `torchsmooth.soft.hardshrink`.

    In evaluation with `eval_mode="hard"` it is `torch.nn.functional.hardshrink`.

    **Arguments:**

    - `lambd`: as for `torchsmooth.soft.hardshrink`. A tensor becomes a buffer of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`. The law has a mean:
        not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftHardshrink(1.0, ts.Gaussian(0.2))(torch.tensor([0.0, 5.0]))
    tensor([0., 5.])
    """

    _operands = ("lambd",)
    lambd: float | Tensor

    def __init__(
        self,
        lambd: float | Tensor,
        distribution: AbstractDistribution,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self._hold(lambd)

    def _smooth(self, x: Tensor) -> Tensor:
        return soft.hardshrink(x, self.lambd, self.distribution)

    def _exact(self, x: Tensor, lambd: Tensor) -> Tensor:
        # torch's own takes numbers only; like it, NaN is passed on.
        return torch.where((-lambd <= x) & (x <= lambd), 0.0, x)


def _heaviside(x: Tensor) -> Tensor:
    # Of torch's own, no derivative is implemented.
    return torch.heaviside(x.detach(), torch.zeros_like(x))
