"""Combinatorial solvers with a gradient by interpolation."""

from collections.abc import Callable
from typing import Any, final

from torch import Tensor, nn

from .._solvers.interpolation import BlackBox as Interpolated, blackbox
from .._solvers.solver import describe_solver


@final
class BlackBox(nn.Module):
    """A solver with the gradient of an interpolation: `torchsmooth.blackbox`.

    The value is the exact solution, in training and in evaluation.

    **Arguments:** as for `torchsmooth.blackbox`. A `solver` that is a module belongs to the layer;
    its parameters get no gradient.

    **Raises:** TypeError or ValueError if an argument is not what is said there.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.BlackBox(ts.hard.argmax, 2.0)
    >>> theta = torch.tensor([[1.0, 0.0, -3.0]], requires_grad=True)
    >>> torch.nn.functional.mse_loss(layer(theta), torch.tensor([[0.0, 1.0, 0.0]])).backward()
    >>> theta.grad
    tensor([[ 0.5000, -0.5000,  0.0000]])
    """

    def __init__(
        self,
        solver: Callable[..., Any],
        lambda_: float,
        *,
        maximize: bool = True,
        event_dim: int = 1,
        vectorized: bool = True,
    ) -> None:
        super().__init__()
        self.solver = solver
        self.lambda_ = lambda_
        self.maximize = maximize
        self.event_dim = event_dim
        self.vectorized = vectorized
        self._interpolated()  # looks at the options

    def _interpolated(self) -> Interpolated:
        return blackbox(
            self.solver,
            self.lambda_,
            maximize=self.maximize,
            event_dim=self.event_dim,
            vectorized=self.vectorized,
        )

    def forward(self, theta: Tensor, *args: Any) -> Tensor:
        """The solution."""
        return self._interpolated()(theta, *args)

    def extra_repr(self) -> str:
        own = f"lambda_={self.lambda_}, maximize={self.maximize}, event_dim={self.event_dim}"
        solver = self.solver
        return own if isinstance(solver, nn.Module) else f"{describe_solver(solver)}, {own}"
