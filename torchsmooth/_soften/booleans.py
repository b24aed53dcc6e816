"""Operators that take soft booleans.

Each gets the function that was called and its arguments.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .. import soft
from .._torch_internals import values_are_readable
from .soft_tensors import (
    BOOLEAN_RULES,
    Apply,
    SoftBoolean,
    SoftRule,
    SoftTensor,
    contains,
    define,
    dtype_of,
    refusal,
    without_integers,
)


def _numbers(value: Any) -> Any:
    """Events by their probabilities, also in lists and tuples."""
    if isinstance(value, SoftBoolean):
        return value.probability
    if isinstance(value, list | tuple):
        return type(value)([_numbers(v) for v in value])
    return value


def _is_event(value: Any) -> bool:
    return isinstance(value, SoftBoolean | bool) or (
        isinstance(value, Tensor) and value.dtype == torch.bool
    )


def _events(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, SoftBoolean):
        return value.probability
    if isinstance(value, Tensor) and value.dtype == torch.bool:
        return value.to(like.dtype)
    if isinstance(value, bool | int) and value in (0, 1):
        return like.new_tensor(float(value))
    raise refusal(
        f"a soft boolean goes with other conditions, got {value!r}",
        "compare it first, as in condition & (x > 0)",
    )


def _pair_of_events(twin: Callable[[Tensor, Tensor], Tensor]) -> Apply:
    def apply(func: Callable[..., Any], input: Any, other: Any) -> SoftBoolean:
        like = _numbers(input if isinstance(input, SoftBoolean) else other)
        return SoftBoolean(twin(_events(input, like), _events(other, like)))

    return apply


def _same_event(p: Tensor, q: Tensor) -> Tensor:
    return soft.logical_not(soft.logical_xor(p, q))


def _not_event(func: Callable[..., Any], input: SoftBoolean) -> SoftBoolean:
    return SoftBoolean(soft.logical_not(input.probability))


def _reduce_events(twin: Callable[..., Tensor]) -> Apply:
    def apply(
        func: Callable[..., Any], input: SoftBoolean, dim: Any = None, keepdim: bool = False
    ) -> SoftBoolean:
        return SoftBoolean(twin(input.probability, dim, keepdim=keepdim))

    return apply


def _where(func: Callable[..., Any], condition: Any, *sides: Any, **named: Any) -> Any:
    if len(sides) + len(named) < 2:
        raise condition._refuse("torch.where(condition) without values")
    a = sides[0] if sides else named["input"]
    b = sides[1] if len(sides) > 1 else named["other"]
    if not isinstance(condition, SoftBoolean):  # a certain condition chooses between soft ones
        if isinstance(condition, Tensor) and condition.dtype == torch.bool:
            like = _numbers(a if isinstance(a, SoftBoolean) else b)
            chosen = torch.where(condition, _number(a, like), _number(b, like))
            return SoftBoolean(chosen) if _is_event(a) and _is_event(b) else chosen
        raise refusal(
            f"torch.where expects a condition, got {type(condition).__name__}", "compare it first"
        )
    p = condition.probability
    blend = _blend(p, _number(a, p), _number(b, p))
    return SoftBoolean(blend) if _is_event(a) and _is_event(b) else blend


def _blend(p: Tensor, a: Any, b: Any) -> Tensor:
    """The expectation; where one side is infinite, as masks are, that of exponentials.

    The expectation of x and -inf is -inf, however improbable -inf is. Masks of -inf are made for
    what follows them, a softmax or another exponential, and there x counts with its probability: so
    it is log E exp. The same holds for +inf with -log E exp(-...).
    """
    a, b = _side(a, p), _side(b, p)
    of_a, of_b = (side.abs() >= torch.finfo(side.dtype).max for side in (a, b))
    if all(values_are_readable(mask) and not bool(mask.any()) for mask in (of_a, of_b)):
        return soft.where(p, a, b)
    expected = soft.where(p, torch.where(of_a, 0.0, a), torch.where(of_b, 0.0, b))
    both = torch.where(p == 1, a, torch.where(p == 0, b, 0.5 * a + 0.5 * b))
    number, infinity = torch.where(of_a, b, a), torch.where(of_a, a, b)
    probability = torch.where(of_a, 1 - p, p)
    possible = probability > 0
    # -inf at 0, where the derivative is 0 instead of infinite.
    logarithm = torch.where(possible, torch.where(possible, probability, 1.0).log(), -math.inf)
    one = number + torch.where(infinity < 0, logarithm, -logarithm)
    return torch.where(of_a & of_b, both, torch.where(of_a | of_b, one, expected))


def _side(value: Any, p: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.to(p.dtype)
    return torch.full((), float(value), dtype=p.dtype, device=p.device)


def _number(value: Any, like: Tensor) -> Any:
    return _events(value, like) if _is_event(value) else value


def _where_method(func: Callable[..., Any], input: Any, condition: Any, other: Any) -> Any:
    return _where(func, condition, input, other)


def _masked_fill(func: Callable[..., Any], input: Any, mask: Any, value: Any) -> Any:
    return _where(func, mask, value, input)


def both_branches(
    func: Callable[..., Any],
    pred: SoftBoolean,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Any = (),
) -> Any:
    condition = pred.reshape(())
    then, structure = pytree.tree_flatten(true_fn(*operands))
    otherwise, other_structure = pytree.tree_flatten(false_fn(*operands))
    if structure != other_structure:
        raise ValueError(
            "true_fn and false_fn must return the same structure, got "
            f"{structure} and {other_structure}; return the same in both"
        )
    pairs = zip(then, otherwise, strict=True)
    return pytree.tree_unflatten([_where(func, condition, a, b) for a, b in pairs], structure)


def _arithmetic(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return func(*_numbers(args), **{name: _numbers(v) for name, v in kwargs.items()})


def _sum_or_or(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if len(args) == 2 and _is_event(args[0]) and _is_event(args[1]):  # as bool tensors do
        return _pair_of_events(soft.logical_or)(func, *args)
    return _arithmetic(func, *args, **kwargs)


def _product_or_and(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if len(args) == 2 and _is_event(args[0]) and _is_event(args[1]):
        return _pair_of_events(soft.logical_and)(func, *args)
    return _arithmetic(func, *args, **kwargs)


def _quotient(func: Callable[..., Any], input: Any, other: Any, **kwargs: Any) -> Any:
    if isinstance(other, SoftBoolean) or kwargs.get("rounding_mode") is not None:
        raise (
            other._refuse("division")
            if isinstance(other, SoftBoolean)
            else input._refuse("rounding_mode")
        )
    return func(_numbers(input), other)


def _reduction(func: Callable[..., Any], input: SoftBoolean, *args: Any, **kwargs: Any) -> Tensor:
    dtype = kwargs.pop("dtype", None)  # an integer type for the count
    value = func(input.probability, *args, **kwargs)
    return value.to(dtype) if dtype is not None and dtype.is_floating_point else value


def _count(func: Callable[..., Any], input: SoftBoolean, dim: Any = None) -> Tensor:
    return input.probability.sum(dim)


def _conversion(func: Callable[..., Any], input: SoftBoolean, *args: Any, **kwargs: Any) -> Tensor:
    return func(input.probability, *args, **kwargs)


def _expected(func: Callable[..., Any], input: SoftBoolean, **_: Any) -> Tensor:
    return input.probability


def _to(func: Callable[..., Any], input: Any, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(input, SoftBoolean):  # x.to(event)
        raise args[0]._refuse("conversion to its type")
    if func is Tensor.type and not args and not kwargs:  # the name of its type
        return "torch.BoolTensor"
    asked = {dtype_of(value) for value in (*args, *kwargs.values())} - {None}
    args, kwargs, _ = without_integers(args, kwargs)
    p = input.probability.to(*args, **kwargs) if args or kwargs else input.probability
    return p if asked and torch.bool not in asked else SoftBoolean(p)


def _itself(func: Callable[..., Any], input: SoftBoolean) -> SoftBoolean:
    return input


SHAPED_LIKE = (Tensor.expand_as, Tensor.view_as, Tensor.reshape_as)


def _reshaping(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Operators that move entries about: events stay events."""
    first = args[0] if args else next(iter(kwargs.values()))
    if func in SHAPED_LIKE and isinstance(args[1], SoftTensor):  # whose shape alone matters
        args = (first, torch.empty(args[1].shape, device="meta"))
        if isinstance(first, Tensor):
            return func(*args)
    if isinstance(first, list | tuple):  # cat, stack: events, unless numbers are among them
        like = next(_numbers(v) for v in first if isinstance(v, SoftBoolean))
        events = all(_is_event(v) for v in first)
        first = [_number(v, like) for v in first]
    else:
        events = isinstance(first, SoftBoolean)
        if not events or contains(SoftTensor, (*args[1:], *kwargs.values())):
            return _index_by_event(func, *args, **kwargs)
        first = first.probability
    result = func(first, *args[1:], **kwargs)
    if not events:
        return result
    return tuple(map(SoftBoolean, result)) if isinstance(result, tuple) else SoftBoolean(result)


def _information(func: Callable[..., Any], input: SoftBoolean, *args: Any, **kwargs: Any) -> Any:
    return func(input.probability, *args, **kwargs)


def _index_by_event(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    raise refusal(
        "indexing by a soft boolean has a result whose shape depends on values that it has not got",
        "use torch.where(condition, x, 0.0), or multiply by condition.float()",
    )


def assign(func: Callable[..., Any], input: Any, item: Any, value: Any) -> None:
    if contains(SoftTensor, (item,)):
        raise refusal(
            "assignment at a soft boolean or a soft index changes a part of x that is not certain",
            "use x = torch.where(condition, value, x)",
        )
    if not isinstance(value, SoftBoolean) or not input.is_floating_point():
        raise refusal(
            "a soft boolean or a soft index cannot be stored in a tensor of bools or integers",
            "make one with torch.stack or torch.cat, or store .float() in a floating-point tensor",
        )
    input[item] = value.probability


def _in_place(func: Callable[..., Any], input: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(input, SoftBoolean):
        raise input._refuse_in_place(f"{func.__name__}")
    return func(input, *_numbers(args), **kwargs)


for _name, _twin in (
    ("and", soft.logical_and),
    ("or", soft.logical_or),
    ("xor", soft.logical_xor),
):
    _aliases = (f"logical_{_name}", f"bitwise_{_name}", f"__{_name}__")
    define(BOOLEAN_RULES, f"ts.soft.{_aliases[0]}", _pair_of_events(_twin), *_aliases)
define(BOOLEAN_RULES, "ts.soft.logical_not", _not_event, "logical_not", "bitwise_not")
define(
    BOOLEAN_RULES,
    "ts.soft.logical_xor",
    _pair_of_events(soft.logical_xor),
    "ne",
    "not_equal",
    "__ne__",
)
define(BOOLEAN_RULES, "not of ts.soft.logical_xor", _pair_of_events(_same_event), "eq", "__eq__")
define(BOOLEAN_RULES, "ts.soft.all", _reduce_events(soft.all), "all")
define(BOOLEAN_RULES, "ts.soft.any", _reduce_events(soft.any), "any")
define(BOOLEAN_RULES, "ts.soft.where", _where, "where")
BOOLEAN_RULES[Tensor.where] = SoftRule("where", "ts.soft.where", _where_method)
define(BOOLEAN_RULES, "ts.soft.where", _masked_fill, "masked_fill")
BOOLEAN_RULES[torch.ops.higher_order.cond] = SoftRule(
    "cond", "ts.soft.where of both branches", both_branches
)
define(BOOLEAN_RULES, None, _sum_or_or, "add")
define(BOOLEAN_RULES, None, _product_or_and, "mul", "multiply")
define(BOOLEAN_RULES, None, _arithmetic, "sub", "subtract", "rsub")
define(BOOLEAN_RULES, None, _quotient, "div", "divide", "true_divide", "__truediv__")
define(BOOLEAN_RULES, None, _in_place, "add_", "sub_", "mul_", "__iadd__", "__isub__", "__imul__")
define(BOOLEAN_RULES, None, _reduction, "sum", "mean", "cumsum")
define(BOOLEAN_RULES, None, _count, "count_nonzero")
define(BOOLEAN_RULES, None, _conversion, "float", "double", "half", "bfloat16")
define(BOOLEAN_RULES, None, _expected, "int", "long", "short", "char", "byte")
define(BOOLEAN_RULES, None, _itself, "bool")
define(BOOLEAN_RULES, None, _to, "to", "type", "type_as")
_RESHAPING = (
    "reshape view view_as reshape_as flatten unflatten ravel unsqueeze squeeze transpose swapaxes "
    "swapdims permute t movedim moveaxis expand broadcast_to expand_as stack cat concat hstack "
    "vstack flip roll tile repeat repeat_interleave chunk split unbind tensor_split diagonal "
    "tril triu clone contiguous detach cpu cuda __getitem__ select narrow gather index_select "
    "take_along_dim"
).split()
define(BOOLEAN_RULES, None, _reshaping, *_RESHAPING)
_INFORMATION = "size dim numel nelement stride is_contiguous get_device __len__".split()
define(BOOLEAN_RULES, None, _information, *_INFORMATION)
define(BOOLEAN_RULES, None, _index_by_event, "masked_select", "masked_scatter", "index_put")
define(BOOLEAN_RULES, None, assign, "__setitem__")
