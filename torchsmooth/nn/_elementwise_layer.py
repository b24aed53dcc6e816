"""The base of all elementwise layers: operands as state, and one way to their exact operators."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from ..distributions import AbstractDistribution
from ..soft._operands import elementwise, pair
from ._layer import P, own
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


class AbstractElementwiseLayer(AbstractSmoothingLayer[P, Tensor]):
    """A smoothing layer that applies an operator of torch to every element of its input.

    In evaluation with `eval_mode="hard"` it is that operator, with the gradient that torch gives
    it, in the shape and the type of the smoothed result.

    **Arguments:** as for `AbstractSmoothingLayer`. Operands that subclasses take (bounds,
    thresholds, levels) may be numbers, tensors, of which the layer keeps a copy as a buffer, or an
    `nn.Parameter`, which is learned.

    **Raises:** TypeError or ValueError if an argument is not what is said above, or is none that
    the function of torchsmooth.soft takes: a law without a mean for an unbounded operator, say.

    **Subclassing.** Subclasses are final or abstract. Final ones name the function of
    torchsmooth.soft as `_smoothed`, which takes the inputs, the operands and the distribution, and
    implement `_hard`. Their operands are named in `_options`; `__init__` ends with
    `_hold_operands` of their values.
    """

    _inputs: ClassVar[int] = 1
    _smoothed: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        if not self._options:
            self._hold_operands()

    def _hold_operands(self, *operands: float | Tensor) -> None:
        for name, value in zip(self._options, operands, strict=True):
            self._hold(name, own(value, name))
        # The function looks at the law and the operands here and now, not only in the first call.
        state = next(iter(self.state_dict().values()))
        with torch.no_grad():
            self._smooth_of(*(state.new_zeros(()) for _ in range(self._inputs)))

    def _smooth_of(self, *inputs: Tensor | float) -> Tensor:
        return self._smoothed(*inputs, *self._given().values(), self.distribution)


class AbstractUnaryLayer(AbstractElementwiseLayer[[Tensor]]):
    """An elementwise layer of one input.

    **Arguments:** as for `AbstractElementwiseLayer`.

    **Subclassing.** As for `AbstractElementwiseLayer`, with `_exact` in place of `_hard`: the
    operator of torch, of the input and then the operands, all of one shape and type.
    """

    _exact: ClassVar[Callable[..., Tensor]]

    def _smooth(self, x: Tensor) -> Tensor:
        return self._smooth_of(x)

    def _hard(self, x: Tensor) -> Tensor:
        _, dtype, tensors = elementwise(x, self.distribution, **self._given())
        return self._exact(*self._expand_to_scale(*tensors)).to(dtype)


class AbstractPairLayer(AbstractElementwiseLayer[[Tensor | float, Tensor | float]]):
    """An elementwise layer of two inputs, of which one may be a number.

    **Arguments:** as for `AbstractElementwiseLayer`.

    **Subclassing.** As for `AbstractElementwiseLayer`, with `_exact` in place of `_hard`: the
    operator of torch, of the two inputs, of one shape and type.
    """

    _inputs = 2
    _exact: ClassVar[Callable[..., Tensor]]

    def _smooth(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        return self._smooth_of(a, b)

    def _hard(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        _, dtype, tensors = pair(a, b, self.distribution)
        return self._exact(*self._expand_to_scale(*tensors)).to(dtype)
