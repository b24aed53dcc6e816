"""torch.vmap: the mapped dimension becomes part of the batch."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from .._torch_internals import is_mapped, tensor_level, transform_level, transforms_are_active
from .._typing import BatchKind
from .function import Function


# What the first dimension of a tensor is:
EACH: BatchKind = "each"  # the batch
ALL_OR_EACH: BatchKind = "all or each"  # the batch, or 1 for what all its elements share
SHARED: BatchKind = "shared"  # something else, the same for the whole batch
DRAWN: BatchKind = "drawn"  # that too: a seed from torch's generator

Evaluate = Callable[..., tuple[Tensor, ...]]


def as_batch(
    evaluate: Evaluate, kinds: Sequence[BatchKind], *tensors: Tensor, redraws: bool = False
) -> tuple[Tensor, ...]:
    """`evaluate(*tensors)`, called with a larger batch where torch.vmap maps over some of them.

    `evaluate` draws noise, which depends on the place in the batch: so `vmap(g)(x)` is `g(x)`. The
    first of its tensors has a batch dimension, and so have its results. It has no derivatives.

    With `redraws`, the first tensor is the result of another evaluation, whose noise is to be
    drawn again: if it is not mapped, what is mapped shares this noise, and is evaluated one by one.
    One by one goes too what has several seeds, and what `randomness="same"` gives the same seed.
    """
    if torch.compiler.is_compiling():
        return evaluate(*tensors)
    if transforms_are_active() and any(map(is_mapped, tensors)):
        result: tuple[Tensor, ...] = _AsBatch.apply(evaluate, tuple(kinds), redraws, *tensors)
        return result
    return evaluate(*tensors)


class NoOtherTransforms(TorchFunctionMode):
    """Refuses tensors of the transforms that are left for an evaluation: torch would drop them.

    An evaluation gets its own tensors unwrapped. Others come from the closure of a user's f. Other
    threads know of no transform.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for t in pytree.tree_leaves((args, kwargs)):
            if isinstance(t, Tensor) and tensor_level(t) > transform_level():
                raise NotImplementedError(
                    "under torch.vmap, and in the threads of an executor, f of torchsmooth.smooth "
                    "cannot use tensors of its closure that torch.func maps or differentiates in, "
                    f"got one in a call of {getattr(func, '__name__', func)}; pass it as one of "
                    "args, or give the mapped dimension to the smoothed function as a batch "
                    "dimension instead of torch.vmap"
                )
        return func(*args, **(kwargs or {}))


class _AsBatch(Function):
    @staticmethod
    def forward(
        evaluate: Evaluate, kinds: tuple[BatchKind, ...], redraws: bool, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        return evaluate(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        raise _no_own_derivatives()

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> NoReturn:
        raise _no_own_derivatives()

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        evaluate: Evaluate,
        kinds: tuple[BatchKind, ...],
        redraws: bool,
        *tensors: Tensor,
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        size, dims = info.batch_size, in_dims[3:]
        one_by_one = (
            (redraws and dims[0] is None)
            or any(k == SHARED and dim is not None for k, dim in zip(kinds, dims, strict=True))
            or (DRAWN in kinds and info.randomness == "same")
        )
        if one_by_one:
            parts = [
                _lowered(
                    evaluate,
                    kinds,
                    redraws,
                    *(
                        t if dim is None else t.select(dim, i).contiguous()
                        for t, dim in zip(tensors, dims, strict=True)
                    ),
                )
                for i in range(size)
            ]
            results = tuple(torch.stack(part) for part in zip(*parts, strict=True))
            return results, (0,) * len(results)

        first = tensors[0] if dims[0] is None else tensors[0].movedim(dims[0], -1)
        elements = first.shape[0]

        def join(t: Tensor, dim: int | None, kind: BatchKind) -> Tensor:
            if kind in (SHARED, DRAWN):  # of several seeds one will do for a batch
                return t if dim is None else t.select(dim, 0)
            if dim is None:
                if kind == ALL_OR_EACH and t.shape[0] == 1:
                    return t
                t = t.expand(size, *t.shape)
            else:
                t = t.movedim(dim, 0)
            t = t.expand(size, elements, *t.shape[2:])
            return t.reshape(size * elements, *t.shape[2:]).contiguous()

        joined = map(join, tensors, dims, kinds)
        results = _lowered(evaluate, kinds, redraws, *joined)
        split = tuple(t.reshape(size, elements, *t.shape[1:]) for t in results)
        return split, (0,) * len(split)


def _lowered(
    evaluate: Evaluate, kinds: Sequence[BatchKind], redraws: bool, *tensors: Tensor
) -> tuple[Tensor, ...]:
    with NoOtherTransforms():
        return as_batch(evaluate, kinds, *tensors, redraws=redraws)


def _no_own_derivatives() -> NotImplementedError:
    return NotImplementedError(
        "under torch.vmap of a derivative, f of torchsmooth.smooth has no derivatives in its own "
        "args: give the mapped dimension to the smoothed function as a batch dimension instead"
    )
