"""Loads the libraries, and gives an op its twin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch


F = TypeVar("F", bound=Callable[..., Any])

# Every op of csrc/ops/schemas.cpp.
NAMES = (
    "words",
    "perturb",
    "reduce",
    "sort",
    "sort_backward",
    "order_statistics",
    "order_statistics_backward",
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


def _explain_missing(library: Path) -> str:
    checkout = library.parents[1]
    if (checkout / "setup.py").exists():
        # A checkout comes before an installed package on the path of a Python that starts in it.
        return (
            f"torchsmooth was imported from its source folder {checkout}, where {library.name} is "
            "not built: to use an installed torchsmooth, start Python in another folder; to work "
            "on the sources, run 'python setup.py build_ext --inplace' there"
        )
    return (
        f"torchsmooth is not installed completely: {library} is missing. Install it again, with "
        "'pip install --force-reinstall .' in its source folder"
    )


LIBRARY = Path(__file__).parent.parent / "_C.so"


def _load() -> None:
    if not LIBRARY.exists():
        raise ImportError(_explain_missing(LIBRARY))
    torch.ops.load_library(str(LIBRARY))
    cuda = LIBRARY.with_name("_C_cuda.so")
    if torch.version.cuda is not None and cuda.exists():
        torch.ops.load_library(str(cuda))


_load()
ops = torch.ops.torchsmooth


def _refuse_gradient(name: str) -> Callable[..., NoReturn]:
    def backward(ctx: object, *grads: object) -> NoReturn:
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


def register_fake(name: str) -> Callable[[F], F]:
    """Makes a function what tracing sees of an op: the shapes and types of its results."""
    register: Callable[[F], F] = torch.library.register_fake(f"torchsmooth::{name}")
    return register


def register_twin(name: str, twin: Callable[..., Any]) -> None:
    """Registers the implementation for devices without a kernel, without gradient and vmap."""
    torch.library.impl(f"torchsmooth::{name}", "CompositeExplicitAutograd")(twin)
    torch.library.register_autograd(f"torchsmooth::{name}", _refuse_gradient(name))
    torch.library.register_vmap(f"torchsmooth::{name}", refuse_vmap)
