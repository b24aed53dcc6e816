"""Operators that take soft indices.

Each gets the function that was called and its arguments.
"""

import numbers
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import soft
from .booleans import SHAPED_LIKE, assign
from .soft_tensors import INDEX_RULES, SoftBoolean, SoftIndex, SoftTensor, define, refusal


def _take(func: Callable[..., Any], input: Any, index: Any) -> Any:
    if not isinstance(index, SoftIndex) or not isinstance(input, Tensor):
        raise refusal(
            "a soft index cannot be combined with other indices, or index what is itself soft",
            "use x.movedim(dim, 0)[index], torch.gather or torch.take_along_dim",
        )
    return soft.take(input, index.probabilities)


def _take_flat(func: Callable[..., Any], input: Tensor, index: SoftIndex) -> Tensor:
    return soft.take(input.reshape(-1), index.probabilities)


def _index_select(func: Callable[..., Any], input: Tensor, dim: int, index: SoftIndex) -> Tensor:
    return soft.take(input, index.probabilities, dim)


def _gather(
    func: Callable[..., Any], input: Tensor, dim: int, index: SoftIndex, **_: Any
) -> Tensor:
    return _take_along_dim(func, input, index, dim)


def _take_along_dim(
    func: Callable[..., Any], input: Tensor, indices: SoftIndex, dim: int | None = None
) -> Tensor:
    if dim is None:
        return _take_flat(func, input, indices.flatten())
    dim = dim % input.ndim if input.ndim else 0
    if indices.ndim != input.ndim:
        raise ValueError(
            f"index must have as many dimensions as x, got {indices.ndim} and {input.ndim}; use "
            "index.unsqueeze(dim), or argmax with keepdim=True"
        )
    rows = input.movedim(dim, -1).unsqueeze(-2)
    chosen = soft.take_along_dim(rows, indices.probabilities.movedim(dim, -2), -1)
    return chosen.movedim(-1, dim)


def _one_hot(func: Callable[..., Any], input: SoftIndex, num_classes: int = -1) -> Tensor:
    p = input.probabilities
    more = 0 if num_classes == -1 else num_classes - p.shape[-1]
    if more < 0:
        raise ValueError(
            f"num_classes must be at least the number of values of the index, {p.shape[-1]}, got "
            f"{num_classes}; pass {p.shape[-1]}"
        )
    return F.pad(p, (0, more))


def _embedding(
    func: Callable[..., Any], input: SoftIndex, weight: Tensor, *_: Any, **__: Any
) -> Tensor:
    return soft.take(weight, input.probabilities)


def _index_is(func: Callable[..., Any], input: Any, other: Any) -> SoftBoolean:
    index, value = (input, other) if isinstance(input, SoftIndex) else (other, input)
    p = index.probabilities
    n = p.shape[-1]
    if isinstance(value, SoftIndex):
        if value.probabilities.shape[-1] != n:
            raise ValueError(
                f"soft indices must have the same values, got {n} and "
                f"{value.probabilities.shape[-1]}; pad their probabilities with zeros"
            )
        return SoftBoolean((p * value.probabilities).sum(-1))
    if isinstance(value, Tensor) and not value.is_floating_point():
        value = value.to(p.device)
        inside = (value >= 0) & (value < n)
        matches = F.one_hot(torch.where(inside, value, 0).long(), n) * inside.unsqueeze(-1)
        return SoftBoolean((p * matches).sum(-1))
    if not isinstance(value, numbers.Integral):
        raise index._refuse("comparison with what is no integer")
    return SoftBoolean(p[..., int(value)] if 0 <= int(value) < n else torch.zeros_like(p[..., 0]))


def _index_is_not(func: Callable[..., Any], input: Any, other: Any) -> SoftBoolean:
    return SoftBoolean(soft.logical_not(_index_is(func, input, other).probability))


def _rearranged(func: Callable[..., Any], input: Any, *args: Any, **kwargs: Any) -> Any:
    """Operators that move entries about: the probabilities move as their entries do."""
    if func in SHAPED_LIKE and isinstance(args[0], SoftTensor):  # whose shape alone matters
        args = (torch.empty(args[0].shape, device="meta"),)
        if isinstance(input, Tensor):
            return func(input, *args)
    if not isinstance(input, SoftIndex):
        raise refusal(f"{func.__name__} takes no soft index as an argument", SoftIndex._remedy)
    p = input.probabilities
    rows = p.reshape(-1, p.shape[-1])
    numbers = torch.arange(len(rows), device=p.device).reshape(input.shape)
    moved = func(numbers, *args, **kwargs)
    if isinstance(moved, tuple | list):
        return tuple(SoftIndex(rows[part]) for part in moved)
    return SoftIndex(rows[moved])


def _joined(func: Callable[..., Any], tensors: Any, dim: int = 0) -> SoftIndex:
    if not all(isinstance(index, SoftIndex) for index in tensors):
        raise refusal("a soft index is joined with other soft indices only", SoftIndex._remedy)
    parts = [index.probabilities for index in tensors]
    return SoftIndex(func(parts, dim if dim >= 0 else dim - 1))


def _moved_as_a_whole(func: Callable[..., Any], input: SoftIndex, *args: Any, **kwargs: Any) -> Any:
    return SoftIndex(func(input.probabilities, *args, **kwargs))


def _information(func: Callable[..., Any], input: SoftIndex, *args: Any, **kwargs: Any) -> Any:
    return func(torch.empty(input.shape, dtype=input.dtype, device="meta"), *args, **kwargs)


define(INDEX_RULES, "ts.soft.take", _take, "__getitem__")
define(INDEX_RULES, "ts.soft.take", _take_flat, "take")
define(INDEX_RULES, "ts.soft.take", _index_select, "index_select")
define(INDEX_RULES, "ts.soft.take_along_dim", _gather, "gather")
define(INDEX_RULES, "ts.soft.take_along_dim", _take_along_dim, "take_along_dim")
define(INDEX_RULES, "its probabilities", _one_hot, "one_hot")
define(INDEX_RULES, "ts.soft.take", _embedding, "embedding")
define(INDEX_RULES, "its probabilities", _index_is, "eq", "__eq__")
define(INDEX_RULES, "its probabilities", _index_is_not, "ne", "not_equal", "__ne__")
define(INDEX_RULES, None, assign, "__setitem__")
define(
    INDEX_RULES,
    None,
    _rearranged,
    *("t", "transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "ravel"),
    *("expand", "expand_as", "broadcast_to", "view_as", "reshape_as", "unflatten", "flip", "roll"),
    *("tile", "repeat", "repeat_interleave", "chunk", "split", "unbind", "select", "narrow"),
)
define(INDEX_RULES, None, _joined, "stack", "cat", "concat")
define(INDEX_RULES, None, _moved_as_a_whole, "clone", "contiguous", "detach", "cpu", "cuda")
define(INDEX_RULES, None, _information, "numel", "nelement", "stride", "is_contiguous")
