"""The ops of the sort family."""

from typing import Any, NamedTuple

from torch import Tensor

from .._typing import Jacobian, SortOutput
from . import reference
from .fused_op import Drawing, Estimator, empty_gradients, empty_means
from .interrupts import interruptible
from .library import ops, register_fake, register_twin
from .reference.sort import sort_outcome


# The CPU accumulates the Jacobian while it sorts up to so many elements, see in_one_pass.
ONE_PASS_MATRIX = 128
ONE_PASS_VECTOR = 32


class SortTask(NamedTuple):
    """Which property of a sorted row is wanted, see `reference.sort.sort_outcome`."""

    descending: bool
    output: SortOutput
    first: int
    last: int


def outcome_shape(x: Tensor, task: SortTask) -> tuple[int, ...]:  # x [B, n]
    """The shape of what is wanted of one row."""
    positions = task.last - task.first
    return (positions, x.shape[1]) if task.output == "matrix" else (positions,)


@register_fake("sort")
def _(x: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, descending, output, first, last, _, _, _, jacobian = options
    return empty_means(x, outcome_shape(x, SortTask(descending, output, first, last)), jacobian)


@register_fake("sort_backward")
def _(grad: Tensor, center: Tensor, x: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    return empty_gradients(x, scale_gradient=options[-1])


for _name in ("sort", "sort_backward"):
    register_twin(_name, getattr(reference, _name))


class SortOp(NamedTuple):
    """The op `sort`."""

    drawing: Drawing
    task: SortTask
    estimator: Estimator

    def in_one_pass(self, x: Tensor, jacobian: Jacobian) -> bool:
        """It is where the additions of a sample cost less than drawing and sorting it again, and
        where the sums stay in the cache.
        """
        n = x.shape[1]
        if self.task.output != "matrix":
            return n <= ONE_PASS_VECTOR
        positions = self.task.last - self.task.first
        vectors = -(-(n + 1) // 8)  # of a register's width, in a row of the table
        return n <= ONE_PASS_MATRIX and positions * vectors <= 3 * n

    def mean(self, jacobian: Jacobian, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        options = *self.drawing, *self.task, *self.estimator
        means: tuple[Tensor, Tensor, Tensor]
        means = interruptible(ops.sort.default, *tensors, *options, jacobian)
        return means

    def gradients(
        self, needs_scale: bool, grad: Tensor, center: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        _, *weights = self.estimator
        options = *self.drawing, *self.task, *weights
        gradients: tuple[Tensor, Tensor]
        gradients = interruptible(
            ops.sort_backward.default, grad, center, *tensors, *options, needs_scale
        )
        return gradients

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        return sort_outcome(x, *self.task)
