"""Derivatives of expected order statistics: the first by kernels, all others by the twin."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._kernels.order_statistics import OrderOp
from .._kernels.reference.order_statistics import expected_order
from .._torch_internals import in_forward_mode, in_plain_eager, refuse_nested_forward_mode
from .derivatives import jvp_by_vjp, transpose
from .function import Function
from .vmap import ALL_OR_EACH, EACH, as_batch


def order_statistics(
    op: OrderOp,
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
) -> Tensor:  # [B, *outcome]
    """The expectation that the op computes, with its derivatives."""
    if torch.compiler.is_compiling() or in_plain_eager():
        if not (torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad)):
            return op.expectation(x, scale)
    result: Tensor
    if torch.compiler.is_compiling():
        result = _Compiled.apply(op, x, scale)
    elif in_plain_eager():
        result = _Eager.apply(op, x, scale)
    else:
        result = _Transformed.apply(op, x, scale)
    return result


def _twin(op: OrderOp) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, scale: expected_order(x, scale, op.distribution, *op.task)


def _vjp_of_twin(op: OrderOp) -> Callable[..., tuple[Tensor, ...]]:
    """From an upstream gradient, x and each element's scale to the gradients in these two."""
    return lambda grad, x, scale: transpose(_twin(op), x, scale)(grad)


def _expectation(op: OrderOp, x: Tensor, scale: Tensor) -> Tensor:
    def evaluate(x: Tensor, scale: Tensor) -> tuple[Tensor]:
        return (op.expectation(x, scale),)

    return as_batch(evaluate, (EACH, ALL_OR_EACH), x, scale)[0]


def _gradients(
    op: OrderOp, needs_scale: bool, grad: Tensor, x: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    def evaluate(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        return op.gradients(needs_scale, grad, x, scale)

    in_x, in_scale = as_batch(evaluate, (EACH, EACH, ALL_OR_EACH), grad, x, scale)
    return in_x, in_scale


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, scale = ctx.saved_tensors
    needs_scale = ctx.needs_input_grad[2]
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() or in_forward_mode()):
        in_x, in_scale = _gradients(ctx.op, needs_scale, grad, x, scale)
    else:
        in_x, in_scale = _Gradients.apply(ctx.op, grad, x, scale.expand_as(x))
    return None, in_x, in_scale.sum_to_size(scale.shape) if needs_scale else None


class _Compiled(Function):
    """For the compiler."""

    generate_vmap_rule = True

    @staticmethod
    def forward(op: OrderOp, x: Tensor, scale: Tensor) -> Tensor:
        return _expectation(op, x, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.op, x, scale = inputs
        ctx.save_for_backward(x, scale)

    backward = staticmethod(_backward)


class _Transformed(Function):
    """The same in forward mode too, which Dynamo refuses to trace."""

    generate_vmap_rule = True

    @staticmethod
    def forward(op: OrderOp, x: Tensor, scale: Tensor) -> Tensor:
        return _expectation(op, x, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _Compiled.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:])

    backward = staticmethod(_backward)

    @staticmethod
    def jvp(ctx: Any, _: None, in_x: Tensor | None, in_scale: Tensor | None) -> Tensor:
        refuse_nested_forward_mode()
        inputs = ctx.saved_tensors
        tangents = _known((in_x, in_scale), inputs)
        result: Tensor = jvp_by_vjp(_twin(ctx.op), inputs, tangents)
        return result


class _Eager(Function):
    """The same for plain eager mode."""

    @staticmethod
    def forward(ctx: Any, op: OrderOp, x: Tensor, scale: Tensor) -> Tensor:
        ctx.op = op
        ctx.save_for_backward(x, scale)
        return op.expectation(x, scale)

    backward = staticmethod(_backward)


class _Gradients(Function):
    """The gradients in x and in each element's scale, differentiable through the twin."""

    generate_vmap_rule = True

    @staticmethod
    def forward(op: OrderOp, grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return _gradients(op, True, grad, x, scale.contiguous())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.op, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *transpose(_vjp_of_twin(ctx.op), *ctx.saved_tensors)(grads)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        refuse_nested_forward_mode()
        inputs = ctx.saved_tensors
        result: tuple[Tensor, ...] = jvp_by_vjp(
            _vjp_of_twin(ctx.op), inputs, _known(tangents, inputs)
        )
        return result


def _known(tangents: tuple[Tensor | None, ...], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    return [
        torch.zeros_like(t) if tangent is None else tangent
        for t, tangent in zip(inputs, tangents, strict=True)
    ]
