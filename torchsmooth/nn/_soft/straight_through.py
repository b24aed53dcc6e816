"""The value of one function with the gradient of another."""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import nn

from ..._straight_through import straight_through
from .functions import check_function, describe_functions


@final
class StraightThrough(nn.Module):
    """The value of `hard` with the gradient of `soft`: `torchsmooth.straight_through`.

    It has no noise of its own, and is the same in training and in evaluation: exact in both. A
    `soft` that is a smoothing layer brings its scale, learned or scheduled.

    **Arguments:**

    - `hard`, `soft`: functions of the same arguments, or modules, as for
        `torchsmooth.straight_through`. Parameters of modules belong to the layer; those of `hard`
        get no gradient.

    **Raises:** TypeError if one is no function; what `torchsmooth.straight_through` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.StraightThrough(torch.round, ts.nn.SoftRound(ts.Gaussian(0.2)))
    >>> x = torch.tensor([0.2, 0.5], requires_grad=True)
    >>> y = layer(x)
    >>> y
    tensor([0., 0.], grad_fn=<AddBackward0>)
    >>> torch.autograd.grad(y.sum(), x)
    (tensor([0.6520, 1.9947]),)
    """

    def __init__(self, hard: Callable[..., Any], soft: Callable[..., Any]) -> None:
        super().__init__()
        self.hard = check_function(hard, "hard")
        self.soft = check_function(soft, "soft")

    def forward(self, *args: Any) -> Any:
        """The value of `hard`."""
        with torch.no_grad():
            value = self.hard(*args)
        return straight_through(value, self.soft(*args))

    def extra_repr(self) -> str:
        return describe_functions(self, "hard", "soft")
