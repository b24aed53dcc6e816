"""Existing PyTorch code with its hard operators replaced by their smooth twins.

A mode of `torch.overrides` sees every call of an operator inside the block. What it replaces stands
in the tables of this file: `_OPERATORS` for operators of floating-point tensors, `_EVENTS` and
`_INDICES` for what may be done with the results of comparisons and of argmax.
"""

import functools
import inspect
import math
import numbers
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeVar, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from . import functional, soft
from ._arguments import check_distribution, check_int
from .distributions import AbstractDistribution, Gumbel
from .samplers import seed_tensor


C = TypeVar("C", bound=Callable[..., Any])

# The exact integrals over a dimension cost the square of its size.
_LONGEST_INTEGRATED = 32

_TORCH = str(Path(torch.__file__).parent)
_PACKAGE = str(Path(__file__).parent)
_DYNAMO = str(Path(_TORCH, "_dynamo"))
# Code of torch that stands between a program and its operators. All other code of torch, such as
# optimizers and checks of distributions, is not what the block is about.
_BETWEEN = (
    __file__,
    *(
        str(Path(_TORCH, *part))
        for part in (
            ("nn", "modules"),
            ("nn", "functional.py"),
            ("overrides.py",),
            ("_tensor.py",),
            ("functional.py",),
            ("_jit_internal.py",),
        )
    ),
)


class Place(NamedTuple):
    """A line of a program."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def _caller() -> Place | None:
    """The line that called an operator; None if that is code of torch or of this package."""
    for place, library in _traced() if torch.compiler.is_compiling() else _frames():
        if not place.file.startswith(_BETWEEN):
            return None if library else place
    return None


def _user() -> Place:
    """The innermost line that is neither torch's nor this package's."""
    for place, library in _traced() if torch.compiler.is_compiling() else _frames():
        if not library:
            return place
    raise AssertionError("some program must have called")


def _frames() -> Iterator[tuple[Place, bool]]:
    """The lines being executed, innermost first, and whether they are a library's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code, outer = frame.f_code, frame.f_back
        library = code.co_filename.startswith((_TORCH, _PACKAGE))
        if code.co_filename.startswith("<eval_with_key>") and outer is not None:
            # A graph that Dynamo made: its operators have been replaced when it was traced.
            library = outer.f_code.co_filename.startswith(_DYNAMO)
        yield Place(code.co_filename, frame.f_lineno), library
        frame = outer


@torch._dynamo.assume_constant_result
def _traced() -> list[tuple[Place, bool]]:
    """The lines being traced by Dynamo, which runs this function while it traces."""
    from torch._dynamo.symbolic_convert import InstructionTranslator

    lines = []
    translator: Any = InstructionTranslator.current_tx().output.current_tx
    while translator is not None:
        file = translator.f_code.co_filename
        lines.append((Place(file, translator.lineno), file.startswith((_TORCH, _PACKAGE))))
        translator = getattr(translator, "parent", None)
    return lines


class Replacement(NamedTuple):
    """An operator at a line of a program, what ran in its place, and how often."""

    operator: str
    twin: str
    place: Place
    count: int


@final
class Replacements:
    """What a block of `soften` has replaced: a sequence of `Replacement`, and a table as text."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, Place], int] = {}

    def __iter__(self) -> Iterator[Replacement]:
        return (Replacement(*key, count) for key, count in self._counts.items())

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, operator: str, twin: str, place: Place) -> None:
        key = (operator, twin, place)
        self._counts[key] = self._counts.get(key, 0) + 1

    def count(self, operator: str) -> int:
        """How often an operator was replaced, on all lines."""
        return sum(entry.count for entry in self if entry.operator == operator)

    def __str__(self) -> str:
        if not self._counts:
            return "nothing was replaced"
        rows = [("operator", "replaced by", "count", "at")]
        rows += [(e.operator, e.twin, str(e.count), str(e.place)) for e in self]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            f"{name:<{widths[0]}}  {twin:<{widths[1]}}  {count:>{widths[2]}}  {place}"
            for name, twin, count, place in rows
        ]
        return "\n".join(lines)


# What stands for bool and integer tensors inside the block.


def _refuse_value(what: str, remedy: str) -> ValueError:
    # No TypeError, which the comparisons of tensors take for "not my operand".
    return ValueError(f"{_user()}: {what}; {remedy}")


class _Stand:
    """What stands in a softened program for a tensor that it cannot be.

    Not a tensor: an operator that is not in the tables has no chance to take its numbers for those
    of the hard program.
    """

    _noun: str
    _number: str  # how a program gets at the numbers

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _apply_to_stands(func, args, kwargs or {})[1]

    def _refuse(self, what: str) -> ValueError:
        return _refuse_value(
            f"{what} needs the values of {self._noun}, which has none, only probabilities",
            f"{self._remedy}. {self._number} gives its numbers",
        )

    _remedy: str

    def __int__(self) -> int:
        raise self._refuse("int()")

    def __float__(self) -> float:
        raise self._refuse("float()")

    def __index__(self) -> int:
        raise self._refuse("an integer index")

    def item(self) -> Any:
        raise self._refuse("item()")

    def tolist(self) -> Any:
        raise self._refuse("tolist()")

    def numpy(self, **_: Any) -> Any:
        raise self._refuse("numpy()")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise self._refuse("numpy()")

    def nonzero(self, *_: Any, **__: Any) -> Any:
        raise self._refuse("nonzero()")

    def __eq__(self, other: object) -> Any:
        return torch.eq(self, other)  # type: ignore[call-overload]

    def __ne__(self, other: object) -> Any:
        return torch.ne(self, other)  # type: ignore[call-overload]

    __hash__ = object.__hash__


@final
class SoftBoolean(_Stand):
    """The result of a comparison inside a block of `soften`: events with their probabilities.

    Stands for a bool tensor. `&`, `|`, `^`, `~`, `all`, `any`, `==` and `!=` combine events, taken
    to be independent, as in `torchsmooth.soft`; `torch.where` and `masked_fill` blend by it. Sums
    and products with numbers take the probabilities, as they take 0 and 1 of a bool tensor; so do
    `float()` and the other conversions, `int()` and `long()` included: the result is the expected
    number, floating-point. Whatever else needs a value (`if`, `while`, `assert`, masks, `item`)
    raises.

    >>> import torch, torchsmooth as ts
    >>> from torchsmooth.soften import soften
    >>> with soften(ts.Logistic()):
    ...     event = torch.tensor([0.0, 1.0]) > 0
    >>> event
    SoftBoolean(tensor([0.5000, 0.7311]))
    >>> (~event).float()
    tensor([0.5000, 0.2689])
    """

    _noun = "a soft boolean"
    _number = "`.probability`"
    _remedy = (
        "use torch.where(condition, a, b) or ts.soft.cond in place of a branch, and &, |, ~ in "
        "place of and, or, not"
    )

    def __init__(self, probability: Tensor) -> None:
        self.probability = probability

    def __bool__(self) -> bool:
        raise self._refuse("a Python branch (if, while, assert, and, or, not)")

    dtype = torch.bool
    """That of the tensor it stands for."""

    @property
    def shape(self) -> torch.Size:
        return self.probability.shape

    @property
    def ndim(self) -> int:
        return self.probability.ndim

    @property
    def device(self) -> torch.device:
        return self.probability.device

    @property
    def requires_grad(self) -> bool:
        return self.probability.requires_grad

    @property
    def T(self) -> "SoftBoolean":
        return SoftBoolean(self.probability.T)

    @property
    def mT(self) -> "SoftBoolean":
        return SoftBoolean(self.probability.mT)

    def __len__(self) -> int:
        return len(self.probability)

    def __iter__(self) -> Iterator["SoftBoolean"]:
        return (SoftBoolean(p) for p in self.probability)

    def __repr__(self) -> str:
        return f"SoftBoolean({self.probability!r})"

    def __getitem__(self, item: Any) -> Any:
        return _apply_to_stands(Tensor.__getitem__, (self, item), {})[1]

    def __setitem__(self, item: Any, value: Any) -> None:
        raise self._refuse_in_place("condition[...] = value")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in _EVENT_METHODS:
            return functools.partial(_method, getattr(Tensor, name), self)
        raise AttributeError(
            f"a soft boolean has no {name}; call .float() first for its probability as a tensor"
        )

    def _refuse_in_place(self, operator: str) -> ValueError:
        return _refuse_value(
            f"{operator} changes a soft boolean in place, which would spoil what was computed "
            "from it",
            "make a new one, as in condition = condition & other, or with torch.where",
        )

    def _event(self, other: Any) -> Any:
        """True and False as events: torch's functions take no numbers."""
        return SoftBoolean(_events(other, self.probability)) if isinstance(other, bool) else other

    def __invert__(self) -> Any:
        return torch.logical_not(self)  # type: ignore[call-overload]

    def __and__(self, other: Any) -> Any:
        return torch.logical_and(self, self._event(other))  # type: ignore[call-overload]

    def __or__(self, other: Any) -> Any:
        return torch.logical_or(self, self._event(other))  # type: ignore[call-overload]

    def __xor__(self, other: Any) -> Any:
        return torch.logical_xor(self, self._event(other))  # type: ignore[call-overload]

    def __rand__(self, other: Any) -> Any:
        return torch.logical_and(self._event(other), self)  # type: ignore[call-overload]

    def __ror__(self, other: Any) -> Any:
        return torch.logical_or(self._event(other), self)  # type: ignore[call-overload]

    def __rxor__(self, other: Any) -> Any:
        return torch.logical_xor(self._event(other), self)  # type: ignore[call-overload]

    def logical_not(self) -> Any:  # not by ~, which torch.compile cannot trace
        return torch.logical_not(self)  # type: ignore[call-overload]

    def logical_and(self, other: Any) -> Any:
        return self & other

    def logical_or(self, other: Any) -> Any:
        return self | other

    def logical_xor(self, other: Any) -> Any:
        return self ^ other

    def all(self, *args: Any, **kwargs: Any) -> Any:
        return torch.all(self, *args, **kwargs)  # type: ignore[call-overload]

    def any(self, *args: Any, **kwargs: Any) -> Any:
        return torch.any(self, *args, **kwargs)  # type: ignore[call-overload]

    def eq(self, other: Any) -> Any:
        return self == other

    def ne(self, other: Any) -> Any:
        return self != other

    def __iand__(self, other: Any) -> Any:
        raise self._refuse_in_place("&=")

    def __ior__(self, other: Any) -> Any:
        raise self._refuse_in_place("|=")

    def __ixor__(self, other: Any) -> Any:
        raise self._refuse_in_place("^=")

    def __add__(self, other: Any) -> Any:
        return torch.add(self, other)  # type: ignore[call-overload]

    def __radd__(self, other: Any) -> Any:
        return torch.add(self, other)  # type: ignore[call-overload]

    def __sub__(self, other: Any) -> Any:
        return torch.sub(self, other)  # type: ignore[call-overload]

    def __rsub__(self, other: Any) -> Any:
        return torch.rsub(self, other)  # type: ignore[call-overload]

    def __mul__(self, other: Any) -> Any:
        return torch.mul(self, other)  # type: ignore[call-overload]

    def __rmul__(self, other: Any) -> Any:
        return torch.mul(self, other)  # type: ignore[call-overload]

    def __truediv__(self, other: Any) -> Any:
        return torch.div(self, other)  # type: ignore[call-overload]


@final
class SoftIndex(_Stand):
    """The result of argmax, argsort and the like inside a block of `soften`: a random index.

    Stands for an integer tensor of shape [...]; `probabilities` is [..., n], the law of each of its
    entries on 0, ..., n - 1. It indexes a dimension of tensors (`x[index]`, `gather`,
    `take_along_dim`, `index_select`, `take`, `F.embedding`), which gives the expected entry; it
    turns into expected one-hot vectors (`F.one_hot`); `==` and `!=` with integers give a
    `SoftBoolean`; `.float()` gives the expected index. Whatever else needs a value raises.

    >>> import torch, torchsmooth as ts
    >>> from torchsmooth.soften import soften
    >>> with soften(ts.Gumbel()):
    ...     index = torch.tensor([0.0, 1.0, 3.0]).argmax()
    ...     value = torch.tensor([10.0, 20.0, 30.0])[index]
    >>> index
    SoftIndex(tensor([0.0420, 0.1142, 0.8438]))
    >>> value
    tensor(28.0178)
    """

    _noun = "a soft index"
    _number = "`.probabilities`"
    _remedy = (
        "index by it with x[index], torch.gather or torch.take_along_dim, which are "
        "ts.soft.take and ts.soft.take_along_dim of its probabilities"
    )

    def __init__(
        self, probabilities: Tensor | Callable[[], Tensor], shape: Sequence[int] | None = None
    ) -> None:
        """`probabilities`: [..., n], or a function that returns them, with the index's shape."""
        self._grad = torch.is_grad_enabled()
        self._probabilities = probabilities
        if isinstance(probabilities, Tensor):
            shape = probabilities.shape[:-1]
        elif torch.compiler.is_compiling():  # later, operators inside would be replaced too
            self._probabilities = probabilities()
        assert shape is not None
        self.shape = torch.Size(shape)

    @property
    def probabilities(self) -> Tensor:
        if not isinstance(self._probabilities, Tensor):
            with torch.set_grad_enabled(self._grad):
                self._probabilities = self._probabilities()
        return self._probabilities

    def __bool__(self) -> bool:
        raise self._refuse("a Python branch (if, while, assert, and, or, not)")

    dtype = torch.int64
    """That of the tensor it stands for."""

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def device(self) -> torch.device:
        return self.probabilities.device

    def dim(self) -> int:
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator["SoftIndex"]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"SoftIndex({self.probabilities!r})"

    def __getitem__(self, item: Any) -> "SoftIndex":
        items = item if isinstance(item, tuple) else (item,)
        if any(isinstance(i, Tensor | _Stand) for i in items):
            raise self._refuse("indexing by a tensor")
        if Ellipsis in items:
            items = (*items, slice(None))
        elif sum(i is not None for i in items) > len(self.shape):
            raise IndexError(f"too many indices for an index of shape {tuple(self.shape)}")
        return SoftIndex(self.probabilities[items])

    def unsqueeze(self, dim: int) -> "SoftIndex":
        return SoftIndex(self.probabilities.unsqueeze(dim if dim >= 0 else dim - 1))

    def squeeze(self, dim: int) -> "SoftIndex":
        return SoftIndex(self.probabilities.squeeze(dim if dim >= 0 else dim - 1))

    def reshape(self, *shape: Any) -> "SoftIndex":
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        p = self.probabilities
        if math.prod(sizes) >= 0:
            return SoftIndex(p.reshape(*sizes, p.shape[-1]))
        return SoftIndex(p.reshape(-1, p.shape[-1]).unflatten(0, tuple(sizes)))

    view = reshape

    def flatten(self) -> "SoftIndex":
        return self.reshape(-1)

    def long(self) -> "SoftIndex":
        return self

    def detach(self) -> "SoftIndex":
        return SoftIndex(self.probabilities.detach())

    def float(self) -> Tensor:
        """The expected index."""
        return self.to(torch.float32)

    def double(self) -> Tensor:
        """The expected index."""
        return self.to(torch.float64)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs, dtype = _without_integers(args, kwargs)
        if dtype is None:  # a device, or another integer type
            return SoftIndex(self.probabilities.to(*args, **kwargs))
        p = self.probabilities
        expected = p @ torch.arange(p.shape[-1], dtype=p.dtype, device=p.device)
        return expected.to(*args, **kwargs)


pytree.register_pytree_node(
    SoftBoolean,
    lambda event: ([event.probability], None),
    lambda leaves, _: SoftBoolean(*leaves),
)
pytree.register_pytree_node(
    SoftIndex,
    lambda index: ([index.probabilities], None),
    lambda leaves, _: SoftIndex(*leaves),
)


def _method(func: Callable[..., Any], self: _Stand, *args: Any, **kwargs: Any) -> Any:
    return _apply_to_stands(func, (self, *args), kwargs)[1]


def _contains(kind: type | tuple[type, ...], values: Iterable[Any]) -> bool:
    for value in values:
        if isinstance(value, kind):
            return True
        if isinstance(value, list | tuple) and _contains(kind, value):
            return True
    return False


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
    raise _refuse_value(
        f"a soft boolean goes with other conditions, got {value!r}",
        "compare it first, as in condition & (x > 0)",
    )


def _without_integers(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], torch.dtype | None]:
    """Arguments of `to` without integer types, and the floating-point type if one was there."""

    def kept(value: Any) -> Any:
        if isinstance(value, Tensor | _Stand):
            return value.dtype if value.dtype.is_floating_point else value.device
        return value

    args = tuple(map(kept, args))
    kwargs = {name: kept(value) for name, value in kwargs.items()}
    types = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.dtype)]
    floating = [t for t in types if t.is_floating_point]
    if types and not floating:
        args = tuple(v for v in args if v not in types)
        kwargs = {name: v for name, v in kwargs.items() if v not in types}
    return args, kwargs, floating[0] if floating else None


# Events: operators that take soft booleans. Each gets the function that was called and its
# arguments.

_Stands = Callable[..., Any]


def _pair_of_events(twin: Callable[[Tensor, Tensor], Tensor]) -> _Stands:
    def apply(func: Callable[..., Any], input: Any, other: Any) -> SoftBoolean:
        like = _numbers(input if isinstance(input, SoftBoolean) else other)
        return SoftBoolean(twin(_events(input, like), _events(other, like)))

    return apply


def _same_event(p: Tensor, q: Tensor) -> Tensor:
    return soft.logical_not(soft.logical_xor(p, q))


def _not_event(func: Callable[..., Any], input: SoftBoolean) -> SoftBoolean:
    return SoftBoolean(soft.logical_not(input.probability))


def _reduce_events(twin: Callable[..., Tensor]) -> _Stands:
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
        raise _refuse_value(
            f"torch.where expects a condition, got {type(condition).__name__}", "compare it first"
        )
    p = condition.probability
    blend = soft.where(p, _number(a, p), _number(b, p))
    return SoftBoolean(blend) if _is_event(a) and _is_event(b) else blend


def _number(value: Any, like: Tensor) -> Any:
    return _events(value, like) if _is_event(value) else value


def _where_method(func: Callable[..., Any], input: Any, condition: Any, other: Any) -> Any:
    return _where(func, condition, input, other)


def _masked_fill(func: Callable[..., Any], input: Any, mask: Any, value: Any) -> Any:
    return _where(func, mask, value, input)


def _both_branches(
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
    asked = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.dtype)]
    args, kwargs, _ = _without_integers(args, kwargs)
    p = input.probability.to(*args, **kwargs) if args or kwargs else input.probability
    return p if asked and torch.bool not in asked else SoftBoolean(p)


def _itself(func: Callable[..., Any], input: SoftBoolean) -> SoftBoolean:
    return input


def _reshaping(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Operators that move entries about: events stay events."""
    first = args[0] if args else next(iter(kwargs.values()))
    if isinstance(first, list | tuple):  # cat, stack: events, unless numbers are among them
        like = next(_numbers(v) for v in first if isinstance(v, SoftBoolean))
        events = all(_is_event(v) for v in first)
        first = [_number(v, like) for v in first]
    else:
        events = isinstance(first, SoftBoolean)
        if not events or _contains(_Stand, (*args[1:], *kwargs.values())):
            return _index_by_event(func, *args, **kwargs)
        first = first.probability
    result = func(first, *args[1:], **kwargs)
    if not events:
        return result
    return tuple(map(SoftBoolean, result)) if isinstance(result, tuple) else SoftBoolean(result)


def _information(func: Callable[..., Any], input: SoftBoolean, *args: Any, **kwargs: Any) -> Any:
    return func(input.probability, *args, **kwargs)


def _index_by_event(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    raise _refuse_value(
        "indexing by a soft boolean has a result whose shape depends on values that it has not got",
        "use torch.where(condition, x, 0.0), or multiply by condition.float()",
    )


def _assign(func: Callable[..., Any], input: Any, item: Any, value: Any) -> None:
    if _contains(_Stand, (item,)):
        raise _refuse_value(
            "assignment at a soft boolean or a soft index changes a part of x that is not certain",
            "use x = torch.where(condition, value, x)",
        )
    if not isinstance(value, SoftBoolean) or not input.is_floating_point():
        raise _refuse_value(
            "a soft boolean or a soft index cannot be stored in a tensor of bools or integers",
            "make one with torch.stack or torch.cat, or store .float() in a floating-point tensor",
        )
    input[item] = value.probability


def _in_place(func: Callable[..., Any], input: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(input, SoftBoolean):
        raise input._refuse_in_place(f"{func.__name__}")
    return func(input, *_numbers(args), **kwargs)


class _StandRule(NamedTuple):
    operator: str
    twin: str | None  # None: nothing is replaced that a program would notice
    apply: _Stands


_EVENTS: dict[Callable[..., Any], _StandRule] = {}
_INDICES: dict[Callable[..., Any], _StandRule] = {}


def _functions(*names: str) -> Iterator[Callable[..., Any]]:
    """What the names stand for, as functions and as methods."""
    for name in names:
        found = False
        for home in (torch, Tensor, F, torch.special):
            function = getattr(home, name, None)
            if callable(function) and not isinstance(function, type):
                found = True
                yield function
        assert found, name


def _define(
    table: dict[Callable[..., Any], _StandRule], twin: str | None, apply: _Stands, *names: str
) -> None:
    for function in _functions(*names):
        table[function] = _StandRule(names[0], twin, apply)


for _name, _twin in (
    ("and", soft.logical_and),
    ("or", soft.logical_or),
    ("xor", soft.logical_xor),
):
    _aliases = (f"logical_{_name}", f"bitwise_{_name}", f"__{_name}__")
    _define(_EVENTS, f"ts.soft.{_aliases[0]}", _pair_of_events(_twin), *_aliases)
_define(_EVENTS, "ts.soft.logical_not", _not_event, "logical_not", "bitwise_not")
_define(_EVENTS, "ts.soft.logical_xor", _pair_of_events(soft.logical_xor), "ne", "not_equal")
_define(_EVENTS, "not of ts.soft.logical_xor", _pair_of_events(_same_event), "eq")
_define(_EVENTS, "ts.soft.all", _reduce_events(soft.all), "all")
_define(_EVENTS, "ts.soft.any", _reduce_events(soft.any), "any")
_define(_EVENTS, "ts.soft.where", _where, "where")
_EVENTS[Tensor.where] = _StandRule("where", "ts.soft.where", _where_method)
_define(_EVENTS, "ts.soft.where", _masked_fill, "masked_fill")
_EVENTS[torch.ops.higher_order.cond] = _StandRule(
    "cond", "ts.soft.where of both branches", _both_branches
)
_define(_EVENTS, None, _sum_or_or, "add")
_define(_EVENTS, None, _product_or_and, "mul", "multiply")
_define(_EVENTS, None, _arithmetic, "sub", "subtract", "rsub")
_define(_EVENTS, None, _quotient, "div", "divide", "true_divide", "__truediv__")
_define(_EVENTS, None, _in_place, "add_", "sub_", "mul_", "__iadd__", "__isub__", "__imul__")
_define(_EVENTS, None, _reduction, "sum", "mean", "cumsum")
_define(_EVENTS, None, _count, "count_nonzero")
_define(_EVENTS, None, _conversion, "float", "double", "half", "bfloat16")
_define(_EVENTS, None, _expected, "int", "long", "short", "char", "byte")
_define(_EVENTS, None, _itself, "bool")
_define(_EVENTS, None, _to, "to", "type", "type_as")
_RESHAPING = (
    "reshape view flatten unflatten ravel unsqueeze squeeze transpose swapaxes swapdims permute t "
    "movedim moveaxis expand broadcast_to expand_as stack cat concat hstack vstack flip roll tile "
    "repeat repeat_interleave chunk split unbind tensor_split diagonal tril triu clone contiguous "
    "detach cpu cuda __getitem__ select narrow gather index_select take_along_dim"
).split()
_define(_EVENTS, None, _reshaping, *_RESHAPING)
_INFORMATION = "size dim numel nelement stride is_contiguous get_device __len__".split()
_define(_EVENTS, None, _information, *_INFORMATION)
_define(_EVENTS, None, _index_by_event, "masked_select", "masked_scatter", "index_put")
_define(_EVENTS, None, _assign, "__setitem__")

_EVENT_METHODS = frozenset(
    "sum mean cumsum count_nonzero float double half bfloat16 int long short char byte bool to "
    "type type_as masked_fill add sub mul div".split()
) | frozenset(name for name in (*_RESHAPING, *_INFORMATION) if hasattr(Tensor, name))


# Indices: operators that take a soft index.


def _take(func: Callable[..., Any], input: Any, index: Any) -> Any:
    if not isinstance(index, SoftIndex) or not isinstance(input, Tensor):
        raise _refuse_value(
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
    return SoftBoolean(p[..., int(value)] if 0 <= value < n else torch.zeros_like(p[..., 0]))


def _index_is_not(func: Callable[..., Any], input: Any, other: Any) -> SoftBoolean:
    return SoftBoolean(soft.logical_not(_index_is(func, input, other).probability))


_define(_INDICES, "ts.soft.take", _take, "__getitem__")
_define(_INDICES, "ts.soft.take", _take_flat, "take")
_define(_INDICES, "ts.soft.take", _index_select, "index_select")
_define(_INDICES, "ts.soft.take_along_dim", _gather, "gather")
_define(_INDICES, "ts.soft.take_along_dim", _take_along_dim, "take_along_dim")
_define(_INDICES, "its probabilities", _one_hot, "one_hot")
_define(_INDICES, "ts.soft.take", _embedding, "embedding")
_define(_INDICES, "its probabilities", _index_is, "eq")
_define(_INDICES, "its probabilities", _index_is_not, "ne", "not_equal")
_define(_INDICES, None, _assign, "__setitem__")


def _apply_to_stands(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[_StandRule, Any]:
    indices = _contains(SoftIndex, (*args, *kwargs.values()))
    rule = (_INDICES if indices else _EVENTS).get(func)
    if rule is None:
        noun, cure = (
            ("a soft index", SoftIndex._remedy)
            if indices
            else ("a soft boolean", "use condition.float() for its probability as a tensor")
        )
        name = getattr(func, "__name__", str(func))
        raise _refuse_value(f"{name} does not take {noun}", cure)
    if kwargs.get("out") is not None:
        raise _refuse_value(f"{rule.operator} with out= cannot be smoothed", "use what it returns")
    kwargs = {name: value for name, value in kwargs.items() if name != "out"}
    return rule, rule.apply(func, *args, **kwargs)


# Operators of floating-point tensors. Each gets the block's options and torch's own arguments, and
# returns what it ran and the result.


@dataclass(frozen=True)
class _Options:
    distribution: AbstractDistribution
    operators: frozenset[str]
    tolerance: float | Tensor | None
    num_samples: int
    seed: int | None


_Result = tuple[str, Any]


def _elementwise(twin: Callable[[Tensor, AbstractDistribution], Tensor]) -> Callable[..., _Result]:
    def apply(o: _Options, input: Tensor) -> _Result:
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


def _comparison(twin: Callable[..., Tensor]) -> Callable[..., _Result]:
    def apply(o: _Options, input: Any, other: Any) -> _Result:
        a, b = _pair(input, other)
        return f"ts.soft.{twin.__name__}", SoftBoolean(twin(a, b, o.distribution))

    return apply


def _equality(o: _Options, input: Any, other: Any) -> Tensor:
    if o.tolerance is None:
        raise _refuse_value(
            "== and != of floating-point tensors have the probabilities 0 and 1 under noise",
            "pass soften(..., tolerance=0.5) for ts.soft.equal, compare by < and >, or leave them "
            'as they are with exclude=("eq", "ne")',
        )
    a, b = _pair(input, other)
    return soft.equal(a, b, o.tolerance, o.distribution)


def _equal(o: _Options, input: Any, other: Any) -> _Result:
    return "ts.soft.equal", SoftBoolean(_equality(o, input, other))


def _unequal(o: _Options, input: Any, other: Any) -> _Result:
    return "not of ts.soft.equal", SoftBoolean(soft.logical_not(_equality(o, input, other)))


def _heaviside(o: _Options, input: Tensor, values: Any) -> _Result:
    return "ts.soft.heaviside", soft.heaviside(input, o.distribution)


def _round(o: _Options, input: Tensor, *, decimals: int = 0) -> _Result:
    if decimals != 0:
        raise _refuse_value(
            "round with decimals has no smooth twin",
            "write (x * 10**decimals).round() / 10**decimals, with the noise on what is rounded",
        )
    return "ts.soft.round", soft.round(input, o.distribution)


def _clamp(o: _Options, input: Tensor, min: Any = None, max: Any = None) -> _Result:
    if min is None and max is None:
        raise ValueError("At least one of min or max must not be None, got neither; pass one")
    if max is None:
        return "ts.soft.maximum", soft.maximum(*_pair(input, min), o.distribution)
    if min is None:
        return "ts.soft.minimum", soft.minimum(*_pair(input, max), o.distribution)
    bounds = _operand(min, input), _operand(max, input)
    return "ts.soft.clamp", soft.clamp(input, *bounds, o.distribution)


def _clamp_min(o: _Options, input: Tensor, min: Any) -> _Result:
    return _clamp(o, input, min)


def _clamp_max(o: _Options, input: Tensor, max: Any) -> _Result:
    return _clamp(o, input, None, max)


def _hardtanh(o: _Options, input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> _Result:
    return "ts.soft.clamp", soft.clamp(input, min_val, max_val, o.distribution)


def _relu6(o: _Options, input: Tensor) -> _Result:
    return "ts.soft.clamp", soft.clamp(input, 0.0, 6.0, o.distribution)


def _threshold(o: _Options, input: Tensor, threshold: float, value: float) -> _Result:
    return "ts.soft.threshold", soft.threshold(input, threshold, value, o.distribution)


def _hardshrink(o: _Options, input: Tensor, lambd: float = 0.5) -> _Result:
    return "ts.soft.hardshrink", soft.hardshrink(input, lambd, o.distribution)


def _maximum(o: _Options, input: Tensor, other: Tensor) -> _Result:
    return "ts.soft.maximum", soft.maximum(*_pair(input, other), o.distribution)


def _minimum(o: _Options, input: Tensor, other: Tensor) -> _Result:
    return "ts.soft.minimum", soft.minimum(*_pair(input, other), o.distribution)


def _rows(o: _Options, x: Tensor, dim: int) -> tuple[Tensor, AbstractDistribution]:
    """x and the law with the dimension at the end."""
    law = o.distribution
    if x.ndim == 0:
        x = x.reshape(1)
    if isinstance(law.scale, Tensor) and law.scale.numel() > 1:
        law = law.with_scale(law.scale.expand(x.shape).movedim(dim, -1))
    return x.movedim(dim, -1), law


def _row(o: _Options, x: Tensor) -> tuple[Tensor, AbstractDistribution]:
    """x and the law as one row."""
    law = o.distribution
    if isinstance(law.scale, Tensor) and law.scale.numel() > 1:
        law = law.with_scale(law.scale.expand(x.shape).reshape(-1))
    return x.reshape(-1), law


def _common(law: AbstractDistribution) -> bool:
    """Whether the closed forms of the Gumbel law hold: one scale along the dimension."""
    scale = law.scale
    one = not isinstance(scale, Tensor) or scale.ndim == 0 or scale.shape[-1] == 1
    return isinstance(law, Gumbel) and one


def _sampling(o: _Options, like: Tensor) -> dict[str, Any]:
    return {"num_samples": o.num_samples, "seed": seed_tensor(o.seed, like.device)}


def _extremum(o: _Options, rows: Tensor, law: AbstractDistribution, largest: bool) -> _Result:
    """[..., n] -> [...]"""
    if largest and _common(law):
        return "ts.soft.amax", soft.amax(rows, -1, law)
    if rows.shape[-1] <= _LONGEST_INTEGRATED:
        twin = soft.amax_quadrature if largest else soft.amin_quadrature
        return f"ts.soft.{twin.__name__}", twin(rows, -1, law)
    law.mean()  # raises if there is none
    value = functional.quantile(rows, 1.0 if largest else 0.0, law, **_sampling(o, rows))
    return "ts.functional.quantile", value


def _place_of_extremum(
    o: _Options, rows: Tensor, law: AbstractDistribution, largest: bool
) -> _Result:
    """[..., n] -> [..., n]"""
    if largest and _common(law):
        return "ts.soft.argmax", soft.argmax(rows, -1, law)
    if rows.shape[-1] <= _LONGEST_INTEGRATED:
        twin = soft.argmax_quadrature if largest else soft.argmin_quadrature
        return f"ts.soft.{twin.__name__}", twin(rows, -1, law)
    first = functional.topk(rows, 1, law, largest=largest, **_sampling(o, rows))
    return "ts.functional.topk", first.squeeze(-2)


def _amax_or_amin(largest: bool) -> Callable[..., _Result]:
    def apply(o: _Options, input: Tensor, dim: Any = (), keepdim: bool = False) -> _Result:
        dims = tuple(dim) if isinstance(dim, list | tuple) else (dim,)
        dims = tuple(d % max(input.ndim, 1) for d in dims) or tuple(range(input.ndim))
        if len(dims) == 1:
            rows, law = _rows(o, input, dims[0])
        elif len(dims) == input.ndim:
            rows, law = _row(o, input)
        else:
            kept = [d for d in range(input.ndim) if d not in dims]
            rows = input.permute(*kept, *dims).flatten(len(kept))
            law = o.distribution
            if isinstance(law.scale, Tensor) and law.scale.numel() > 1:
                scale = law.scale.expand(input.shape).permute(*kept, *dims)
                law = law.with_scale(scale.flatten(len(kept)))
        twin, value = _extremum(o, rows, law, largest)
        if keepdim:
            value = value.reshape([1 if d in dims else n for d, n in enumerate(input.shape)])
        return twin, value

    return apply


def _max_or_min(largest: bool) -> Callable[..., _Result]:
    extremum = _amax_or_amin(largest)
    pair = _maximum if largest else _minimum
    kind: Any = torch.return_types.max if largest else torch.return_types.min

    def apply(
        o: _Options, input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None
    ) -> _Result:
        if other is not None or isinstance(dim, Tensor):
            return pair(o, input, dim if other is None else other)
        if dim is None:
            return extremum(o, input)
        twin, value = extremum(o, input, dim, keepdim)
        rows, law = _rows(o, input, dim)
        return twin, kind((value, _index(o, rows, law, largest, value, dim if keepdim else None)))

    return apply


def _index(
    o: _Options,
    rows: Tensor,
    law: AbstractDistribution,
    largest: bool,
    like: Tensor,
    kept: int | None,
) -> SoftIndex:
    def compute() -> Tensor:
        _, p = _place_of_extremum(o, rows, law, largest)
        return p if kept is None else p.unsqueeze(kept if kept >= 0 else kept - 1)

    return SoftIndex(compute, like.shape)


def _argmax_or_argmin(largest: bool) -> Callable[..., _Result]:
    def apply(o: _Options, input: Tensor, dim: int | None = None, keepdim: bool = False) -> _Result:
        rows, law = _row(o, input) if dim is None else _rows(o, input, dim)
        twin, p = _place_of_extremum(o, rows, law, largest)
        if dim is None:
            p = p.reshape(*([1] * input.ndim if keepdim else []), p.shape[-1])
        elif keepdim:
            p = p.unsqueeze(dim if dim >= 0 else dim - 1)
        return twin, SoftIndex(p)

    return apply


def _order(
    o: _Options, input: Tensor, dim: int, descending: bool, count: int | None = None
) -> tuple[Tensor, SoftIndex]:
    """The order statistics and the law of who holds each place, from the same noise."""
    rows, law = _rows(o, input, dim)
    law.mean()  # raises if there is none: then the outermost have no expectation
    sampling = _sampling(o, input)
    values = functional.sort(rows, law, descending=descending, **sampling)[..., :count]
    places = values.movedim(-1, dim) if input.ndim else values.squeeze(-1)

    def compute() -> Tensor:
        p = functional.topk(rows, values.shape[-1], law, largest=descending, **sampling)
        return p.movedim(-2, dim if dim >= 0 else dim - 1) if input.ndim else p.squeeze(-2)

    return places, SoftIndex(compute, places.shape)


def _sort(
    o: _Options, input: Tensor, dim: int = -1, descending: bool = False, stable: Any = None
) -> _Result:
    kind: Any = torch.return_types.sort
    return "ts.functional.sort", kind(_order(o, input, dim, descending))


def _argsort(
    o: _Options, input: Tensor, dim: int = -1, descending: bool = False, stable: Any = None
) -> _Result:
    rows, law = _rows(o, input, dim)
    p = functional.argsort(rows, law, descending=descending, **_sampling(o, input))
    p = p.movedim(-2, dim if dim >= 0 else dim - 1) if input.ndim else p.squeeze(-2)
    return "ts.functional.argsort", SoftIndex(p)


def _msort(o: _Options, input: Tensor) -> _Result:
    return "ts.functional.sort", _order(o, input, 0, False)[0]


def _topk(
    o: _Options, input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> _Result:
    kind: Any = torch.return_types.topk
    return "ts.functional.sort", kind(_order(o, input, dim, largest, k))


def _median(o: _Options, input: Tensor, dim: int | None = None, keepdim: bool = False) -> _Result:
    rows, law = _row(o, input) if dim is None else _rows(o, input, dim)
    sampling = _sampling(o, input)
    value = functional.median(rows, law, keepdim=keepdim, **sampling)
    if dim is None:
        return "ts.functional.median", value
    if keepdim and input.ndim:
        value = value.movedim(-1, dim)

    def compute() -> Tensor:
        middle = (rows.shape[-1] - 1) // 2
        p = functional.topk(rows, middle + 1, law, largest=False, **sampling)[..., middle, :]
        return p.unsqueeze(dim if dim >= 0 else dim - 1) if keepdim and input.ndim else p

    kind: Any = torch.return_types.median
    if not input.ndim:
        value = value.reshape(())
    return "ts.functional.median", kind((value, SoftIndex(compute, value.shape)))


def _quantile(
    o: _Options,
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> _Result:
    if interpolation != "linear":
        raise _refuse_value(
            f"quantile with interpolation={interpolation!r} has no smooth twin",
            'use interpolation="linear"',
        )
    rows, law = _row(o, input) if dim is None else _rows(o, input, dim)
    value = functional.quantile(rows, q, law, **_sampling(o, input))
    if keepdim:
        place = input.shape[:-1] if dim is None else ()
        value = (
            value.reshape(*value.shape, *(1 for _ in range(len(place) + 1)))
            if dim is None
            else value.unsqueeze(dim if dim < 0 else dim + value.ndim - rows.ndim + 1)
        )
    return "ts.functional.quantile", value


# What cannot be smoothed.


def _floating_tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    found = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
    return [t for t in found if t.is_floating_point()]


def _is_floating(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return len(_floating_tensors(args, kwargs)) > 0


def _is_comparison(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    operands = (*args, *kwargs.values())  # x == None and x == "name" are torch's business
    return _is_floating(args, kwargs) and all(
        isinstance(v, Tensor | numbers.Real) for v in operands
    )


def _has_gradient(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(t.requires_grad for t in _floating_tensors(args, kwargs))


def _drops_fraction(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether `to`, `type` or `type_as` makes integers or bools of a floating-point tensor."""
    if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
        return False
    for target in (*args[1:], *kwargs.values()):
        dtype = getattr(target, "dtype", target)  # of a tensor, or of a type such as LongTensor
        if isinstance(dtype, str):
            dtype = getattr(torch, dtype.rpartition(".")[2].lower().replace("tensor", ""), None)
        if isinstance(dtype, torch.dtype) and not (dtype.is_floating_point or dtype.is_complex):
            return True
    return False


def _rounds_quotient(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return kwargs.get("rounding_mode") is not None and _is_floating(args, kwargs)


def _indexes_by_number(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    items = args[1] if len(args) > 1 and isinstance(args[1], tuple | list) else args[1:2]
    return any(isinstance(i, Tensor) and i.is_floating_point() for i in items)


_Concern = Callable[[tuple[Any, ...], dict[str, Any]], bool]


class _Rule(NamedTuple):
    operator: str
    apply: Callable[..., _Result] | None  # None: refused
    remedy: str
    concerns: _Concern


_OPERATORS: dict[Callable[..., Any], _Rule] = {}


def _replace(
    operator: str,
    apply: Callable[..., _Result],
    *aliases: str,
    in_place: Collection[str] = (),
    concerns: _Concern = _is_floating,
) -> None:
    for function in _functions(operator, *aliases):
        _OPERATORS[function] = _Rule(operator, apply, "", concerns)
    for function in _functions(*in_place):
        remedy = "use the operator that returns a new tensor, as in x = torch.relu(x)"
        _OPERATORS[function] = _Rule(operator, None, remedy, concerns)


def _forbid(remedy: str, *names: str, concerns: _Concern = _is_floating) -> None:
    for name in names:
        for function in _functions(name):
            _OPERATORS.setdefault(function, _Rule(name, None, remedy, concerns))


for _name, _twin, _aliases in (
    ("gt", _comparison(soft.greater), ["greater", "__gt__"]),
    ("ge", _comparison(soft.greater), ["greater_equal", "__ge__"]),
    ("lt", _comparison(soft.less), ["less", "__lt__"]),
    ("le", _comparison(soft.less), ["less_equal", "__le__"]),
    ("eq", _equal, ["__eq__"]),
    ("ne", _unequal, ["not_equal", "__ne__"]),
):
    _places = [f"{alias}_" for alias in (_name, *_aliases) if not alias.startswith("_")]
    _replace(_name, _twin, *_aliases, in_place=_places, concerns=_is_comparison)
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
_replace("max", _max_or_min(True))
_replace("min", _max_or_min(False))
_replace("amax", _amax_or_amin(True))
_replace("amin", _amax_or_amin(False))
_replace("argmax", _argmax_or_argmin(True))
_replace("argmin", _argmax_or_argmin(False))
_replace("sort", _sort)
_replace("argsort", _argsort)
_replace("msort", _msort)
_replace("topk", _topk)
_replace("median", _median)
_replace("quantile", _quantile)

_BRANCH = "use torch.where(condition, a, b) or ts.soft.cond in place of a branch"
_INTEGERS = (
    "stay in floating-point with x.round(), x.floor() or x.trunc(), and index with ts.soft.take"
)
_COMPARE = "compare first, as in x > 0, and combine the conditions"
_forbid(_BRANCH, "__bool__", "is_nonzero", "equal", "allclose", "__contains__")
_forbid(
    f"{_BRANCH}, or x.detach() if the number is only looked at",
    *("item", "tolist", "__float__", "numpy"),
    concerns=_has_gradient,
)
_forbid(_INTEGERS, "__int__", "__index__", "long", "int", "short", "char", "byte")
_forbid(_INTEGERS, "to", "type", "type_as", concerns=_drops_fraction)
_forbid("use ts.soft.take with a row of probabilities", "__getitem__", concerns=_indexes_by_number)
_forbid(
    _COMPARE,
    *("bool", "logical_and", "logical_or", "logical_xor", "logical_not", "any", "all"),
    *("count_nonzero", "isclose", "signbit"),
)
_forbid(
    "use torch.where over all entries: how many there are depends on values",
    *("nonzero", "argwhere", "unique", "unique_consecutive", "nonzero_static"),
)
_forbid(
    "write it by floor, with the noise on the quotient: a - b * (a / b).floor()",
    *(
        "floor_divide",
        "remainder",
        "fmod",
        "frac",
        "__floordiv__",
        "__rfloordiv__",
        "__mod__",
        "__rmod__",
    ),
    *("floor_divide_", "remainder_", "fmod_", "frac_"),
)
_forbid("use torch.floor(a / b)", "div", "divide", "div_", "divide_", concerns=_rounds_quotient)
_forbid("use torch.maximum or torch.minimum", "fmax", "fmin")
_forbid("use torch.amax and torch.amin", "aminmax", "cummax", "cummin")
_forbid("use torch.sort, torch.median or torch.quantile", "kthvalue", "mode", "nanmedian")
_forbid("use torch.quantile", "nanquantile")
_forbid(
    "sum comparisons, as in (x.unsqueeze(-1) > edges).sum(-1)",
    *("bucketize", "searchsorted", "histc", "bincount", "histogram"),
)

_NAMES = frozenset(rule.operator for rule in _OPERATORS.values())
SOFTENED = tuple(
    dict.fromkeys(rule.operator for rule in _OPERATORS.values() if rule.apply is not None)
)
"""The names of the operators that `soften` replaces."""


@final
class _Mode(TorchFunctionMode):
    """One block of `soften`, once entered."""

    def __init__(self, options: _Options, outer: "_Mode | None") -> None:
        super().__init__()
        self.options = options
        self.outer = outer
        self.suspended = 0  # by blocks inside: the innermost one alone decides
        self.replacements = Replacements()

    def __enter__(self) -> "_Mode":
        if self.outer is not None:
            self.outer.suspended += 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        if self.outer is not None:
            self.outer.suspended -= 1
        super().__exit__(*error)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        rule = _OPERATORS.get(func)
        if self.suspended or (rule is None and func not in _EVENTS and func not in _INDICES):
            return func(*args, **kwargs)
        if _contains(_Stand, (*args, *kwargs.values())):
            place = _caller()
            stand, result = _apply_to_stands(func, args, kwargs)
            if stand.twin is not None and place is not None:
                self.replacements.add(stand.operator, stand.twin, place)
            return result
        if (
            rule is None
            or rule.operator not in self.options.operators
            or not rule.concerns(args, kwargs)
        ):
            return func(*args, **kwargs)
        place = _caller()
        if place is None:
            return func(*args, **kwargs)
        return self._replace(rule, place, args, kwargs)

    def _replace(
        self, rule: _Rule, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if rule.apply is None or kwargs.get("out") is not None or kwargs.get("inplace"):
            in_place = rule.apply is not None or rule.operator in SOFTENED
            manner = " in place or with out=" if in_place else ""
            remedy = rule.remedy or "leave out= and inplace= away, and use what it returns"
            raise ValueError(
                f"{place}: {rule.operator}{manner} cannot be smoothed; {remedy}. To run it as it "
                f'is, pass exclude=("{rule.operator}",)'
            )
        kwargs = {k: v for k, v in kwargs.items() if k not in ("out", "inplace")}
        kwargs = {_TORCH_NAMES.get(k, k): v for k, v in kwargs.items()}
        twin, result = rule.apply(self.options, *args, **kwargs)
        self.replacements.add(rule.operator, twin, place)
        return result


# numpy's names, which torch takes too.
_TORCH_NAMES = {"axis": "dim", "keepdims": "keepdim", "self": "input"}


def _innermost() -> _Mode | None:
    for i in reversed(range(torch._C._len_torch_function_stack())):
        mode = torch._C._get_function_stack_at(i)
        if isinstance(mode, _Mode):
            return mode
    return None


@final
class Softening:
    """What `soften` returns: a context manager, any number of times, and a decorator."""

    def __init__(self, options: _Options) -> None:
        self._options = options

    def __enter__(self) -> Replacements:
        mode = _Mode(self._options, _innermost())
        _CONDITIONAL.enter()
        mode.__enter__()
        return mode.replacements

    def __exit__(self, *error: Any) -> None:
        mode = _innermost()
        assert mode is not None
        mode.__exit__(*error)
        _CONDITIONAL.leave()

    def __call__(self, function: C) -> C:
        if not callable(function):
            raise TypeError(
                f"function must be callable, got {type(function).__name__}; for a block of code "
                "write with ts.soften(distribution):"
            )

        @functools.wraps(function)
        def softened(*args: Any, **kwargs: Any) -> Any:
            with Softening(self._options):  # torch.compile enters no others
                return function(*args, **kwargs)

        return softened  # type: ignore[return-value]


@final
class _Conditional:
    """`torch.cond` is no operator that a mode sees. While any block is open, it is replaced by a
    function that does the same for all conditions but soft ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._original = torch.cond

    def enter(self) -> None:
        if torch.compiler.is_compiling():
            return
        with self._lock:
            if self._open == 0:
                self._original = torch.cond
                torch.cond = self._cond  # type: ignore[assignment]
            self._open += 1

    def leave(self) -> None:
        if torch.compiler.is_compiling():
            return
        with self._lock:
            self._open -= 1
            if self._open == 0:
                torch.cond = self._original

    def _cond(
        self,
        pred: Any,
        true_fn: Callable[..., Any],
        false_fn: Callable[..., Any],
        operands: Any = (),
    ) -> Any:
        if not isinstance(pred, SoftBoolean):
            return self._original(pred, true_fn, false_fn, operands)
        mode = _innermost()
        if mode is not None:
            mode.replacements.add("cond", "ts.soft.where of both branches", _user())
        return _both_branches(self._original, pred, true_fn, false_fn, operands)


_CONDITIONAL = _Conditional()


def soften(
    distribution: AbstractDistribution,
    *,
    only: Collection[str] | None = None,
    exclude: Collection[str] = (),
    tolerance: float | Tensor | None = None,
    num_samples: int = 1024,
    seed: int | None = None,
) -> Softening:
    """Runs existing PyTorch code with its hard operators replaced by their smooth twins.

    Inside the block (or the decorated function), operators of floating-point tensors that have a
    jump or a kink run as their twins of `torchsmooth.soft` and `torchsmooth.functional`, with the
    noise on their operand. Comparisons return a `SoftBoolean`, argmax and argsort a `SoftIndex`.
    Integer and bool tensors keep their operators. The result is the expectation of the program if
    every noisy variable is compared once and what follows is linear in the outcomes; otherwise each
    operator is exact and their composition is not.

    **Arguments:**

    - `distribution`: the law of the noise, the same for every operator, with a scale that
        broadcasts against each operand: in general a number or a tensor of one element, which may
        require grad.
    - `only`, `exclude`: names of operators (`torchsmooth.soften.SOFTENED`, and those that are
        refused) to replace, or not to. Those left out run as they are.
    - `tolerance`: for == and != of floating-point tensors, see `soft.equal`. None: they raise.
    - `num_samples`: of sort, argsort, topk, median, quantile, and of extrema over more than 32
        elements, which are sampled by `torchsmooth.functional`.
    - `seed`: of these; None draws from torch's generator.

    **Returns:** a context manager whose value is the list of what was replaced (`Replacements`;
    its str is a table), which is also a decorator. Of nested blocks the innermost alone decides.

    **Raises:** TypeError or ValueError if an argument is not what is said above. Inside the block:
    ValueError with file and line where a program needs values that soft results have not got (`if`
    on a condition, masks, integer indices, conversion to integers, operators in place).

    >>> import torch, torchsmooth as ts
    >>> def cost(x):
    ...     return torch.where(x > 1, 10.0, x.round()).sum()
    >>> x = torch.tensor([0.5, 2.0], requires_grad=True)
    >>> from torchsmooth.soften import soften
    >>> with soften(ts.Logistic(0.1)) as report:
    ...     y = cost(x)
    >>> torch.autograd.grad(y, x)
    (tensor([3.1157, 0.0036]),)
    >>> [(entry.operator, entry.twin, entry.count) for entry in report]
    [('gt', 'ts.soft.greater', 1), ('round', 'ts.soft.round', 1), ('where', 'ts.soft.where', 1)]
    """
    law = check_distribution(distribution)
    if law.scale is None:
        raise ValueError(
            "distribution must have a scale, got a scale_matrix, which no single operator knows; "
            "use ts.smooth for the whole function"
        )
    names = _NAMES if only is None else _check_names(only, "only")
    if tolerance is not None and not isinstance(tolerance, Tensor | numbers.Real):
        raise TypeError(
            f"tolerance must be a number or a tensor, got {tolerance!r}; pass for example 0.5"
        )
    if seed is not None:
        check_int(seed, "seed", 0, 0)
    return Softening(
        _Options(
            law,
            names - _check_names(exclude, "exclude"),
            tolerance,
            check_int(num_samples, "num_samples", 1, 1024),
            seed,
        )
    )


def _check_names(names: Collection[str], argument: str) -> frozenset[str]:
    if isinstance(names, str):
        raise TypeError(
            f'{argument} must be a collection of names, got {names!r}; pass ("{names}",)'
        )
    unknown = sorted(set(names) - _NAMES)
    if unknown:
        raise ValueError(
            f"{argument} must name operators that soften knows, got {unknown}; they are "
            f"{', '.join(sorted(_NAMES))}"
        )
    return frozenset(names)


def _leave_to_python() -> None:
    """Keeps torch.compile from starting at a function of this file.

    It traces into them from a program, whose lines it then knows; it must not compile them alone,
    in a program that runs in Python.
    """
    from torch._dynamo.decorators import skip_code

    for member in list(globals().values()):
        members = vars(member).values() if isinstance(member, type) else [member]
        for function in members:
            function = function.fget if isinstance(function, property) else function
            code = getattr(
                inspect.unwrap(getattr(function, "__func__", function)), "__code__", None
            )
            if code is not None and code.co_filename == __file__:
                skip_code(code)


_leave_to_python()
