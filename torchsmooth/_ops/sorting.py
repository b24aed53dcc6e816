"""The ops of the sort family."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _reference
from ..hard.sorting import sort_outcome
from .autograd import NoVmap, below_autograd, first_order, in_plain_eager
from .library import ops, register_twin


# The CPU accumulates the Jacobian while it sorts up to so many elements, see _in_one_pass.
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
    """The arguments of the sorting ops that are not tensors, in the order of their schemas.

    Autograd functions take them as one argument: `apply` looks at every parameter in every call.
    """

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


def _contract(grad: Tensor, jacobian: Tensor) -> Tensor:  # [B, *m], [B, *m, n] -> [B, n]
    elements, *outcome, n = jacobian.shape
    m = math.prod(outcome)
    return torch.bmm(grad.reshape(elements, 1, m), jacobian.reshape(elements, m, n)).squeeze(1)


class _Sort(NoVmap):
    """The mean outcome of sorting rows, with gradients in `x` and `scale`."""

    @staticmethod
    def forward(
        x: Tensor,  # [B, n]
        scale: Tensor,  # [1 or B, 1 or n]
        seed: Tensor,
        directions: Tensor,
        options: SortOptions,
        jacobian: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        return below_autograd(ops.sort.default, x, scale, seed, directions, *options, jacobian)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, scale, seed, directions, ctx.options, ctx.jacobian = inputs
        mean, *jacobians = output
        ctx.mark_non_differentiable(*jacobians)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, seed, directions, mean, *jacobians)

    @staticmethod
    @first_order
    def backward(ctx, grad, *_):
        if grad is None:
            return None, None, None, None, None, None
        x, scale, seed, directions, mean, jacobian_x, jacobian_scale = ctx.saved_tensors
        *noise_and_sorting, baseline, factor, pair_weight = ctx.options
        grad = grad.contiguous()
        needs_scale = ctx.needs_input_grad[1]
        grad_scale = None
        if ctx.jacobian != "none":
            grad_x = _contract(grad, jacobian_x)
            if needs_scale:
                grad_scale = _contract(grad, jacobian_scale)
        else:
            if baseline == "none":
                center = grad.new_zeros(grad.shape[0])
            else:
                _, _, _, _, *sorting = noise_and_sorting
                base = mean if baseline == "mean" else sort_outcome(x, *sorting)
                center = (grad * base).flatten(1).sum(1)
            grad_x, grad_scale = below_autograd(
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
        if needs_scale:
            grad_scale = grad_scale.sum_to_size(scale.shape)
        return grad_x, grad_scale if needs_scale else None, None, None, None, None


class _EagerSort(_Sort):
    """The same for plain eager mode, where derivatives need not be outputs."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx,
        x: Tensor,
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        options: SortOptions,
        jacobian: str,
    ) -> Tensor:
        output = _Sort.forward(x, scale, seed, directions, options, jacobian)
        ctx.options, ctx.jacobian = options, jacobian
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, seed, directions, *output)
        return output[0]

    setup_context = torch.autograd.Function.setup_context


def _in_one_pass(n: int, options: SortOptions) -> bool:
    """Whether the CPU should accumulate the Jacobian while it sorts.

    It should where the additions of a sample cost less than drawing and sorting it again, and where
    the sums stay in the cache.
    """
    if options.output != "matrix":
        return n <= ONE_PASS_VECTOR
    positions = options.last - options.first
    vectors = -(-(n + 1) // 8)  # of a register's width, in a row of the table
    return n <= ONE_PASS_MATRIX and positions * vectors <= 3 * n


def sort(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
    seed: Tensor,
    directions: Tensor,
    options: SortOptions,
) -> Tensor:  # [B, *outcome]
    """The op `sort` with its gradient."""
    wanted = torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad)
    if wanted and x.device.type == "cpu" and _in_one_pass(x.shape[1], options):
        jacobian = "x_and_scale" if scale.requires_grad else "x"
    else:
        jacobian = "none"
    if in_plain_eager():
        return _EagerSort.apply(x, scale, seed, directions, options, jacobian)
    return _Sort.apply(x, scale, seed, directions, options, jacobian)[0]
