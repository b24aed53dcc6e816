"""Comparisons whose outcome the operators before them decide.

`x.relu() > 0` is x > 0, and the largest element of x reaches `x.amax()` for certain: noise on the
difference would make such ties a matter of chance at every scale. So outputs of operators are
remembered with their inputs, and a comparison asks what an operand is the output of.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .. import soft
from ..distributions import AbstractDistribution


class Monotone(NamedTuple):
    """The output of an increasing function of every element of x."""

    input: Tensor
    at_least: Callable[[float], float]  # c -> the lowest x with f(x) >= c; infinite for none or all
    above: Callable[[float], float]  # the same with f(x) > c


class OrderStatistic(NamedTuple):
    """One of the largest, or smallest, elements along a dimension of x."""

    input: Tensor
    dim: int | None  # None: of all elements
    largest: bool
    size: int  # how many elements the output has along the dimension
    rank: int | None  # how many elements come before it; None: the output has several
    kept: bool  # whether the output broadcasts against x: it has the dimension, or no other


Origin = Monotone | OrderStatistic

# The outputs of operators, for as long as they live, with their versions and those of the inputs.
_known = WeakIdKeyDictionary()
# torch.compile traces attributes of tensors, and no dictionary of them: those that have one.
_traced: list[Tensor] = []


def remember(output: Tensor, origin: Origin) -> None:
    if torch.compiler.is_compiling():
        output._origin = origin  # type: ignore[attr-defined]
        _traced.append(output)
    else:
        _known[output] = (origin, _version(output), _version(origin.input))


def forget() -> None:
    """Leaves nothing of a block on the tensors of a compiled program."""
    for output in _traced:
        output._origin = None  # type: ignore[attr-defined]
    _traced.clear()


def origin_of(value: object) -> Origin | None:
    """The operator whose output a value is, unless it or the input was changed since."""
    if not isinstance(value, Tensor):
        return None
    if torch.compiler.is_compiling():
        traced: Origin | None = getattr(value, "_origin", None)
        return traced
    known = _known.get(value)
    if known is None:
        return None
    origin, of_output, of_input = known
    unchanged = (of_output, of_input) == (_version(value), _version(origin.input))
    return origin if unchanged else None


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


# --- increasing functions --------------------------------------------------------------------


def clamped(input: Tensor, lo: float, hi: float) -> Monotone:
    def at_least(c: float) -> float:
        return -math.inf if c <= lo else math.inf if c > hi else c

    def above(c: float) -> float:
        return -math.inf if c < lo else math.inf if c >= hi else c

    return Monotone(input, at_least, above)


def stepped(input: Tensor, first: Callable[[int], float]) -> Monotone:
    """Of a function with integer values, given the lowest x for each of them."""

    def at_least(c: float) -> float:
        return c if math.isinf(c) else first(math.ceil(c))

    def above(c: float) -> float:
        return c if math.isinf(c) else first(math.floor(c) + 1)

    return Monotone(input, at_least, above)


_FIRST: dict[str, Callable[[int], float]] = {
    "floor": lambda k: k,
    "ceil": lambda k: k - 1,
    "round": lambda k: k - 0.5,
    "trunc": lambda k: k if k > 0 else k - 1,
    "sign": lambda k: -math.inf if k <= -1 else 0.0 if k <= 1 else math.inf,
}


def of_elementwise(name: str, input: Tensor) -> Monotone | None:
    if name == "relu":
        return clamped(input, 0.0, math.inf)
    return stepped(input, _FIRST[name]) if name in _FIRST else None


# --- views of order statistics ---------------------------------------------------------------


VIEWS = (Tensor.__getitem__, Tensor.unsqueeze, torch.unsqueeze)


def of_view(
    func: Callable[..., Any], origin: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> OrderStatistic | None:
    """The origin of an order statistic that is indexed or unsqueezed, if it is still known."""
    if not isinstance(origin, OrderStatistic) or origin.dim is None or kwargs or len(args) != 2:
        return None
    value, item = args
    axes = list(range(origin.input.ndim))  # of the value, by the dimensions of the input
    if value.ndim < len(axes):
        axes.remove(origin.dim)
    if func is not Tensor.__getitem__:
        at = item % (value.ndim + 1)
        return _of_item(origin, axes, (*[slice(None)] * at, None, Ellipsis))
    return _of_item(origin, axes, item if isinstance(item, tuple) else (item,))


def _of_item(
    origin: OrderStatistic, axes: list[int], items: tuple[Any, ...]
) -> OrderStatistic | None:
    if not all(i is None or i is Ellipsis or isinstance(i, int | slice) for i in items):
        return None
    every = list(range(origin.input.ndim))
    others = [dim for dim in every if dim != origin.dim]
    if not any(i is Ellipsis for i in items):
        items = (*items, Ellipsis)
    at = next(n for n, i in enumerate(items) if i is Ellipsis)
    missing = len(axes) - sum(i is not None for i in items) + 1
    items = (*items[:at], *[slice(None)] * missing, *items[at + 1 :])
    rank, left, result = origin.rank, iter(axes), []
    for item in items:
        axis = origin.dim if item is None else next(left)
        if item is not None and axis == origin.dim and rank is None:
            taken = range(origin.size)[item]
            rank = taken if isinstance(taken, int) else taken[0] if len(taken) == 1 else None
            if rank is None:
                return None
            if isinstance(item, int):
                continue
        elif item is not None and item != slice(None):
            return None
        result.append(axis)
    if result not in (every, others):
        return None
    return origin._replace(rank=rank, kept=result == every or not others)


# --- comparisons -----------------------------------------------------------------------------

_MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}


def decided(
    operator: str,
    a: object,
    b: object,
    law: AbstractDistribution,
    among_first: Callable[[OrderStatistic, int], Tensor],
) -> Tensor | None:
    """P(a operator b) if what one is the output of decides it, else None.

    `among_first(origin, k)` is the probability of each element to be among the first k.
    """
    if origin_of(b) is None:
        a, b, operator = b, a, _MIRRORED[operator]
    origin = origin_of(b)  # now a, the operator and what b is the output of
    if isinstance(origin, Monotone):
        if isinstance(a, bool) or not isinstance(a, numbers.Real):
            return None
        return _decide_monotone(_MIRRORED[operator], origin, float(a), law)
    if origin is None or origin.input is not a or origin.rank is None or not origin.kept:
        return None
    if not origin.largest:  # as of the largest of -x
        operator = _MIRRORED[operator]
    if operator in ("gt", "le"):
        p = among_first(origin, origin.rank)
    else:
        p = among_first(origin, origin.rank + 1)
        if operator in ("eq", "ne"):
            p = p - among_first(origin, origin.rank)
    return 1 - p if operator in ("lt", "le", "ne") else p


def _decide_monotone(
    operator: str, origin: Monotone, c: float, law: AbstractDistribution
) -> Tensor | None:
    x, reached, passed = origin.input, origin.at_least(c), origin.above(c)
    if operator in ("ge", "lt"):
        return _beyond(x, reached, law, operator == "ge")
    if operator in ("gt", "le"):
        return _beyond(x, passed, law, operator == "gt")
    if not reached < passed:
        return None  # no single value has a probability here
    if math.isinf(reached):
        p = _beyond(x, passed, law, False)
    elif math.isinf(passed):
        p = _beyond(x, reached, law, True)
    else:
        p = soft.equal(x, 0.5 * (reached + passed), 0.5 * (passed - reached), law)
    return p if operator == "eq" else 1 - p


def _beyond(x: Tensor, threshold: float, law: AbstractDistribution, above: bool) -> Tensor:
    if math.isinf(threshold):
        return torch.full_like(soft.greater(x, 0.0, law), (threshold < 0) == above)
    return (soft.greater if above else soft.less)(x, threshold, law)
