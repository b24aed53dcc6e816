"""Gradients for combinatorial solvers from one more solution."""

import functools
import math
import numbers
from collections.abc import Callable
from typing import Any, final

from torch import Tensor

from .._autodiff.function import NoVmap, first_order
from .._checks import check_bool, check_int
from .._dtypes import compute_dtype
from .solver import (
    call_solver,
    check_scores,
    check_solver,
    check_solver_args,
    describe_solver,
    nan_unless_finite,
)


class _Interpolation(NoVmap):
    """The identity in `solution`, with the slope of the interpolation in `theta`."""

    @staticmethod
    def forward(
        solution: Tensor,  # [B, *event]
        theta: Tensor,  # [B, *event]
        lambda_: float,
        maximize: bool,
        solve: Callable[[Tensor], Tensor],
        *args: Any,  # of the solver
    ) -> Tensor:
        return solution.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        solution, theta, ctx.lambda_, ctx.maximize, ctx.solve, *args = inputs
        ctx.others = (None,) * (len(inputs) - 2)
        # With the arguments, so that autograd detects if they were modified in place.
        ctx.save_for_backward(solution, theta, *(arg for arg in args if isinstance(arg, Tensor)))

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        solution, theta, *_ = ctx.saved_tensors
        moved = theta + (-ctx.lambda_ if ctx.maximize else ctx.lambda_) * grad
        better = ctx.solve(moved)
        rise = solution - better if ctx.maximize else better - solution
        return None, nan_unless_finite(rise / ctx.lambda_, moved), *ctx.others


@final
class BlackBox:
    """A solver with a gradient, `g(theta, *args)`, returned by `torchsmooth.blackbox`."""

    def __init__(
        self,
        solver: Callable[..., Any],
        lambda_: float,
        *,
        maximize: bool,
        event_dim: int,
        vectorized: bool,
    ):
        self.solver = solver
        self.lambda_ = lambda_
        self.maximize = maximize
        self.event_dim = event_dim
        self.vectorized = vectorized
        functools.update_wrapper(self, solver, updated=())

    def __repr__(self) -> str:
        name = describe_solver(self.solver)
        return f"blackbox({name}, {self.lambda_}, maximize={self.maximize})"

    def __call__(self, theta: Tensor, *args: Any) -> Tensor:
        theta = check_scores(theta, self.event_dim)
        split = theta.ndim - self.event_dim
        batch, event = theta.shape[:split], theta.shape[split:]
        check_solver_args(args, batch)
        elements = math.prod(batch)
        own = [
            arg.reshape(elements, *arg.shape[split:]) if isinstance(arg, Tensor) else arg
            for arg in args
        ]

        def solve(rows: Tensor) -> Tensor:
            return call_solver(self.solver, rows, own, self.vectorized)

        rows = theta.reshape(elements, *event).to(compute_dtype(theta.dtype))
        solution = nan_unless_finite(solve(rows.detach()), rows.detach())
        result = _Interpolation.apply(solution, rows, self.lambda_, self.maximize, solve, *own)
        value: Tensor = result.reshape(theta.shape).to(theta.dtype)
        return value


def blackbox(
    solver: Callable[..., Any],
    lambda_: float,
    *,
    maximize: bool = True,
    event_dim: int = 1,
    vectorized: bool = True,
) -> BlackBox:
    """Returns the solver with a gradient: that of an interpolation of the loss after it.

    A solver y*(theta) that optimises <theta, y> over a finite set is piecewise constant. Let g be
    the gradient of the loss in the solution. The loss is replaced by a continuous, piecewise linear
    function of theta. This function is below the linearisation of the loss at the solution, and
    equals it where theta is far from a change. Its slope takes one more solution:

        for a minimiser   (y*(theta + lambda g) - y*(theta)) / lambda,
        for a maximiser   (y*(theta) - y*(theta - lambda g)) / lambda.

    The value is the exact solution. There is no noise: the same input gives the same gradient,
    which is 0 where no solution that is better for the loss is within reach.

    **Arguments:**

    - `solver`: maps scores [m, *event] to solutions [m, *event], as `torchsmooth.hard.argmax`,
        `rank` and `shortest_path` do. It may return NumPy arrays. It is called once in the forward
        pass and once in the backward pass.
    - `lambda_`: a number > 0, how far theta is moved: with small values the gradient is faithful to
        the loss and mostly 0, with large values it reaches further. g scales with the loss, so
        lambda must be chosen anew if the loss is averaged instead of summed.
    - `maximize`: False if the solver minimises, as `torchsmooth.hard.shortest_path` does. With the
        wrong value the function is above the loss instead of below.
    - `event_dim`: how many trailing dimensions of theta are one problem; the leading ones are
        batch.
    - `vectorized`: False if the solver takes one [*event] at a time.

    **Returns:** a callable `g(theta, *args)` from [*batch, *event] to [*batch, *event], of the
    dtype of `theta`; half types are computed in float32, and the solver gets float32. Tensors among
    `args` must start with the batch dimensions, and are passed to the solver; others are passed
    unchanged. An example with a NaN or an infinity is NaN. Second derivatives raise.

    **Raises:** TypeError or ValueError if an argument differs from this description. Exceptions of
    the solver are passed on.

    **Source:** Vlastelica et al., "Differentiation of blackbox combinatorial solvers", ICLR 2020
    (arXiv:1912.02175), algorithm 1.

    >>> import torch, torchsmooth as ts
    >>> argmax = ts.blackbox(ts.hard.argmax, 2.0)
    >>> theta = torch.tensor([1.0, 0.0, -3.0], requires_grad=True)
    >>> y = argmax(theta)
    >>> y
    tensor([1., 0., 0.], grad_fn=<ViewBackward0>)
    >>> (y * torch.tensor([1.0, 0.0, 0.5])).sum().backward()  # the second element would cost less
    >>> theta.grad
    tensor([ 0.5000, -0.5000,  0.0000])
    """
    check_solver(solver)
    if isinstance(lambda_, bool) or not isinstance(lambda_, numbers.Real):
        raise TypeError(f"lambda_ must be a number, got {lambda_!r}; pass for example 10.0")
    if not 0 < float(lambda_) < math.inf:
        raise ValueError(
            f"lambda_ must be finite and positive, got {lambda_!r}; pass for example 10.0, and "
            "maximize=False for a solver that minimises"
        )
    return BlackBox(
        solver,
        float(lambda_),
        maximize=check_bool(maximize, "maximize"),
        event_dim=check_int(event_dim, "event_dim", 0, 1),
        vectorized=check_bool(vectorized, "vectorized"),
    )
