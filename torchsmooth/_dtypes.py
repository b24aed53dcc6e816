"""In which types functions compute, and of which types their results are."""

import torch


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half types are computed in float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
