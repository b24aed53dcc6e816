"""Soft booleans and soft indices: bool and integer tensors of a softened program.

They are no tensors: an operator that is not in the tables here raises, and cannot take their
probabilities for the numbers of the hard program. `booleans` and `indices` fill the tables.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import _pytree as pytree

from .source_lines import innermost_user


# torch's functions, which also take what is no tensor but has `__torch_function__`.
_torch: Any = torch


def refusal(what: str, remedy: str) -> ValueError:
    # No TypeError, which the comparisons of tensors take for "not my operand".
    return ValueError(f"{innermost_user()}: {what}; {remedy}")


class SoftTensor:
    """A random bool or integer tensor, of which the program knows the probabilities."""

    shape: Any  # torch.Size, computed by soft booleans
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
        return apply_to_soft(func, args, kwargs or {})[1]

    def _refuse(self, what: str) -> ValueError:
        return refusal(
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
        return _torch.eq(self, other)

    def __ne__(self, other: object) -> Any:
        return _torch.ne(self, other)

    __hash__ = object.__hash__


def _refused(symbol: str) -> Callable[..., Any]:
    def refused(self: SoftTensor, *_: Any) -> Any:
        raise self._refuse(symbol)

    return refused


# What a subclass does not define itself; Python's own TypeError would not name the line.
for _symbol, _names in {
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "+": "add radd pos",
    "-": "sub rsub neg",
    "*": "mul rmul",
    "/": "truediv rtruediv",
    "//": "floordiv rfloordiv",
    "%": "mod rmod",
    "**": "pow rpow",
    "@": "matmul rmatmul",
    "&": "and rand",
    "|": "or ror",
    "^": "xor rxor",
    "~": "invert",
    "abs()": "abs",
}.items():
    for _name in _names.split():
        setattr(SoftTensor, f"__{_name}__", _refused(_symbol))


@final
class SoftBoolean(SoftTensor):
    """The result of a comparison inside a block of `soften`: events with their probabilities.

    It takes the place of a bool tensor. `&`, `|`, `^`, `~`, `all`, `any`, `==` and `!=` combine
    events, taken to be independent, as in `torchsmooth.soft`; `torch.where` and `masked_fill` blend
    by it. Sums and products with numbers take the probabilities, as they take 0 and 1 of a bool
    tensor; so do `float()` and the other conversions, `int()` and `long()` included: the result is
    the expected number, floating-point. Whatever else needs a value (`if`, `while`, `assert`,
    masks, `item`) raises.

    >>> import torch, torchsmooth as ts
    >>> with ts.soften(ts.Logistic()):
    ...     event = torch.tensor([0.0, 1.0]) > 0
    >>> event
    SoftBoolean(tensor([0.5000, 0.7311]))
    >>> (~event).float()
    tensor([0.5000, 0.2689])
    """

    _noun = "a soft boolean"
    _number = "`.probability`"
    _remedy = (
        "use torch.where(condition, a, b) or ts.soft.cond in place of a branch, &, |, ~ in place "
        "of and, or, not, and condition.float() in arithmetic"
    )

    def __init__(self, probability: Tensor) -> None:
        self.probability = probability

    def __bool__(self) -> bool:
        raise self._refuse("a Python branch (if, while, assert, and, or, not)")

    dtype = torch.bool
    """That of the hard program's tensor."""

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
        return apply_to_soft(Tensor.__getitem__, (self, item), {})[1]

    def __setitem__(self, item: Any, value: Any) -> None:
        raise self._refuse_in_place("condition[...] = value")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.endswith("_") and getattr(Tensor, name, None) in BOOLEAN_RULES:
            return functools.partial(_method, getattr(Tensor, name), self)
        raise AttributeError(
            f"{innermost_user()}: a soft boolean has no {name}; call .float() first for its "
            "probability as a tensor"
        )

    def _refuse_in_place(self, operator: str) -> ValueError:
        return refusal(
            f"{operator} changes a soft boolean in place, which would spoil what was computed "
            "from it",
            "make a new one, as in condition = condition & other, or with torch.where",
        )

    def _event(self, other: Any) -> Any:
        """True and False as events: torch's functions take no numbers."""
        return (
            SoftBoolean(torch.full_like(self.probability, other))
            if isinstance(other, bool)
            else other
        )

    def __invert__(self) -> Any:
        return _torch.logical_not(self)

    def __and__(self, other: Any) -> Any:
        return _torch.logical_and(self, self._event(other))

    def __or__(self, other: Any) -> Any:
        return _torch.logical_or(self, self._event(other))

    def __xor__(self, other: Any) -> Any:
        return _torch.logical_xor(self, self._event(other))

    def __rand__(self, other: Any) -> Any:
        return _torch.logical_and(self._event(other), self)

    def __ror__(self, other: Any) -> Any:
        return _torch.logical_or(self._event(other), self)

    def __rxor__(self, other: Any) -> Any:
        return _torch.logical_xor(self._event(other), self)

    def logical_not(self) -> Any:  # not by ~, which torch.compile cannot trace
        return _torch.logical_not(self)

    def logical_and(self, other: Any) -> Any:
        return self & other

    def logical_or(self, other: Any) -> Any:
        return self | other

    def logical_xor(self, other: Any) -> Any:
        return self ^ other

    def all(self, *args: Any, **kwargs: Any) -> Any:
        return _torch.all(self, *args, **kwargs)

    def any(self, *args: Any, **kwargs: Any) -> Any:
        return _torch.any(self, *args, **kwargs)

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
        return _torch.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return _torch.add(self, other)

    def __sub__(self, other: Any) -> Any:
        return _torch.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return _torch.rsub(self, other)

    def __mul__(self, other: Any) -> Any:
        return _torch.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return _torch.mul(self, other)

    def __truediv__(self, other: Any) -> Any:
        return _torch.div(self, other)


@final
class SoftIndex(SoftTensor):
    """The result of argmax, argsort and the like inside a block of `soften`: a random index.

    It takes the place of an integer tensor of shape [...]; `probabilities` is [..., n], the law of
    each of its entries on 0, ..., n - 1. It indexes a dimension of tensors (`x[index]`, `gather`,
    `take_along_dim`, `index_select`, `take`, `F.embedding`), which gives the expected entry; it
    turns into expected one-hot vectors (`F.one_hot`); `==` and `!=` with integers give a
    `SoftBoolean`; `.float()` gives the expected index. Whatever else needs a value raises.

    >>> import torch, torchsmooth as ts
    >>> with ts.soften(ts.Gumbel()):
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
        "ts.soft.take and ts.soft.take_along_dim of its probabilities, or go on with the expected "
        "index, index.float()"
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

    def __getattr__(self, name: str) -> Any:
        if not name.endswith("_") and getattr(Tensor, name, None) in INDEX_RULES:
            return functools.partial(_method, getattr(Tensor, name), self)
        ranks = "use ts.soft.rank for ranks, or " if name == "argsort" else ""
        raise AttributeError(
            f"{innermost_user()}: a soft index has no {name}; {ranks}{self._remedy}"
        )

    dtype = torch.int64
    """That of the hard program's tensor."""

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
        return int(self.shape[0])

    def __iter__(self) -> Iterator["SoftIndex"]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"SoftIndex({self.probabilities!r})"

    def __getitem__(self, item: Any) -> "SoftIndex":
        items = item if isinstance(item, tuple) else (item,)
        if any(isinstance(i, Tensor | SoftTensor) for i in items):
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

    @property
    def T(self) -> Any:
        return _method(Tensor.t, self)

    @property
    def mT(self) -> Any:
        return _method(Tensor.transpose, self, -1, -2)

    def float(self) -> Tensor:
        """The expected index."""
        return self._expected(torch.float32)

    def double(self) -> Tensor:
        """The expected index."""
        return self._expected(torch.float64)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs, dtype = without_integers(args, kwargs)
        if dtype is None:  # a device, or another integer type
            return SoftIndex(self.probabilities.to(*args, **kwargs))
        return self._expected(*args, **kwargs)

    def _expected(self, *args: Any, **kwargs: Any) -> Tensor:
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


def _method(func: Callable[..., Any], self: SoftTensor, *args: Any, **kwargs: Any) -> Any:
    return apply_to_soft(func, (self, *args), kwargs)[1]


def contains(kind: type | tuple[type, ...], values: Iterable[Any]) -> bool:
    for value in values:
        if isinstance(value, kind):
            return True
        if isinstance(value, list | tuple) and contains(kind, value):
            return True
    return False


def dtype_of(value: Any) -> torch.dtype | None:
    """The type that an argument of `to`, `type` or `type_as` asks for, if it is one."""
    value = getattr(value, "dtype", value)  # of a tensor, or of a type such as LongTensor
    if isinstance(value, str):
        value = getattr(torch, value.rpartition(".")[2].lower().replace("tensor", ""), None)
    return value if isinstance(value, torch.dtype) else None


def without_integers(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], torch.dtype | None]:
    """Arguments of `to` without integer types, and the floating-point type if one was there."""

    def kept(value: Any) -> Any:
        if isinstance(value, Tensor | SoftBoolean | SoftIndex):
            return value.dtype if value.dtype.is_floating_point else value.device
        return value if isinstance(value, bool) else dtype_of(value) or value

    args = tuple(map(kept, args))
    kwargs = {name: kept(value) for name, value in kwargs.items()}
    for name in {"other", "tensor"} & kwargs.keys():  # of which the type or the device is left
        value = kwargs.pop(name)
        kwargs["dtype" if isinstance(value, torch.dtype) else "device"] = value
    types = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.dtype)]
    floating = [t for t in types if t.is_floating_point]
    if types and not floating:
        args = tuple(v for v in args if v not in types)
        kwargs = {name: v for name, v in kwargs.items() if v not in types}
    return args, kwargs, floating[0] if floating else None


Apply = Callable[..., Any]


class SoftRule(NamedTuple):
    operator: str
    twin: str | None  # None: nothing is replaced that a program would notice
    apply: Apply


BOOLEAN_RULES: dict[Callable[..., Any], SoftRule] = {}
INDEX_RULES: dict[Callable[..., Any], SoftRule] = {}


def functions(*names: str) -> Iterator[Callable[..., Any]]:
    """The functions and methods of these names."""
    for name in names:
        found = False
        for home in (torch, Tensor, F, torch.special):
            function = getattr(home, name, None)
            if callable(function) and not isinstance(function, type):
                found = True
                yield function
        assert found, name


def define(
    table: dict[Callable[..., Any], SoftRule], twin: str | None, apply: Apply, *names: str
) -> None:
    for function in functions(*names):
        table[function] = SoftRule(names[0], twin, apply)


def apply_to_soft(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[SoftRule, Any]:
    indices = contains(SoftIndex, (*args, *kwargs.values()))
    rule = (INDEX_RULES if indices else BOOLEAN_RULES).get(func)
    if rule is None:
        noun, cure = (
            ("a soft index", SoftIndex._remedy)
            if indices
            else ("a soft boolean", "use condition.float() for its probability as a tensor")
        )
        name = getattr(func, "__name__", str(func))
        raise refusal(f"{name} does not take {noun}", cure)
    if kwargs.get("out") is not None:
        raise refusal(f"{rule.operator} with out= cannot be smoothed", "use what it returns")
    kwargs = {name: value for name, value in kwargs.items() if name != "out"}
    return rule, rule.apply(func, *args, **kwargs)
