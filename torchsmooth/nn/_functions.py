"""Functions that layers hold: modules, which are registered, or any other callables."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar


P = ParamSpec("P")
R = TypeVar("R")


def check_function(function: Callable[P, R], name: str) -> Callable[P, R]:
    if not callable(function):
        raise TypeError(
            f"{name} must be a module or a function, got {function!r}; wrap a value as "
            "lambda *_: value"
        )
    return function
