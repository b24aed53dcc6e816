"""Operators of floating-point tensors: what replaces them, and which ones are refused.

Each replacement gets the block's options and torch's own arguments, and returns what it ran and the
result.
"""

import numbers
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from torch import Tensor

from .. import soft
from ..distributions import AbstractDistribution
from .options import Options
from .soft_tensors import SoftBoolean, dtype_of, functions, refusal
from .sorting import (
    Result,
    amax_or_amin,
    argmax_or_argmin,
    argsort,
    max_or_min,
    median,
    msort,
    quantile,
    sort,
    topk,
)


def _elementwise(twin: Callable[[Tensor, AbstractDistribution], Tensor]) -> Callable[..., Result]:
    def apply(o: Options, input: Tensor) -> Result:
        return f"ts.soft.{twin.__name__}", twin(input, o.distribution)

    return apply


def _operand(value: Any, like: Tensor) -> Any:
    """A number or a floating-point tensor for what a floating-point tensor meets."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.to(like.dtype)
    return float(value)


def _pair(input: Any, other: Any) -> tuple[Any, Any]:
    like = input if isinstance(input, Tensor) and input.is_floating_point() else other
    return _operand(input, like), _operand(other, like)


def _comparison(twin: Callable[..., Tensor]) -> Callable[..., Result]:
    def apply(o: Options, input: Any, other: Any) -> Result:
        a, b = _pair(input, other)
        return f"ts.soft.{twin.__name__}", SoftBoolean(twin(a, b, o.distribution))

    return apply


def _equality(o: Options, input: Any, other: Any) -> Tensor:
    if o.tolerance is None:
        raise refusal(
            "== and != of floating-point tensors have the probabilities 0 and 1 under noise",
            "pass soften(..., tolerance=0.5) for ts.soft.equal, compare by < and >, or leave them "
            'as they are with exclude=("eq", "ne")',
        )
    a, b = _pair(input, other)
    return soft.equal(a, b, o.tolerance, o.distribution)


def _equal(o: Options, input: Any, other: Any) -> Result:
    return "ts.soft.equal", SoftBoolean(_equality(o, input, other))


def _unequal(o: Options, input: Any, other: Any) -> Result:
    return "not of ts.soft.equal", SoftBoolean(soft.logical_not(_equality(o, input, other)))


def _heaviside(o: Options, input: Tensor, values: Any) -> Result:
    return "ts.soft.heaviside", soft.heaviside(input, o.distribution)


def _round(o: Options, input: Tensor, *, decimals: int = 0) -> Result:
    if decimals != 0:
        raise refusal(
            "round with decimals has no smooth twin",
            "write (x * 10**decimals).round() / 10**decimals, with the noise on what is rounded",
        )
    return "ts.soft.round", soft.round(input, o.distribution)


def _clamp(o: Options, input: Tensor, min: Any = None, max: Any = None) -> Result:
    if min is None and max is None:
        raise ValueError("At least one of min or max must not be None, got neither; pass one")
    if max is None:
        return "ts.soft.maximum", soft.maximum(*_pair(input, min), o.distribution)
    if min is None:
        return "ts.soft.minimum", soft.minimum(*_pair(input, max), o.distribution)
    bounds = _operand(min, input), _operand(max, input)
    return "ts.soft.clamp", soft.clamp(input, *bounds, o.distribution)


def _clamp_min(o: Options, input: Tensor, min: Any) -> Result:
    return _clamp(o, input, min)


def _clamp_max(o: Options, input: Tensor, max: Any) -> Result:
    return _clamp(o, input, None, max)


def _hardtanh(o: Options, input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Result:
    return "ts.soft.clamp", soft.clamp(input, min_val, max_val, o.distribution)


def _relu6(o: Options, input: Tensor) -> Result:
    return "ts.soft.clamp", soft.clamp(input, 0.0, 6.0, o.distribution)


def _threshold(o: Options, input: Tensor, threshold: float, value: float) -> Result:
    return "ts.soft.threshold", soft.threshold(input, threshold, value, o.distribution)


def _hardshrink(o: Options, input: Tensor, lambd: float = 0.5) -> Result:
    return "ts.soft.hardshrink", soft.hardshrink(input, lambd, o.distribution)


def _maximum(o: Options, input: Tensor, other: Tensor) -> Result:
    return "ts.soft.maximum", soft.maximum(*_pair(input, other), o.distribution)


def _minimum(o: Options, input: Tensor, other: Tensor) -> Result:
    return "ts.soft.minimum", soft.minimum(*_pair(input, other), o.distribution)


def _floating_tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    found = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
    return [t for t in found if t.is_floating_point()]


def _is_floating(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return len(_floating_tensors(args, kwargs)) > 0


def _is_comparison(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    # x == None, x == "name" and complex numbers are torch's business.
    return _is_floating(args, kwargs) and all(
        isinstance(v, numbers.Real) or (isinstance(v, Tensor) and not v.is_complex())
        for v in (*args, *kwargs.values())
    )


def _has_gradient(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(t.requires_grad for t in _floating_tensors(args, kwargs))


def _drops_fraction(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether `to`, `type` or `type_as` makes integers or bools of a floating-point tensor."""
    if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
        return False
    dtypes = [dtype_of(target) for target in (*args[1:], *kwargs.values())]
    return any(d is not None and not (d.is_floating_point or d.is_complex) for d in dtypes)


def _rounds_quotient(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return kwargs.get("rounding_mode") is not None and _is_floating(args, kwargs)


def _indexes_by_number(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    items = args[1] if len(args) > 1 and isinstance(args[1], tuple | list) else args[1:2]
    return any(isinstance(i, Tensor) and i.is_floating_point() for i in items)


def _gathers_by_number(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    index = kwargs.get("index", args[2] if len(args) > 2 else None)
    return isinstance(index, Tensor) and index.is_floating_point()


def _takes_the_nearest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return "nearest" in (*args[2:], *kwargs.values())


_Concern = Callable[[tuple[Any, ...], dict[str, Any]], bool]


class Rule(NamedTuple):
    operator: str
    apply: Callable[..., Result] | None  # None: refused
    remedy: str
    concerns: _Concern


OPERATORS: dict[Callable[..., Any], Rule] = {}


def _replace(
    operator: str,
    apply: Callable[..., Result],
    *aliases: str,
    in_place: Collection[str] = (),
    concerns: _Concern = _is_floating,
) -> None:
    for function in functions(operator, *aliases):
        OPERATORS[function] = Rule(operator, apply, "", concerns)
    remedy = f"use {operator}, which returns a new tensor"
    for function in functions(*in_place):
        OPERATORS[function] = Rule(operator, None, remedy, concerns)


def _forbid(remedy: str, *names: str, concerns: _Concern = _is_floating) -> None:
    for name in names:
        for function in functions(name):
            OPERATORS.setdefault(function, Rule(name, None, remedy, concerns))


_COMPARISONS: tuple[tuple[str, Callable[..., Result], list[str]], ...] = (
    ("gt", _comparison(soft.greater), ["greater", "__gt__"]),
    ("ge", _comparison(soft.greater), ["greater_equal", "__ge__"]),
    ("lt", _comparison(soft.less), ["less", "__lt__"]),
    ("le", _comparison(soft.less), ["less_equal", "__le__"]),
    ("eq", _equal, ["__eq__"]),
    ("ne", _unequal, ["not_equal", "__ne__"]),
)
for _name, _apply, _aliases in _COMPARISONS:
    _in_place = [f"{alias}_" for alias in (_name, *_aliases) if not alias.startswith("_")]
    _replace(_name, _apply, *_aliases, in_place=_in_place, concerns=_is_comparison)
_replace("heaviside", _heaviside, in_place=["heaviside_"])
_replace("sign", _elementwise(soft.sign), "sgn", in_place=["sign_", "sgn_"])
_replace("abs", _elementwise(soft.abs), "absolute", in_place=["abs_", "absolute_"])
_replace("relu", _elementwise(soft.relu), in_place=["relu_"])
_replace("relu6", _relu6)
_replace("hardtanh", _hardtanh, in_place=["hardtanh_"])
_replace("threshold", _threshold, in_place=["threshold_"])
_replace("hardshrink", _hardshrink)
_replace("clamp", _clamp, "clip", in_place=["clamp_", "clip_"])
_replace("clamp_min", _clamp_min, in_place=["clamp_min_"])
_replace("clamp_max", _clamp_max, in_place=["clamp_max_"])
_replace("round", _round, in_place=["round_"])
_replace("floor", _elementwise(soft.floor), in_place=["floor_"])
_replace("ceil", _elementwise(soft.ceil), in_place=["ceil_"])
_replace("trunc", _elementwise(soft.trunc), "fix", in_place=["trunc_", "fix_"])
_replace("maximum", _maximum)
_replace("minimum", _minimum)
_replace("max", max_or_min(True, _maximum))
_replace("min", max_or_min(False, _minimum))
_replace("amax", amax_or_amin(True))
_replace("amin", amax_or_amin(False))
_replace("argmax", argmax_or_argmin(True))
_replace("argmin", argmax_or_argmin(False))
_replace("sort", sort)
_replace("argsort", argsort)
_replace("msort", msort)
_replace("topk", topk)
_replace("median", median)
_replace("quantile", quantile)

_BRANCH = "use torch.where(condition, a, b) or ts.soft.cond in place of a branch"
_INTEGERS = (
    "stay in floating-point with x.round(), x.floor() or x.trunc(), and index with ts.soft.take"
)
_TAKE = (
    "use ts.soft.take with a row of probabilities, or torch.where(condition, a, b) for an index of "
    "0 or 1"
)
_COMPARE = "compare first, as in x > 0, and combine the conditions"
_forbid(_BRANCH, "__bool__", "is_nonzero", "equal", "allclose", "__contains__")
_forbid(
    f"{_BRANCH}, torch's functions in place of math's, or x.detach() if the number is only looked "
    "at",
    *("item", "tolist", "__float__", "numpy"),
    concerns=_has_gradient,
)
_forbid(_INTEGERS, "__int__", "__index__", "long", "int", "short", "char", "byte")
_forbid(
    _INTEGERS,
    *("to", "type", "type_as", "as_tensor", "asarray", "tensor"),
    concerns=_drops_fraction,
)
_forbid(_TAKE, "__getitem__", concerns=_indexes_by_number)
_forbid(
    _TAKE,
    *("gather", "index_select", "index_add", "index_copy", "index_fill", "scatter", "scatter_add"),
    concerns=_gathers_by_number,
)
_forbid(
    _COMPARE,
    *("bool", "logical_and", "logical_or", "logical_xor", "logical_not", "any", "all"),
    *("count_nonzero", "isclose", "isin", "signbit"),
)
_forbid(
    "use torch.where over all entries: how many there are depends on values",
    *("nonzero", "argwhere", "unique", "unique_consecutive", "nonzero_static"),
)
_FLOOR = "write it by floor, with the noise on the quotient: (a / b).floor()"
_forbid(_FLOOR, "floor_divide", "floor_divide_", "__floordiv__", "__rfloordiv__")
_forbid(_FLOOR, "div", "divide", "div_", "divide_", concerns=_rounds_quotient)
_forbid(
    "write it by floor, with the noise on the quotient: a - b * (a / b).floor()",
    *("remainder", "remainder_", "__mod__", "__rmod__"),
)
_forbid(
    "write it by trunc, with the noise on the quotient: a - b * (a / b).trunc()", "fmod", "fmod_"
)
_forbid("write it by trunc: x - x.trunc()", "frac", "frac_")
_forbid("write it by sign: a.abs() * b.sign()", "copysign", "copysign_")
_forbid("compare, as in torch.where(x < 0, math.pi, 0.0)", "angle")
_forbid('use mode="bilinear"', "grid_sample", concerns=_takes_the_nearest)
_forbid("divide by 2**k for a k of your own: the exponent is an integer", "frexp")
_forbid("use torch.maximum or torch.minimum", "fmax", "fmin")
_forbid("use torch.amax and torch.amin", "aminmax", "cummax", "cummin")
_forbid("use torch.sort, torch.median or torch.quantile", "kthvalue", "mode", "nanmedian")
_forbid("use torch.quantile", "nanquantile")
_forbid(
    "sum comparisons, as in (x.unsqueeze(-1) > edges).sum(-1)",
    *("bucketize", "searchsorted", "histc", "bincount", "histogram"),
)

NAMES = frozenset(rule.operator for rule in OPERATORS.values())
SOFTENED = tuple(
    dict.fromkeys(rule.operator for rule in OPERATORS.values() if rule.apply is not None)
)
"""The names of the operators that `soften` replaces."""
