"""How f is called: on one chunk of points, or on one point at a time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .._checks import check_bool
from .._torch_internals import transforms_are_active
from .._typing import Inputs
from .outputs import structure


class Convention(NamedTuple):
    """How f takes its points."""

    vectorized: bool  # many at a time
    inputs: Inputs


def check_convention(vectorized: object, inputs: object) -> Convention:
    if inputs not in ("torch", "numpy"):
        raise ValueError(
            f"inputs must be 'torch' or 'numpy', got {inputs!r}; pass 'numpy' for an f of arrays"
        )
    return Convention(check_bool(vectorized, "vectorized"), inputs)


def call_f(
    f: Callable[..., Any], points: Tensor, args: list[Any], how: Convention
) -> tuple[list[Tensor], Any]:
    """f's outputs at points [m, *event]: tensors [m, *out], and the structure that they have.

    What a vectorized f returns may be its own buffer, which its next call fills again.
    """
    inputs: list[Any] = [points, *args]
    given = [isinstance(value, Tensor) for value in inputs]
    if how.inputs == "numpy":
        inputs = [_as_array(t) if g else t for t, g in zip(inputs, given, strict=True)]
    if how.vectorized:
        leaves, spec = pytree.tree_flatten(_call(f, inputs, points, 0))
        _check_some(leaves, spec)
        return [_as_rows(leaf, points) for leaf in leaves], spec
    results = []
    for i in range(points.shape[0]):
        own = [t[i] if g else t for t, g in zip(inputs, given, strict=True)]
        leaves, spec = pytree.tree_flatten(_call(f, own, points, i))
        # Copied before f is called again.
        results.append(([_as_tensor(leaf, points).clone() for leaf in leaves], spec))
    return _stack(results)


def _as_array(t: Tensor) -> Any:
    """As an array of NumPy, which has no bfloat16."""
    t = t.detach().cpu()
    return (t.float() if t.dtype == torch.bfloat16 else t).numpy()


def _call(f: Callable[..., Any], inputs: list[Any], points: Tensor, first: int) -> Any:
    """f at all points, or at one of them, the `first`."""
    if torch.compiler.is_compiling():
        return f(*inputs)
    try:
        return f(*inputs)
    except Exception as error:
        add_notes(error, points[first : first + 1], points.shape[0])
        raise


def add_notes(error: BaseException, points: Tensor, count: int) -> None:
    """Tells an exception of f where it was raised: at the first of these points, or behind it."""
    if not hasattr(error, "add_note"):  # before Python 3.11
        return
    where = f", here the one at {points[0].tolist()}" if points.shape[0] else ""
    error.add_note(
        f"raised by f, called by torchsmooth.smooth with a chunk of {count} perturbed points{where}"
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


def _stack(results: list[tuple[list[Tensor], Any]]) -> tuple[list[Tensor], Any]:
    if not results:
        raise ValueError(
            "x must not be empty with vectorized=False, got no event: the shape of f's output "
            "is unknown; pass vectorized=True"
        )
    first, spec = results[0]
    _check_some(first, spec)
    for leaves, other_spec in results:
        if other_spec != spec:
            raise ValueError(
                f"f must return the same structure in every call, got {structure(spec)} first "
                f"and {structure(other_spec)} later; return one structure for all points"
            )
        for leaf, model in zip(leaves, first, strict=True):
            if leaf.shape != model.shape:
                raise ValueError(
                    "f must return the same shape in every call, got "
                    f"{list(model.shape)} first and {list(leaf.shape)} later; pad what varies "
                    "to one shape"
                )
    columns = zip(*(leaves for leaves, _ in results), strict=True)
    return [torch.stack(column) for column in columns], spec


def _as_tensor(output: Any, points: Tensor) -> Tensor:
    if isinstance(output, Tensor):
        leaf = output
    else:
        try:
            leaf = torch.as_tensor(output, device=points.device)
        except Exception as error:  # whatever a data frame raises in place of an array
            dtype = f" of dtype {output.dtype}" if hasattr(output, "dtype") else ""
            raise TypeError(
                "f must return tensors, NumPy arrays or numbers, or a structure of them, got "
                f"{type(output).__name__}{dtype}; convert it to numbers, of a data frame by "
                "to_numpy(), or leave it out"
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
