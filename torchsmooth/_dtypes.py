"""In which types functions compute, and of which types their results are."""

from collections.abc import Sequence

import torch
from torch import Tensor


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half types are computed in float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def result_type(tensors: Sequence[Tensor]) -> torch.dtype:
    """As torch.result_type, which torch.compile cannot trace: dimensions go before none."""
    dtypes = [t.dtype for t in tensors if t.ndim > 0] or [t.dtype for t in tensors]
    dtype = dtypes[0]
    for other in dtypes[1:]:
        dtype = torch.promote_types(dtype, other)
    return dtype
