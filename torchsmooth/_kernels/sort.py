"""The ops of the sort family."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import reference
from .fused_op import Drawing, Estimator
from .interrupts import interruptible
from .library import ops, register_twin
from .reference.sort import sort_outcome


# The CPU accumulates the Jacobian while it sorts up to so many elements, see in_one_pass.
ONE_PASS_MATRIX = 128
ONE_PASS_VECTOR = 32


def _outcome_shape(x: Tensor, output: str, first: int, last: int) -> tuple[int, ...]:
    elements, n = x.shape
    return (elements, last - first, n) if output == "matrix" else (elements, last - first)


@torch.library.register_fake("torchsmooth::sort")
def _(
    x,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    descending,
    output,
    first,
    last,
    baseline,
    factor,
    pair_weight,
    jacobian,
):
    shape = _outcome_shape(x, output, first, last)
    absent, full = (0,), (*shape, x.shape[1])
    return (
        x.new_empty(shape),
        x.new_empty(absent if jacobian == "none" else full),
        x.new_empty(full if jacobian == "x_and_scale" else absent),
    )


@torch.library.register_fake("torchsmooth::sort_backward")
def _(
    grad,
    baseline,
    x,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    descending,
    output,
    first,
    last,
    factor,
    pair_weight,
    scale_gradient,
):
    elements, n = x.shape
    return x.new_empty((elements, n)), x.new_empty((elements, n if scale_gradient else 0))


for _name in ("sort", "sort_backward"):
    register_twin(_name, getattr(reference, _name))


class SortTask(NamedTuple):
    """Which property of a sorted row is wanted, see `reference.sort.sort_outcome`."""

    descending: bool
    output: str
    first: int
    last: int


class SortOp(NamedTuple):
    """The op `sort`."""

    drawing: Drawing
    task: SortTask
    estimator: Estimator

    def in_one_pass(self, x: Tensor, jacobian: str) -> bool:
        """It is where the additions of a sample cost less than drawing and sorting it again, and
        where the sums stay in the cache.
        """
        n = x.shape[1]
        if self.task.output != "matrix":
            return n <= ONE_PASS_VECTOR
        positions = self.task.last - self.task.first
        vectors = -(-(n + 1) // 8)  # of a register's width, in a row of the table
        return n <= ONE_PASS_MATRIX and positions * vectors <= 3 * n

    def mean(
        self,
        jacobian: str,
        x: Tensor,  # [B, n]
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        *extras: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        tensors = x, scale, seed, directions
        options = *self.drawing, *self.task, *self.estimator
        return interruptible(ops.sort.default, *tensors, *options, jacobian)

    def gradients(
        self,
        needs_scale: bool,
        grad: Tensor,
        center: Tensor,
        x: Tensor,
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        *extras: Tensor,
    ) -> tuple[Tensor, Tensor]:
        return interruptible(
            ops.sort_backward.default,
            grad,
            center,
            x,
            scale,
            seed,
            directions,
            *self.drawing,
            *self.task,
            self.estimator.factor,
            self.estimator.pair_weight,
            needs_scale,
        )

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        return sort_outcome(x, *self.task)
