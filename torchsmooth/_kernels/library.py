"""Loads the libraries, and gives an op its twin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch


# Every op of csrc/ops/schemas.cpp.
NAMES = (
    "words",
    "perturb",
    "reduce",
    "sort",
    "sort_backward",
    "hard_shortest_path",
    "shortest_path",
    "shortest_path_backward",
    "hard_shortest_path_graph",
    "hard_render",
    "render",
    "render_backward",
    "evaluate_law",
)
# On CUDA devices these are computed by their twins.
TWINS_ON_CUDA = ("hard_shortest_path_graph",)


LIBRARY = Path(__file__).parent.parent / "_C.so"


def _load() -> None:
    if not LIBRARY.exists():
        raise ImportError(
            f"torchsmooth is not built: {LIBRARY} is missing. Build it with 'pip install .', or in "
            "place, to work on the sources, with 'python setup.py build_ext --inplace'"
        )
    torch.ops.load_library(str(LIBRARY))
    cuda = LIBRARY.with_name("_C_cuda.so")
    if torch.version.cuda is not None and cuda.exists():
        torch.ops.load_library(str(cuda))


_load()
ops = torch.ops.torchsmooth


def _refuse_gradient(name: str):
    def backward(ctx, *grads):
        raise RuntimeError(
            f"torch.ops.torchsmooth.{name} is a building block without a gradient: call the "
            "functions of torchsmooth instead"
        )

    return backward


def refuse_vmap(*_: object) -> NoReturn:
    raise NotImplementedError(
        "torch.vmap does not reach into the losses for solvers, into the ops of torchsmooth, nor "
        "into what is compiled with fullgraph=True: give the mapped dimension to the function as a "
        "batch dimension instead"
    )


def register_twin(name: str, twin: Callable[..., Any]) -> None:
    """What an op does on devices without a kernel; it has no gradient of its own, and no vmap."""
    torch.library.impl(f"torchsmooth::{name}", "CompositeExplicitAutograd")(twin)
    torch.library.register_autograd(f"torchsmooth::{name}", _refuse_gradient(name))
    torch.library.register_vmap(f"torchsmooth::{name}", refuse_vmap)
