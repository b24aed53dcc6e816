"""Smoothed functions as autograd functions: values with the slopes that a law knows."""

from collections.abc import Callable
from typing import Any, TypeAlias, final

import torch
from torch import Tensor

from .._torch_internals import one_node, refuse_nested_forward_mode


Scale: TypeAlias = float | Tensor
Value: TypeAlias = Callable[[Tensor, Scale], Tensor]
Slopes: TypeAlias = Callable[[Tensor, Scale, Tensor | float], tuple[Tensor, Tensor]]


@final
class Expectation:
    """E f(x + scale noise) for one function f and one law, by its value and its slopes.

    **Arguments:**

    - `value`: (x, scale) to the expectation; no derivative of it is taken.
    - `slopes`: (x, scale, factor) to the derivatives in x and in the scale, times the factor, as
        differentiable functions. Where the slope in the scale is a multiple of that in x, it is
        computed from the product, which is in the cache or in a register already.
    - `node`: what compiled graphs call the function. None if it belongs to one object only: then
        compiled code differentiates the formula of the value.
    """

    def __init__(self, value: Value, slopes: Slopes, node: str | None) -> None:
        self.value = value
        self.slopes = slopes
        self.node = node
        if node is not None:
            _NODES[node] = self

    def __call__(self, x: Tensor, scale: Scale) -> Tensor:
        if isinstance(scale, Tensor):
            x, scale = torch.broadcast_tensors(x, scale.to(x.device) if scale.ndim == 0 else scale)
        if not torch.compiler.is_compiling():
            return _apply(x, scale, self)
        if self.node is None:  # objects cannot be arguments of a node
            return self.value(x, scale)
        return _by_name(x, scale, self.node)


_NODES: dict[str, Expectation] = {}


@one_node
def _by_name(x: Tensor, scale: Scale, node: str) -> Tensor:
    return _apply(x, scale, _NODES[node])


def _apply(x: Tensor, scale: Scale, expectation: Expectation) -> Tensor:
    value: Tensor = _WithSlopes.apply(x, scale, expectation)  # type: ignore[no-untyped-call]
    return value


class _WithSlopes(torch.autograd.Function):
    """A function of x and the scale with the slopes that the law knows.

    Derivatives through the formula of the value would be products in which one factor can underflow
    (a small scale, or the rest of a probability near 1) before a large one comes. The slopes are
    differentiable themselves.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Scale, expectation: Expectation) -> Tensor:
        return expectation.value(x, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, scale, ctx.expectation = inputs
        ctx.number = None if isinstance(scale, Tensor) else scale
        tensors = (x, scale if ctx.number is None else None)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        in_x, in_scale = _slopes(ctx, grad)
        return in_x, in_scale if ctx.needs_input_grad[1] else None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor | None, scale: Tensor | None, *_: None) -> Tensor:
        refuse_nested_forward_mode()
        in_x, in_scale = _slopes(ctx, 1.0)
        tangents = [t * slope for t, slope in ((x, in_x), (scale, in_scale)) if t is not None]
        return tangents[0] + tangents[1] if len(tangents) == 2 else tangents[0]


def _slopes(ctx: Any, factor: Tensor | float) -> tuple[Tensor, Tensor]:
    x, scale = ctx.saved_tensors
    expectation: Expectation = ctx.expectation
    return expectation.slopes(x, scale if ctx.number is None else ctx.number, factor)
