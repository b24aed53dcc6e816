"""Layers of comparisons and extrema of two inputs. The noise is on the difference a - b."""

from typing import final

import torch
from torch import Tensor

from .. import soft
from ..distributions import AbstractDistribution
from ..soft._operands import elementwise, pair
from ._elementwise_layer import AbstractElementwiseLayer, AbstractPairLayer
from ._smoothing_layer import EvalMode


@final
class SoftMaximum(AbstractPairLayer):
    """E max(a + noise, b): `torchsmooth.soft.maximum`.

    In evaluation with `eval_mode="hard"` it is `torch.maximum`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with a and b, of which one may be a number, a tensor of the shape to which
    they and the scale broadcast, of the promoted dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.maximum` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftMaximum(ts.Logistic())(torch.tensor([-3.0, 0.0, 3.0]), 0.0)
    tensor([0.0486, 0.6931, 3.0486])
    """

    _smoothed = staticmethod(soft.maximum)
    _exact = staticmethod(torch.maximum)


@final
class SoftMinimum(AbstractPairLayer):
    """E min(a + noise, b): `torchsmooth.soft.minimum`.

    In evaluation with `eval_mode="hard"` it is `torch.minimum`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with a and b, of which one may be a number, a tensor of the shape to which
    they and the scale broadcast, of the promoted dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.minimum` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftMinimum(ts.Logistic())(torch.tensor([-3.0, 0.0, 3.0]), 0.0)
    tensor([-3.0486, -0.6931, -0.0486])
    """

    _smoothed = staticmethod(soft.minimum)
    _exact = staticmethod(torch.minimum)


@final
class SoftGreater(AbstractPairLayer):
    """P(a + noise > b): `torchsmooth.soft.greater`.

    In evaluation with `eval_mode="hard"` it is `torch.greater`, as a number: 1 or 0.

    **Arguments:** as for `AbstractSmoothingLayer`.

    **Returns:** called with a and b, of which one may be a number, a tensor of the shape to which
    they and the scale broadcast, of the promoted dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.greater` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftGreater(ts.Logistic(0.5), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0])
    >>> layer(x, 0.0)
    tensor([0.5000, 0.8808])
    >>> layer.eval()(x, 0.0)
    tensor([0., 1.])
    """

    _smoothed = staticmethod(soft.greater)
    _exact = staticmethod(torch.greater)


@final
class SoftLess(AbstractPairLayer):
    """P(a + noise < b): `torchsmooth.soft.less`.

    In evaluation with `eval_mode="hard"` it is `torch.less`, as a number: 1 or 0.

    **Arguments:** as for `AbstractSmoothingLayer`.

    **Returns:** called with a and b, of which one may be a number, a tensor of the shape to which
    they and the scale broadcast, of the promoted dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.less` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftLess(ts.Logistic(0.5))(torch.tensor([0.0, 1.0]), 0.0)
    tensor([0.5000, 0.1192])
    """

    _smoothed = staticmethod(soft.less)
    _exact = staticmethod(torch.less)


@final
class SoftEqual(AbstractElementwiseLayer[[Tensor | float, Tensor | float]]):
    """P(|a - b + noise| < tolerance): `torchsmooth.soft.equal`.

    In evaluation with `eval_mode="hard"` it is 1 where |a - b| < tolerance, else 0.

    **Arguments:**

    - `tolerance`: as for `torchsmooth.soft.equal`. A tensor becomes a buffer of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with a and b, of which one may be a number, a tensor of the shape to which
    they and the scale broadcast, of the promoted dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.equal` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftEqual(0.5, ts.Gaussian(0.25), eval_mode="hard")
    >>> x = torch.tensor([0.0, 0.5, 1.0])
    >>> layer(x, 0.0)
    tensor([0.9545, 0.5000, 0.0228])
    >>> layer.eval()(x, 0.0)
    tensor([1., 0., 0.])
    """

    _smoothed = staticmethod(soft.equal)
    _inputs = 2
    _options = ("tolerance",)
    tolerance: float | Tensor

    def __init__(
        self,
        tolerance: float | Tensor,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_operands(tolerance)

    def _smooth(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        return self._smooth_of(a, b)

    def _hard(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        law, dtype, (first, second) = pair(a, b, self.distribution)
        _, _, (_, width) = elementwise(first, law, **self._given())
        difference, width = self._expand_to_scale(first - second, width)
        return (difference.abs() < width).to(dtype)
