"""Checks of operands, and the type to compute in."""

import numbers

import torch
from torch import Tensor

from .._arguments import check_distribution, check_floating, compute_dtype
from ..distributions import AbstractDistribution


def elementwise(
    x: object, distribution: object, **bounds: object
) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
    """The distribution, the type of the result, and the operands in the type to compute in.

    `bounds` are further operands, numbers or tensors, by their names.
    """
    operands = [check_floating(x, "x")]
    operands += [_tensor(bound, name, operands[0]) for name, bound in bounds.items()]
    return _promote(operands, distribution)


def pair(
    a: object, b: object, distribution: object
) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
    """The same for two operands, of which one may be a number."""
    if isinstance(a, Tensor):
        operands = [check_floating(a, "a"), _tensor(b, "b", a)]
    else:
        b = check_floating(b, "b")
        operands = [_tensor(a, "a", b), b]
    return _promote(operands, distribution)


def _tensor(value: object, name: str, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return check_floating(value, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be a number or a floating-point tensor, got {value!r}; pass for example "
            "0.5"
        )
    return torch.full((), float(value), dtype=like.dtype, device=like.device)


def _promote(
    operands: list[Tensor], distribution: object
) -> tuple[AbstractDistribution, torch.dtype, list[Tensor]]:
    law = check_distribution(distribution)
    factors = [*operands, law.scale] if isinstance(law.scale, Tensor) else operands
    dtype = _result_type(factors)
    return law, dtype, [operand.to(compute_dtype(dtype)) for operand in operands]


def _result_type(tensors: list[Tensor]) -> torch.dtype:
    """As torch.result_type, which torch.compile cannot trace: dimensions go before none."""
    dtypes = [t.dtype for t in tensors if t.ndim > 0] or [t.dtype for t in tensors]
    dtype = dtypes[0]
    for other in dtypes[1:]:
        dtype = torch.promote_types(dtype, other)
    return dtype
