"""What the autograd functions of the ops share."""

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.autograd import forward_ad

from .library import refuse_vmap


class Function(torch.autograd.Function):
    """An autograd function whose signature is worked out once."""

    def __init_subclass__(cls) -> None:
        # `apply` binds its arguments to the signature in every call; working that out takes longer
        # than the rest of it.
        super().__init_subclass__()
        forward: Any = cls.forward
        forward.__signature__ = inspect.signature(forward)


class NoVmap(Function):
    """An autograd function that says what to do instead of vmap."""

    @staticmethod
    def vmap(info: object, in_dims: object, *args: object) -> NoReturn:
        refuse_vmap()


def in_plain_eager() -> bool:
    """Whether nothing looks into an autograd function: no compiler, no transform, no dual numbers.

    Then it can do without `setup_context`, whose arguments `apply` binds to their names.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or in_forward_mode()
    )


def in_forward_mode() -> bool:
    """Whether tensors may have tangents, by torch.func.jvp or by torch.autograd.forward_ad."""
    return forward_ad._current_level >= 0


def has_tangent(t: Tensor) -> bool:
    """Whether `t` has a tangent, or one of the tensors does that torch.func has wrapped in it."""
    if not in_forward_mode():
        return False
    if torch.compiler.is_compiling():  # Dynamo cannot look into tensors
        return forward_ad.unpack_dual(t).tangent is not None
    functorch = torch._C._functorch
    top = functorch.peek_interpreter_stack()
    mapped = top is not None and top.key() == functorch.TransformType.Vmap
    if not mapped and forward_ad.unpack_dual(t).tangent is not None:
        return True
    if top is None or not functorch.is_functorch_wrapped_tensor(t):
        return False
    own = functorch.maybe_get_level(t) == top.level()
    with temporarily_pop_interpreter_stack():
        return has_tangent(functorch.get_unwrapped(t) if own else t)


def below_autograd(op: Any, *args: Any) -> Any:
    """Calls an op from an autograd function, without the Python kernel that refuses gradients."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return op(*args)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*args)


class _FirstDerivatives(torch.autograd.Function):
    """The identity in the first `count` tensors, which depend on the others: do not ask how."""

    generate_vmap_rule = True

    @staticmethod
    def forward(count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors[:count]

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:
        pass

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> NoReturn:
        raise RuntimeError(
            "a second derivative was asked for, but only a first one is known here; take "
            "differences of gradients with the same seed instead"
        )


def first_order(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., object]:
    """Makes second derivatives raise, for a `backward` that saves all that it depends on.

    `once_differentiable` would cut the gradients off the inputs: nested transforms and
    `torch.autograd.functional` would find no path between them and call the derivative zero.
    """

    @functools.wraps(backward)
    def wrapper(ctx, *grads):
        if not torch.is_grad_enabled():
            return backward(ctx, *grads)
        with torch.no_grad():
            gradients = backward(ctx, *grads)
        if torch.compiler.is_compiling():
            return gradients
        # What is passed on as it came stays differentiable.
        made = [t is not None and all(t is not grad for grad in grads) for t in gradients]
        tensors = list(itertools.compress(gradients, made))
        sources = [t for t in (*ctx.saved_tensors, *grads) if t is not None and t.requires_grad]
        if not tensors or not sources:
            return gradients
        tied = iter(_FirstDerivatives.apply(len(tensors), *tensors, *sources))
        return tuple(next(tied) if m else t for t, m in zip(gradients, made, strict=True))

    return wrapper
