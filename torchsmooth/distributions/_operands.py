"""Operands of laws: their types, and when their values may be read."""

import torch
from torch import Tensor


HALF = (torch.float16, torch.bfloat16)


def describe(tensor: Tensor) -> str:
    return f"a {tensor.dtype} tensor of shape {tuple(tensor.shape)}"


def types(x: object, scale: float | Tensor, name: str = "x") -> tuple[torch.dtype, torch.dtype]:
    """The type of the result, and the one to compute in."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {x!r}; convert it with torch.tensor")
    if x.is_complex():
        raise TypeError(f"{name} must be real, got {describe(x)}; pass its real part")
    # What torch.result_type answers for x * scale; torch.compile cannot trace it.
    floating = x.is_floating_point()
    dtype = x.dtype if floating else torch.get_default_dtype()
    if isinstance(scale, Tensor):
        if not floating or (scale.ndim > 0 and x.ndim == 0):
            dtype = scale.dtype
        elif scale.ndim > 0 or x.ndim == 0:
            dtype = torch.promote_types(dtype, scale.dtype)
    return dtype, torch.float32 if dtype in HALF else dtype
