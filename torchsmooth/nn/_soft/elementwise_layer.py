"""What all elementwise layers share: operands as state, and one way to their exact operators."""

import abc
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from ...distributions import AbstractDistribution
from ...soft._operands import elementwise
from .._smoothing_layer import AbstractSmoothingLayer


class LayerOptions(TypedDict, total=False):
    """The keywords that all smoothing layers take."""

    learn_scale: bool
    eval_mode: str


class AbstractElementwiseLayer(AbstractSmoothingLayer):
    """A smoothing layer that applies an operator of torch to every element of its input.

    In evaluation with `eval_mode="hard"` it is that operator, with the gradient that torch gives
    it, in the shape and the type of the smoothed result.

    **Arguments:** as for `AbstractSmoothingLayer`. Operands that subclasses take (bounds,
    thresholds, levels) may be numbers, tensors, of which the layer keeps a copy as a buffer, or an
    `nn.Parameter`, which is learned.

    **Raises:** TypeError or ValueError if an argument is not what is said above, or is none that
    the function of torchsmooth.soft takes: a law without a mean for an unbounded operator, say.

    **Subclassing.** As for `AbstractSmoothingLayer`, but with `_exact` in place of `_hard`, and
    without `extra_repr`. The names of operands stand in `_operands`; `__init__` ends with `_hold`
    of their values.
    """

    _operands: ClassVar[tuple[str, ...]] = ()
    _inputs: ClassVar[int] = 1

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: str = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        if not self._operands:
            self._hold()

    def _hold(self, *operands: float | Tensor) -> None:
        for name, value in zip(self._operands, operands, strict=True):
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                if value.requires_grad:
                    raise ValueError(
                        f"{name} must be a number, a tensor that requires no grad, because the "
                        "layer keeps a copy, or an nn.Parameter, got a tensor that requires grad; "
                        f"pass nn.Parameter({name}.detach()) if it is to be learned, or use "
                        "torchsmooth.soft"
                    )
                self.register_buffer(name, value.clone())
            else:
                setattr(self, name, value)
        # The function looks at the law and the operands here and now, not only in the first call.
        state = next(iter(self.state_dict().values()))
        with torch.no_grad():
            self._smooth(*(state.new_zeros(()) for _ in range(self._inputs)))

    def _hard(self, *inputs: Tensor | float) -> Tensor:
        law, dtype, tensors = self._checked(*inputs)
        assert isinstance(law.scale, Tensor)  # the layer's state
        # With the scale, because the smoothed result has its dimensions too.
        *tensors, _ = torch.broadcast_tensors(*tensors, law.scale)
        return self._exact(*tensors).to(dtype)

    def _checked(self, *inputs: Any) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
        """Inputs and operands in the type to compute in, after the checks of the smooth road."""
        (x,) = inputs
        operands = {name: getattr(self, name) for name in self._operands}
        return elementwise(x, self.distribution, **operands)

    @abc.abstractmethod
    def _exact(self, *tensors: Any) -> Tensor:
        """The operator of torch, of the inputs and then the operands, all of one shape and type."""

    def extra_repr(self) -> str:
        own = (f", {name}={_describe(getattr(self, name))}" for name in self._operands)
        return super().extra_repr() + "".join(own)


def _describe(operand: float | Tensor) -> str:
    # The values of a tensor stay out: they may be many, or on a busy device.
    if isinstance(operand, Tensor):
        return f"<{operand.dtype} tensor of shape {tuple(operand.shape)}>"
    return repr(operand)
