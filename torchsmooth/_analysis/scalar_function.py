"""A user's function of one tensor, whose value is a number."""

import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._checks import check_bool, check_floating


# torch's messages for operators that take no part in a graph.
_NO_GRAPH = ("Tensor that requires grad", "is not implemented")


class ScalarFunction:
    """A function of tensors like x to one number, with its values as Python floats.

    What f raises gets a note that names the point.
    """

    def __init__(self, f: Callable[[Tensor], Any], vectorized: bool, caller: str):
        if not callable(f):
            raise TypeError(
                f"f must be callable, got {type(f).__name__}; pass a function of a tensor like x"
            )
        self.f = f
        self.vectorized = check_bool(vectorized, "vectorized")
        self.caller = caller

    def values(self, points: Tensor) -> list[float]:  # [m, *x.shape]
        """f at each of the points."""
        with torch.no_grad():
            if not self.vectorized:
                return [_number(self._call(point.clone())) for point in points]
            if not len(points):
                return []
            result = self._call(points.clone())
            if not isinstance(result, Tensor):
                result = torch.as_tensor(result)
            if result.shape != points.shape[:1]:
                raise ValueError(
                    f"f must map [m, *x.shape] to [m] with vectorized=True, here {[*points.shape]} "
                    f"to {[len(points)]}, got an output of shape {list(result.shape)}; pass "
                    "vectorized=False if f takes one point at a time"
                )
            return [_number(value) for value in result]

    def gradient(self, point: Tensor) -> Tensor | None:  # [*x.shape]
        """The gradient by automatic differentiation; None if it finds no graph."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = point.detach().clone().requires_grad_()
            try:
                result = self._call(leaf.unsqueeze(0) if self.vectorized else leaf)
            except (RuntimeError, NotImplementedError) as error:
                if any(message in str(error) for message in _NO_GRAPH):
                    return None
                raise
            if not isinstance(result, Tensor) or not result.requires_grad:
                return None
            return torch.autograd.grad(result.sum(), leaf, allow_unused=True)[0]

    def _call(self, point: Tensor) -> Any:
        try:
            return self.f(point)
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                head = point.detach().flatten()[:8].tolist()
                dots = ", ..." if point.numel() > 8 else ""
                where = f"[{', '.join(map(repr, head))}{dots}], of shape {list(point.shape)}"
                error.add_note(f"raised by f, called by torchsmooth.{self.caller} at x = {where}")
            raise


def _number(value: Any) -> float:
    if isinstance(value, numbers.Real):
        return float(value)
    try:
        result = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"f must return one number, got {type(value).__name__}; return a tensor of one element"
        ) from error
    if result.is_complex():
        raise TypeError(f"f must return a real number, got {result.dtype}; return its real part")
    if result.numel() != 1:
        raise ValueError(
            f"f must return one number, got shape {list(result.shape)}; reduce it, for example as "
            "lambda x: f(x).sum()"
        )
    return float(result)


def check_point(x: object) -> Tensor:
    """x, checked for differences of f, which must be distinguishable from rounding."""
    point = check_floating(x, "x").detach()
    if point.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"x must be float32 or float64, got {point.dtype}, in which differences of f are "
            "mostly rounding; convert it with x.double()"
        )
    if not bool(point.isfinite().all()):
        raise ValueError("x must be finite, got NaN or infinite elements; pass another point")
    return point


def check_direction(direction: object, x: Tensor) -> Tensor:
    v = check_floating(direction, "direction").detach()
    try:
        v = v.to(x).expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"direction must broadcast against x, {list(x.shape)}, got shape {list(v.shape)}; pass "
            "a tensor like x"
        ) from None
    if not bool(v.isfinite().all()) or not bool((v != 0).any()):
        raise ValueError(
            "direction must be finite and not 0, got a tensor that is not; pass for example a "
            "unit vector"
        )
    return v
