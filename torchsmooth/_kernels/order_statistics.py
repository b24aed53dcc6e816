"""The ops for expected order statistics, without samples."""

from typing import NamedTuple

import torch
from torch import Tensor

from .._torch_internals import below_autograd
from ..distributions import LAWS, AbstractDistribution
from . import reference
from .library import ops, register_twin
from .sort import SortTask, outcome_shape


@torch.library.register_fake("torchsmooth::order_statistics")
def _(x, scale, law, descending, output, first, last):
    return x.new_empty(outcome_shape(x, output, first, last))


@torch.library.register_fake("torchsmooth::order_statistics_backward")
def _(grad, x, scale, law, descending, output, first, last, scale_gradient):
    elements, n = x.shape
    return x.new_empty((elements, n)), x.new_empty((elements, n if scale_gradient else 0))


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
        return below_autograd(ops.order_statistics.default, x, scale, self.law, *self.task)

    def gradients(
        self, needs_scale: bool, grad: Tensor, x: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:  # [B, n], and [B, n or 0]
        return below_autograd(
            ops.order_statistics_backward.default,
            grad.contiguous(),
            x,
            scale,
            self.law,
            *self.task,
            needs_scale,
        )
