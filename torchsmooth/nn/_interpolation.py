"""The layer of combinatorial solvers with a gradient by interpolation."""

from collections.abc import Callable
from typing import Any, final

from torch import Tensor

from .._solvers.interpolation import BlackBox as Interpolated, blackbox
from ._layer import AbstractLayer


@final
class BlackBox(AbstractLayer[..., Tensor]):
    """A solver with the gradient of an interpolation: `torchsmooth.blackbox`.

    The value is the exact solution, in training and in evaluation (Vlastelica et al.,
    "Differentiation of blackbox combinatorial solvers", 2020, arXiv:1912.02175).

    **Arguments:** as for `torchsmooth.blackbox`. A `solver` that is a module belongs to the layer;
    its parameters get no gradient.

    **Returns:** called with theta [*batch, *event] and arguments of the solver, its solution, a
    tensor of the shape and the dtype of theta.

    **Raises:** TypeError or ValueError if an argument is not what is said there; the call, what
    `torchsmooth.blackbox` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.BlackBox(ts.hard.argmax, 2.0)
    >>> theta = torch.tensor([[1.0, 0.0, -3.0]], requires_grad=True)
    >>> torch.nn.functional.mse_loss(layer(theta), torch.tensor([[0.0, 1.0, 0.0]])).backward()
    >>> theta.grad
    tensor([[ 0.5000, -0.5000,  0.0000]])
    """

    _options = ("solver", "lambda_", "maximize", "event_dim", "vectorized")

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
        return blackbox(**self._given())

    def _compute(self, theta: Tensor, *args: Any) -> Tensor:
        return self._interpolated()(theta, *args)
