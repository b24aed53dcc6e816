"""The layer of hard values with soft gradients."""

from collections.abc import Callable
from typing import final

import torch

from .._straight_through import straight_through
from ._functions import check_function
from ._layer import AbstractLayer, P, R


@final
class StraightThrough(AbstractLayer[P, R]):
    """The value of `hard` with the gradient of `soft`: `torchsmooth.straight_through`.

    It adds no noise, and is the same in training and in evaluation: exact in both. A `soft` that is
    a smoothing layer brings its scale, learned or scheduled (Bengio, Leonard and Courville,
    "Estimating or propagating gradients through stochastic neurons for conditional computation",
    2013, arXiv:1308.3432).

    **Arguments:**

    - `hard`, `soft`: functions of the same arguments, or modules, as for
        `torchsmooth.straight_through`. Parameters of modules belong to the layer; those of `hard`
        get no gradient.

    **Returns:** called with the arguments of both, the value of `hard`, of the type of `soft`.

    **Raises:** TypeError if one is no function; the call, what `torchsmooth.straight_through`
    raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.StraightThrough(torch.round, ts.nn.SoftRound(ts.Gaussian(0.2)))
    >>> x = torch.tensor([0.2, 0.5], requires_grad=True)
    >>> y = layer(x)
    >>> y
    tensor([0., 0.], grad_fn=<AddBackward0>)
    >>> torch.autograd.grad(y.sum(), x)
    (tensor([0.6520, 1.9947]),)
    """

    _options = ("hard", "soft")

    def __init__(self, hard: Callable[P, R], soft: Callable[P, R]) -> None:
        super().__init__()
        self.hard = check_function(hard, "hard")
        self.soft = check_function(soft, "soft")

    def _compute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad():
            value = self.hard(*args, **kwargs)
        blended: R = straight_through(value, self.soft(*args, **kwargs))
        return blended
