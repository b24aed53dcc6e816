"""The base of the autograd functions."""

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from .._kernels.library import refuse_vmap


class Function(torch.autograd.Function):
    """An autograd function whose signature is worked out once."""

    def __init_subclass__(cls) -> None:
        # `apply` binds its arguments to the signature in every call; working that out takes longer
        # than the rest of it.
        super().__init_subclass__()
        forward: Any = cls.forward
        forward.__signature__ = inspect.signature(forward)

    if TYPE_CHECKING:  # torch has no types for it

        @classmethod
        def apply(cls, *args: Any) -> Any: ...


class NoVmap(Function):
    """An autograd function that says what to do instead of vmap."""

    @staticmethod
    def vmap(info: object, in_dims: object, *args: object) -> NoReturn:
        refuse_vmap()


class _FirstDerivatives(Function):
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
    def wrapper(ctx: Any, *grads: Tensor | None) -> object:
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
