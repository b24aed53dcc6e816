"""Linear algebra without waiting for a device."""

import torch
from torch import Tensor


def solve(matrix: Tensor, columns: Tensor) -> Tensor:
    """matrix^-1 columns. torch.linalg.solve waits until the device has told whether it exists."""
    solution: Tensor = torch.linalg.solve_ex(matrix, columns).result
    return solution
