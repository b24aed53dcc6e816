"""How f is called: on one chunk of points, or on one point at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .._torch_internals import transforms_are_active
from .outputs import structure


def call_f(
    f: Callable[..., Any], points: Tensor, args: list[Any], vectorized: bool
) -> tuple[list[Tensor], Any]:
    """f's outputs at points [m, *event]: tensors [m, *out], and the structure that they have."""
    if torch.compiler.is_compiling():
        results = _results(f, points, args, vectorized)
    else:
        try:
            results = _results(f, points, args, vectorized)
        except Exception as error:
            _add_notes(error, points.shape[0])
            raise
    if not vectorized:
        return _stack(results, points)
    leaves, spec = pytree.tree_flatten(results[0])
    _check_some(leaves, spec)
    return [_as_rows(leaf, points) for leaf in leaves], spec


def _results(f: Callable[..., Any], points: Tensor, args: list[Any], vectorized: bool) -> list[Any]:
    """What f returns for all points at once, or for one after the other."""
    if vectorized:
        return [f(points, *args)]
    return [
        f(points[i], *(arg[i] if isinstance(arg, Tensor) else arg for arg in args))
        for i in range(points.shape[0])
    ]


def _add_notes(error: Exception, count: int) -> None:
    if not hasattr(error, "add_note"):  # before Python 3.11
        return
    error.add_note(
        f"raised by f, called by torchsmooth.smooth with a chunk of {count} perturbed points"
    )
    if transforms_are_active():
        error.add_note(
            "under torch.func.grad or jvp, f must be made of torch's functions: NumPy cannot read "
            "tensors there; torch.autograd and its forward_ad take any f"
        )


def _check_some(leaves: list[Any], spec: Any) -> None:
    if not leaves:
        raise TypeError(
            f"f must return a tensor or a structure of tensors, got {structure(spec)}; return one "
            "tensor at least"
        )


def _stack(results: list[Any], points: Tensor) -> tuple[list[Tensor], Any]:
    if not results:
        raise ValueError(
            "x must not be empty with vectorized=False, got no event: the shape of f's output "
            "is unknown; pass vectorized=True"
        )
    leaves, specs = zip(*map(pytree.tree_flatten, results), strict=True)
    spec = specs[0]
    for other_spec in specs:
        if other_spec != spec:
            raise ValueError(
                f"f must return the same structure in every call, got {structure(spec)} first "
                f"and {structure(other_spec)} later; return one structure for all points"
            )
    _check_some(leaves[0], spec)
    tensors = [[_as_tensor(leaf, points) for leaf in row] for row in leaves]
    for other in tensors:
        for leaf, model in zip(other, tensors[0], strict=True):
            if leaf.shape != model.shape:
                raise ValueError(
                    "f must return the same shape in every call, got "
                    f"{list(model.shape)} first and {list(leaf.shape)} later; pad what varies "
                    "to one shape"
                )
    return [torch.stack(column) for column in zip(*tensors, strict=True)], spec


def _as_tensor(output: Any, points: Tensor) -> Tensor:
    if isinstance(output, Tensor):
        leaf = output
    else:
        try:
            leaf = torch.as_tensor(output, device=points.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                "f must return tensors, NumPy arrays or numbers, or a structure of them, got "
                f"{type(output).__name__}; convert it, or leave it out"
            ) from error
    if leaf.device != points.device:
        raise ValueError(
            f"f must return tensors on the device of x, {points.device}, got {leaf.device}; move "
            "them with .to(x.device)"
        )
    if leaf.is_complex():
        raise TypeError(
            f"f must return real numbers, got {leaf.dtype}; return torch.view_as_real of it"
        )
    return leaf


def _as_rows(output: Any, points: Tensor) -> Tensor:
    leaf = _as_tensor(output, points)
    count = points.shape[0]
    if leaf.ndim == 0 or leaf.shape[0] != count:
        raise ValueError(
            f"f must map [m, *event] to [m, *out], here {list(points.shape)} to [{count}, "
            f"...], got an output of shape {list(leaf.shape)}; pass vectorized=False if f "
            "takes one event at a time"
        )
    return leaf
