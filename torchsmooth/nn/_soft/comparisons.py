"""Layers of two inputs. The noise is on the difference a - b."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from ... import soft
from ...distributions import AbstractDistribution
from ...soft._operands import elementwise, pair
from .elementwise_layer import AbstractElementwiseLayer, LayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


class AbstractPairLayer(AbstractElementwiseLayer):
    """An elementwise layer of two inputs, of which one may be a number.

    **Arguments:** as for `AbstractElementwiseLayer`.
    """

    _inputs = 2

    def _checked(self, *inputs: Any) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
        a, b = inputs
        return pair(a, b, self.distribution)


@final
class SoftMaximum(AbstractPairLayer):
    """E max(a + noise, b): `torchsmooth.soft.maximum`.

    In evaluation with `eval_mode="hard"` it is `torch.maximum`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftMaximum(ts.Logistic())(torch.tensor([-3.0, 0.0, 3.0]), 0.0)
    tensor([0.0486, 0.6931, 3.0486])
    """

    def _smooth(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        return soft.maximum(a, b, self.distribution)

    def _exact(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)


@final
class SoftMinimum(AbstractPairLayer):
    """E min(a + noise, b): `torchsmooth.soft.minimum`.

    In evaluation with `eval_mode="hard"` it is `torch.minimum`.

    **Arguments:** as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftMinimum(ts.Logistic())(torch.tensor([-3.0, 0.0, 3.0]), 0.0)
    tensor([-3.0486, -0.6931, -0.0486])
    """

    def _smooth(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        return soft.minimum(a, b, self.distribution)

    def _exact(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.minimum(a, b)


@final
class SoftGreater(AbstractPairLayer):
    """P(a + noise > b): `torchsmooth.soft.greater`.

    In evaluation with `eval_mode="hard"` it is `torch.greater`, as a number: 1 or 0.

    **Arguments:** as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftGreater(ts.Logistic(0.5), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0])
    >>> layer(x, 0.0)
    tensor([0.5000, 0.8808])
    >>> layer.eval()(x, 0.0)
    tensor([0., 1.])
    """

    def _smooth(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        return soft.greater(a, b, self.distribution)

    def _exact(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.greater(a, b)


@final
class SoftLess(AbstractPairLayer):
    """P(a + noise < b): `torchsmooth.soft.less`.

    In evaluation with `eval_mode="hard"` it is `torch.less`, as a number: 1 or 0.

    **Arguments:** as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftLess(ts.Logistic(0.5))(torch.tensor([0.0, 1.0]), 0.0)
    tensor([0.5000, 0.1192])
    """

    def _smooth(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        return soft.less(a, b, self.distribution)

    def _exact(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.less(a, b)


@final
class SoftEqual(AbstractPairLayer):
    """P(|a - b + noise| < tolerance): `torchsmooth.soft.equal`.

    In evaluation with `eval_mode="hard"` it is 1 where |a - b| < tolerance, else 0.

    **Arguments:**

    - `tolerance`: as for `torchsmooth.soft.equal`. A tensor becomes a buffer of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftEqual(0.5, ts.Gaussian(0.25), eval_mode="hard")
    >>> x = torch.tensor([0.0, 0.5, 1.0])
    >>> layer(x, 0.0)
    tensor([0.9545, 0.5000, 0.0228])
    >>> layer.eval()(x, 0.0)
    tensor([1., 0., 0.])
    """

    _operands = ("tolerance",)
    tolerance: float | Tensor

    def __init__(
        self,
        tolerance: float | Tensor,
        distribution: AbstractDistribution,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self._hold(tolerance)

    def _smooth(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        return soft.equal(a, b, self.tolerance, self.distribution)

    def _checked(self, *inputs: Any) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
        law, dtype, (a, b) = super()._checked(*inputs)
        _, _, (_, tolerance) = elementwise(a, law, tolerance=self.tolerance)
        return law, dtype, [a - b, tolerance]

    def _exact(self, difference: Tensor, tolerance: Tensor) -> Tensor:
        return difference.abs() < tolerance
