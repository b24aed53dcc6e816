"""The scale of a law: a number, a tensor or a matrix, checked where the law is made."""

import functools
import inspect
import math
import numbers
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from .._dtypes import compute_dtype
from .._torch_internals import values_are_readable
from ._operands import describe


P = ParamSpec("P")
S = TypeVar("S")


def constructor(init: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """An `__init__` with `scale` and `scale_matrix` that names its class in errors.

    It refuses unknown keywords and too many positional arguments, and both scales at once: only
    here a scale that was passed can be told from the default.
    """
    parameters = list(inspect.signature(init).parameters.values())[1:]
    names = [p.name for p in parameters]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    place = positional.index("scale")
    before = positional[:place]
    takes = ", ".join([*before, "scale= or scale_matrix="])
    example = ", ".join([*before, "scale=0.3"])

    @functools.wraps(init)
    def checked(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        law = type(self).__name__
        unknown = [name for name in kwargs if name not in names]
        if unknown or len(args) > len(positional):
            got = f"{unknown[0]}=" if unknown else f"{len(args)} positional arguments"
            raise TypeError(
                f"{law} takes {takes}, got {got}; the location of the noise is 0, so write for "
                f"example {law}({example})"
            )
        scale = args[place] if len(args) > place else kwargs.get("scale")
        if scale is not None and kwargs.get("scale_matrix") is not None:
            raise ValueError(
                "scale and scale_matrix exclude each other, but both were given; multiply the "
                "matrix by the scale instead"
            )
        init(self, *args, **kwargs)

    return checked


def check_scales(
    scale: object, scale_matrix: object
) -> tuple[float | Tensor, None] | tuple[None, Tensor]:
    """The scale and the scale matrix of a law: one of them is None."""
    if scale_matrix is None:
        return check_scale(scale), None
    return None, _check_scale_matrix(scale_matrix)


def check_scale(scale: object) -> float | Tensor:
    expected = "scale must be a number or a floating-point tensor, finite and positive"
    if isinstance(scale, Tensor):
        if not scale.dtype.is_floating_point:
            raise TypeError(f"{expected}, got {describe(scale)}; convert it with .float()")
        if values_are_readable(scale):
            values = scale.detach()
            if not bool(((values > 0) & (values < math.inf)).all()):
                raise ValueError(
                    f"{expected}, got {describe(scale)} that holds other values; parametrise "
                    "it so that it stays positive, for example as log_scale.exp()"
                )
        return scale
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real):
        raise TypeError(f"{expected}, got {scale!r}; pass a float or a tensor")
    number = float(scale)
    if not 0 < number < math.inf:
        raise ValueError(f"{expected}, got {scale!r}; pass a number such as 0.1")
    return number


def _check_scale_matrix(matrix: object) -> Tensor:
    expected = "scale_matrix must be a finite, invertible floating-point tensor [..., n, n]"
    if not isinstance(matrix, Tensor):
        raise TypeError(f"{expected}, got {matrix!r}; pass a tensor, or a number as scale=")
    if not matrix.dtype.is_floating_point:
        raise TypeError(f"{expected}, got {describe(matrix)}; convert it with .float()")
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(
            f"{expected}, got {describe(matrix)}; for one scale per dimension use scale="
        )
    if values_are_readable(matrix) and matrix.numel() > 0:
        if not bool(matrix.detach().isfinite().all()):
            raise ValueError(
                f"{expected}, got {describe(matrix)} with NaN or infinite entries; check where "
                "it was computed"
            )
        if _is_singular(matrix):
            raise ValueError(
                f"{expected}, got {describe(matrix)} that is singular to rounding; noise of a "
                "singular matrix has no density, so add a multiple of the identity"
            )
    return matrix


def _is_singular(matrix: Tensor) -> bool:
    # Rows and columns are brought to size 1 first, so that diag(1e-30, 1) counts as invertible;
    # then a pivot no larger than a few rounding errors is no pivot.
    m = matrix.detach()
    m = m.to(compute_dtype(m.dtype))
    m = m / m.abs().amax(-1, keepdim=True)
    m = m / m.abs().amax(-2, keepdim=True)
    if not bool(m.isfinite().all()):  # a row or a column of zeros
        return True
    lu, _, info = torch.linalg.lu_factor_ex(m)
    smallest = lu.diagonal(dim1=-2, dim2=-1).abs().amin(-1)
    return bool(((info != 0) | (smallest <= 10 * torch.finfo(matrix.dtype).eps)).any())


def describe_scales(scale: float | Tensor | None, scale_matrix: Tensor | None) -> str:
    """The arguments as a repr shows them."""
    name, value = ("scale", scale) if scale_matrix is None else ("scale_matrix", scale_matrix)
    # The values of a tensor stay out: they may be many, or on a busy device.
    return f"{name}=<{describe(value)[2:]}>" if isinstance(value, Tensor) else f"{name}={value}"
