"""The block itself: a mode of `torch.overrides`, which sees every call of an operator."""

import functools
import numbers
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn, TypeVar, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .._checks import check_distribution
from .._torch_internals import function_modes
from ..distributions import AbstractDistribution
from .booleans import both_branches
from .operators import NAMES, OPERATORS, SOFTENED, Rule
from .options import Options
from .origins import VIEWS, forget, of_view, origin_of, remember
from .replacements import Replacements
from .soft_tensors import (
    BOOLEAN_RULES,
    INDEX_RULES,
    SoftBoolean,
    SoftTensor,
    apply_to_soft,
    contains,
)
from .source_lines import SourceLine, caller, innermost_user, leave_to_python


C = TypeVar("C", bound=Callable[..., Any])


@final
class _Mode(TorchFunctionMode):
    """One block of `soften`, once entered."""

    def __init__(self, options: Options, outer: "_Mode | None") -> None:
        super().__init__()
        self.options = options
        self.outer = outer
        self.suspended = 0  # by blocks inside: the innermost one alone decides
        self.replacements = Replacements()

    def __enter__(self) -> "_Mode":
        if self.outer is not None:
            self.outer.suspended += 1
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        if self.outer is not None:
            self.outer.suspended -= 1
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        rule = OPERATORS.get(func)
        if self.suspended or (
            rule is None and func not in BOOLEAN_RULES and func not in INDEX_RULES
        ):
            return func(*args, **kwargs)
        if contains(SoftTensor, (*args, *kwargs.values())):
            place = caller()
            stand, result = apply_to_soft(func, args, kwargs)
            if stand.twin is not None and place is not None:
                self.replacements.add(stand.operator, stand.twin, place)
            return result
        if (
            rule is None
            or rule.operator not in self.options.operators
            or not rule.concerns(args, kwargs)
        ):
            return self._unreplaced(func, args, kwargs)
        place = caller()
        if place is None:
            return func(*args, **kwargs)
        return self._replace(rule, place, args, kwargs)

    def _unreplaced(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        value = func(*args, **kwargs)
        if func in VIEWS:
            origin = of_view(func, origin_of(args[0]), args, kwargs)
            if origin is not None:
                remember(value, origin)
        return value

    def _replace(
        self, rule: Rule, place: SourceLine, args: tuple[Any, ...], kwargs: dict[str, Any]
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
    for mode in function_modes():
        if isinstance(mode, _Mode):
            return mode
    return None


@final
class Softening:
    """The result of `soften`: a reusable context manager, and a decorator."""

    def __init__(self, options: Options) -> None:
        leave_to_python()
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
        forget()
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
                torch.cond = self._cond
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
            mode.replacements.add("cond", "ts.soft.where of both branches", innermost_user())
        return both_branches(self._original, pred, true_fn, false_fn, operands)


_CONDITIONAL = _Conditional()


def soften(
    distribution: AbstractDistribution,
    *,
    only: Collection[str] | None = None,
    exclude: Collection[str] = (),
    tolerance: float | Tensor | None = None,
    **removed: NoReturn,
) -> Softening:
    """Runs existing PyTorch code with its hard operators replaced by their smooth twins.

    Inside the block (or the decorated function), operators of floating-point tensors that have a
    jump or a kink, or that ask for an order, run as their twins of `torchsmooth.soft`, with the
    noise on their operand. Comparisons return a `SoftBoolean`, argmax and argsort a `SoftIndex`.
    Integer and bool tensors keep their operators. The result is the expectation of the program if
    every noisy variable is compared once and what follows is linear in the outcomes; otherwise each
    operator is exact and their composition is not.

    A comparison of an operator's very output is one of its input where that is the same: of relu,
    clamp, round, floor, ceil, trunc or sign with a number (`x.relu() > 0` is x > 0), and of x with
    its own maximum, minimum, or an element of its `topk` or `sort` (`x >= x.amax(-1, True)` has the
    probabilities of argmax). Where a side of `torch.where` or `masked_fill` is infinite, the other
    one counts with its probability after an exponential, as in a softmax.

    **Arguments:**

    - `distribution`: the law of the noise, the same for every operator, with a scale that
        broadcasts against each operand: in general a number or a tensor of one element, which may
        require grad.
    - `only`, `exclude`: names of operators (`torchsmooth.SOFTENED`, and those that are
        refused) to replace, or not to. Those left out run as they are.
    - `tolerance`: for == and != of floating-point tensors, see `soft.equal`. None: they raise.
    - `**removed`: nothing; `num_samples` and `seed` raise, because nothing is sampled.

    **Returns:** a context manager whose value is the list of what was replaced (`Replacements`;
    its str is a table), which is also a decorator. Of nested blocks the innermost alone decides.

    **Raises:** TypeError or ValueError if an argument is not what is said above. Inside the block:
    ValueError with file and line where a program needs values that soft results have not got (`if`
    on a condition, masks, integer indices, conversion to integers, operators in place).

    >>> import torch, torchsmooth as ts
    >>> def cost(x):
    ...     return torch.where(x > 1, 10.0, x.round()).sum()
    >>> x = torch.tensor([0.5, 2.0], requires_grad=True)
    >>> with ts.soften(ts.Logistic(0.1)) as report:
    ...     y = cost(x)
    >>> torch.autograd.grad(y, x)
    (tensor([3.1157, 0.0036]),)
    >>> [(entry.operator, entry.twin, entry.count) for entry in report]
    [('gt', 'ts.soft.greater', 1), ('round', 'ts.soft.round', 1), ('where', 'ts.soft.where', 1)]
    """
    for name in removed:
        raise TypeError(
            f"soften() takes no keyword {name!r}, because all operators are exact and none is "
            "sampled; leave it out"
            if name in ("num_samples", "seed")
            else f"soften() got an unexpected keyword argument {name!r}; it takes distribution, "
            "only, exclude and tolerance"
        )
    law = check_distribution(distribution)
    if law.scale is None:
        raise ValueError(
            "distribution must have a scale, got a scale_matrix, which no single operator knows; "
            "use ts.smooth for the whole function"
        )
    names = NAMES if only is None else _check_names(only, "only")
    if tolerance is not None:
        _check_tolerance(tolerance)
    return Softening(Options(law, names - _check_names(exclude, "exclude"), tolerance))


def _check_tolerance(tolerance: object) -> None:
    if isinstance(tolerance, Tensor) and tolerance.is_floating_point():
        return  # `soft.equal` looks at its values
    if isinstance(tolerance, bool | Tensor) or not isinstance(tolerance, numbers.Real):
        raise TypeError(
            f"tolerance must be a number or a floating-point tensor, got {tolerance!r}; pass for "
            "example 0.5"
        )
    if not float(tolerance) >= 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance}; pass for example 0.5")


def _check_names(names: Collection[str], argument: str) -> frozenset[str]:
    if isinstance(names, str) or not isinstance(names, Collection):
        example = names if isinstance(names, str) else "round"
        raise TypeError(
            f'{argument} must be a collection of names, got {names!r}; pass ("{example}",)'
        )
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ValueError(
            f"{argument} must name operators that soften knows, got {unknown}; they are "
            f"{', '.join(sorted(NAMES))}"
        )
    return frozenset(names)
