"""Operands of laws, and their types."""

import torch
from torch import Tensor

from .._dtypes import compute_dtype, result_type


def describe(tensor: Tensor) -> str:
    return f"a {tensor.dtype} tensor of shape {tuple(tensor.shape)}"


def types(x: object, scale: float | Tensor, name: str = "x") -> tuple[torch.dtype, torch.dtype]:
    """The type of the result, and the one to compute in."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {x!r}; convert it with torch.tensor")
    if x.is_complex():
        raise TypeError(f"{name} must be real, got {describe(x)}; pass its real part")
    operands = [t for t in (x, scale) if isinstance(t, Tensor) and t.is_floating_point()]
    dtype = result_type(operands) if operands else torch.get_default_dtype()
    return dtype, compute_dtype(dtype)
