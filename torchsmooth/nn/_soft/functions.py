"""Functions that layers hold: modules, which are registered, or any other callables."""

from collections.abc import Callable
from typing import Any

from torch import nn


def check_function(function: object, name: str) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(
            f"{name} must be a module or a function, got {function!r}; wrap a value as "
            "lambda *_: value"
        )
    return function


def describe_functions(layer: nn.Module, *names: str) -> str:
    """For `extra_repr`: the functions that are no modules, which torch shows by itself."""
    functions = ((name, getattr(layer, name)) for name in names)
    return ", ".join(
        f"{name}={getattr(function, '__name__', function)}"
        for name, function in functions
        if not isinstance(function, nn.Module)
    )
