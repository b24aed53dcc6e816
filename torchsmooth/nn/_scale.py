"""The scale of the noise as the state of a layer, and what is learned of it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


def own_scale(value: float | Tensor, name: str) -> Tensor:
    """The layer's own copy of a law's scale or scale matrix."""
    if not isinstance(value, Tensor):
        return torch.tensor(value, dtype=torch.get_default_dtype())
    if value.requires_grad:
        raise ValueError(
            f"{name} must not require grad, because the layer owns a copy that its gradient would "
            f"not leave, got a tensor that does; pass {name}.detach(), with learn_scale=True if it "
            "is to be learned, or use torchsmooth.functional"
        )
    return value.clone()


def exp_in_range(logarithm: Tensor) -> Tensor:
    """The exponential, which neither overflows nor underflows: positive, and so is its inverse."""
    info = torch.finfo(logarithm.dtype)
    return logarithm.clamp(math.log(info.tiny) + 1, math.log(info.max) - 1).exp()


class LogCholesky(NamedTuple):
    """An invertible matrix L = C Q with C lower triangular and Q orthogonal.

    The diagonal of C is positive. C is what is learned, with the logarithms of its diagonal in
    their places: every real matrix of logarithms and entries below them is one such C (Pinheiro and
    Bates, "Unconstrained parametrizations for variance-covariance matrices", 1996).
    """

    logarithms: Tensor  # [..., n, n], zeros above the diagonal
    rotation: Tensor  # [..., n, n]

    @classmethod
    def of(cls, matrix: Tensor) -> "LogCholesky":
        # There is no decomposition of half types.
        dtype = torch.promote_types(matrix.dtype, torch.float32)
        q, r = torch.linalg.qr(matrix.to(dtype).mT)  # the transpose of L is q r
        sign = torch.where(_diagonal(r) < 0, -1.0, 1.0).to(dtype)
        factor, rotation = (sign.unsqueeze(-1) * r).mT, (q * sign.unsqueeze(-2)).mT
        logarithms = factor.tril(-1) + _diagonal(factor).log().diag_embed()
        return cls(logarithms.to(matrix.dtype), rotation.to(matrix.dtype))

    def matrix(self) -> Tensor:
        """L."""
        diagonal = exp_in_range(_diagonal(self.logarithms))
        return (self.logarithms.tril(-1) + diagonal.diag_embed()) @ self.rotation


def _diagonal(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1)
