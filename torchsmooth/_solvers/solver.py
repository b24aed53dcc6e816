"""Calls a user's solver: the maximiser, or minimiser, of a linear objective."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .._checks import check_event_dim, check_floating


def check_solver(solver: object) -> Callable[..., Any]:
    if not callable(solver):
        raise TypeError(
            f"solver must be callable, got {type(solver).__name__}; pass a function of scores, "
            "such as ts.hard.argmax"
        )
    return solver


def describe_solver(solver: Callable[..., Any]) -> str:
    return getattr(solver, "__qualname__", repr(solver))


def check_scores(theta: object, event_dim: int) -> Tensor:
    theta = check_floating(theta, "theta")
    check_event_dim(theta, event_dim, "theta")
    return theta


def check_solver_args(args: Sequence[Any], batch: Sequence[int]) -> None:
    for index, arg in enumerate(args):
        if not isinstance(arg, Tensor):
            continue
        if arg.requires_grad:
            raise ValueError(
                f"args[{index}] must not require grad, because the solver is not differentiated in "
                f"it, got a tensor that does; pass args[{index}].detach()"
            )
        if tuple(arg.shape[: len(batch)]) != tuple(batch):
            raise ValueError(
                f"args[{index}] must start with the batch dimensions of theta, {list(batch)}, got "
                f"shape {list(arg.shape)}; expand it, or bind a tensor that all examples share "
                "with functools.partial"
            )


def call_solver(
    solver: Callable[..., Any],
    points: Tensor,  # [m, *event]
    args: Sequence[Any],  # tensors [m, ...], and others that are passed unchanged
    vectorized: bool,
) -> Tensor:  # [m, *event], of the dtype of the points
    """The solver's solutions, without a graph, as a tensor like the points."""
    if points.numel() == 0:
        return torch.zeros_like(points)
    points = points.clone()  # the solver may write into them, and they may be the user's own
    with torch.no_grad():
        if vectorized:
            return _like(solver(points, *args), points)
        solutions = []
        for i, point in enumerate(points):
            own = [arg[i] if isinstance(arg, Tensor) else arg for arg in args]
            # A copy: the solver may return the same array again, filled with another solution.
            solutions.append(_like(solver(point, *own), point).clone())
        return torch.stack(solutions)


def nan_unless_finite(values: Tensor, points: Tensor) -> Tensor:  # both [B, *event]
    """NaN for an example with NaN or infinities, whatever the solver returns for it."""
    finite = points.isfinite().reshape(points.shape[0], math.prod(points.shape[1:])).all(1)
    return torch.where(finite.reshape(-1, *(1,) * (points.ndim - 1)), values, torch.nan)


def _like(solution: Any, point: Tensor) -> Tensor:
    if not isinstance(solution, Tensor):
        try:
            solution = torch.as_tensor(solution, device=point.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                "solver must return a tensor or a NumPy array, got "
                f"{type(solution).__name__}; return only the solution"
            ) from error
    if solution.device != point.device:
        raise ValueError(
            f"solver must return tensors on the device of its scores, {point.device}, got "
            f"{solution.device}; move them with .to(scores.device)"
        )
    if solution.is_complex():
        raise TypeError(
            f"solver must return real numbers, got {solution.dtype}; return their real part"
        )
    if solution.shape != point.shape:
        raise ValueError(
            "solver must return a solution of the shape of its scores, here "
            f"{list(point.shape)}, got {list(solution.shape)}; return indicators such as one-hot "
            "vectors, not indices, and pass vectorized=False if it takes one event at a time"
        )
    result: Tensor = solution.to(point.dtype)
    return result
