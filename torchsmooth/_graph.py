"""Autograd functions under torch.compile."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch


P = ParamSpec("P")
T = TypeVar("T")


def one_node(function: Callable[P, T]) -> Callable[P, T]:
    """Makes a function one node of Dynamo's graph, which what stands behind Dynamo sees through.

    Dynamo would rebuild an autograd function from the operations in it. It loses second derivatives
    by that under transforms of torch.func, without an error, and refuses forward mode. The
    arguments must be tensors, numbers or strings.
    """

    def register() -> None:
        torch.compiler.allow_in_graph(function)

    # As torch.compiler.assume_constant_result does: called while a graph is traced, and no part of
    # it. To register at import would import the compiler.
    register._dynamo_marked_constant = True  # type: ignore[attr-defined]

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            register()
        return function(*args, **kwargs)

    return call
