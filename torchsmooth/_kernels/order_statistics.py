"""The ops for expected order statistics, without samples."""

from typing import Any, NamedTuple

from torch import Tensor

from .._torch_internals import below_autograd
from ..distributions import LAWS, AbstractDistribution
from . import reference
from .fused_op import empty_gradients
from .library import ops, register_fake, register_twin
from .sort import SortTask, outcome_shape


@register_fake("order_statistics")
def _(x: Tensor, scale: Tensor, law: str, *task: Any) -> Tensor:
    return x.new_empty(x.shape[0], *outcome_shape(x, SortTask(*task)))


@register_fake("order_statistics_backward")
def _(grad: Tensor, x: Tensor, scale: Tensor, law: str, *options: Any) -> tuple[Tensor, Tensor]:
    return empty_gradients(x, scale_gradient=options[-1])


for _name in ("order_statistics", "order_statistics_backward"):
    register_twin(_name, getattr(reference, _name))


class OrderOp(NamedTuple):
    """The op `order_statistics`."""

    law: str
    task: SortTask

    @property
    def distribution(self) -> AbstractDistribution:
        return LAWS[self.law]()

    def expectation(self, x: Tensor, scale: Tensor) -> Tensor:  # [B, n] -> [B, *outcome]
        mean: Tensor = below_autograd(ops.order_statistics.default, x, scale, self.law, *self.task)
        return mean

    def gradients(
        self, needs_scale: bool, grad: Tensor, x: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:  # [B, n], and [B, n or 0]
        gradients: tuple[Tensor, Tensor] = below_autograd(
            ops.order_statistics_backward.default,
            grad.contiguous(),
            x,
            scale,
            self.law,
            *self.task,
            needs_scale,
        )
        return gradients
