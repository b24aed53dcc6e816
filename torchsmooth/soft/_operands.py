"""Checks of operands, and the type to compute in."""

import numbers

import torch
from torch import Tensor

from .._checks import check_distribution, check_floating
from .._dtypes import compute_dtype, result_type
from ..distributions import AbstractDistribution


def elementwise(
    x: object, distribution: object, **bounds: object
) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
    """The distribution, the type of the result, and the operands in the type to compute in.

    `bounds` are further operands, numbers or tensors, by their names.
    """
    x = check_floating(x, "x")
    operands = {"x": x} | {name: _tensor(bound, name, x) for name, bound in bounds.items()}
    return promote(operands, distribution)


def pair(
    a: object, b: object, distribution: object
) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
    """The same for two operands, of which one may be a number."""
    if isinstance(a, Tensor):
        operands = {"a": check_floating(a, "a"), "b": _tensor(b, "b", a)}
    else:
        b = check_floating(b, "b")
        operands = {"a": _tensor(a, "a", b), "b": b}
    law, dtype, tensors = promote(operands, distribution)
    if torch.compiler.is_compiling() and isinstance(law.scale, Tensor):
        # Expanded before the difference is taken, its gradient is summed when all others are
        # complete, and the compiler makes one loop of them instead of two.
        shape = torch.broadcast_shapes(law.scale.shape, *(t.shape for t in tensors))
        law = law.with_scale(law.scale.expand(shape))
    return law, dtype, tensors


def _tensor(value: object, name: str, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return check_floating(value, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be a number or a floating-point tensor, got {value!r}; pass for example "
            "0.5"
        )
    return torch.full((), float(value), dtype=like.dtype, device=like.device)


def promote(
    operands: dict[str, Tensor], distribution: object
) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
    """The same for tensors by their names."""
    law = check_distribution(distribution)
    if law.scale is None:
        raise ValueError(
            "distribution must have a scale, got a scale_matrix, under which the noise is not "
            "independent; pass scale=, or use torchsmooth.functional or ts.smooth"
        )
    factors = operands | {"scale": law.scale} if isinstance(law.scale, Tensor) else operands
    check_broadcast(**factors)
    dtype = result_type(list(factors.values()))
    return law, dtype, [operand.to(compute_dtype(dtype)) for operand in operands.values()]


def check_broadcast(**tensors: Tensor) -> None:
    """Raises a `ValueError` that names the tensors if their shapes do not fit each other."""
    shapes = [t.shape for t in tensors.values() if t.ndim > 0]
    if all(shape == shapes[0] for shape in shapes):  # quicker, and what is usual
        return
    try:
        torch.broadcast_shapes(*shapes)
    except RuntimeError:
        got = ", ".join(f"{tuple(t.shape)}" for t in tensors.values())
        raise ValueError(
            f"{', '.join(tensors)} must broadcast against each other, got shapes {got}; reshape "
            "them, with a 1 for every dimension that is shared"
        ) from None
