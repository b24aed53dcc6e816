"""Autograd functions under torch.compile and under transforms of torch.func."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor


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


@contextlib.contextmanager
def stored_for_backward(like: Tensor) -> Iterator[None]:
    """What is computed in here is stored for the backward pass, if it is compiled for a CPU.

    A compiler would compute elementwise functions a second time there, because on GPUs that takes
    no longer than reading what was stored. On CPUs an exponential does. Whoever asks for
    `torch.utils.checkpoint` is not overruled.
    """
    # Not imported, because where nobody has, no graph is traced.
    traceback: Any = sys.modules.get("torch.fx.traceback")
    if traceback is None or not traceback.has_preserved_node_meta() or like.device.type != "cpu":
        yield
        return
    # The tags by which selective checkpointing tells the partitioner what to do.
    tags = {"recompute": torch.utils.checkpoint.CheckpointPolicy.MUST_SAVE, "ac_graph_id": 0}
    meta = traceback.current_meta
    added = {} if "recompute" in meta else tags
    meta.update(added)
    try:
        yield
    finally:
        for tag in added:
            del meta[tag]


def refuse_nested_forward_mode() -> None:
    """To be called by rules for forward mode, whose result torch takes for a constant there."""
    levels = torch._C._functorch.get_interpreter_stack() or []
    if sum(level.key() == torch._C._functorch.TransformType.Jvp for level in levels) > 1:
        raise NotImplementedError(
            "forward mode of forward mode does not reach into torchsmooth: take second derivatives "
            "by torch.func.hessian, or by another order in which not both are forward mode"
        )
