"""The ops of the sort family."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import _reference
from ..hard.sorting import sort_outcome
from .autograd import below_autograd
from .fused import fused_mean
from .library import ops, register_twin


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
    register_twin(_name, getattr(_reference, _name))


class SortOptions(NamedTuple):
    """The arguments of the sorting ops that are not tensors, in the order of their schemas."""

    law: str
    sampler: str
    antithetic: bool
    num_samples: int
    descending: bool
    output: str
    first: int
    last: int
    baseline: str
    factor: float
    pair_weight: float

    def in_one_pass(self, x: Tensor, jacobian: str) -> bool:
        """It is where the additions of a sample cost less than drawing and sorting it again, and
        where the sums stay in the cache.
        """
        n = x.shape[1]
        if self.output != "matrix":
            return n <= ONE_PASS_VECTOR
        positions = self.last - self.first
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
        return below_autograd(ops.sort.default, x, scale, seed, directions, *self, jacobian)

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
        *noise_and_sorting, _, factor, pair_weight = self
        return below_autograd(
            ops.sort_backward.default,
            grad,
            center,
            x,
            scale,
            seed,
            directions,
            *noise_and_sorting,
            factor,
            pair_weight,
            needs_scale,
        )

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        return sort_outcome(x, self.descending, self.output, self.first, self.last)


def sort(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
    seed: Tensor,
    directions: Tensor,
    options: SortOptions,
    drawn: bool,
) -> Tensor:  # [B, *outcome]
    """The op `sort` with its derivatives."""
    return fused_mean(options, x, scale, seed, directions, drawn=drawn)
