"""Layers of extrema over a dimension under independent noise, without samples."""

from typing import final

from torch import Tensor

from .. import hard, soft
from ..distributions import AbstractDistribution
from ._reduction_layer import AbstractReductionLayer, extremum
from ._smoothing_layer import EvalMode


@final
class SoftArgMax(AbstractReductionLayer):
    """The probability of each element to be the largest: `torchsmooth.soft.argmax`.

    In evaluation with `eval_mode="hard"` it is the one-hot vector of `torchsmooth.hard.argmax`.
    `ArgMax` samples.

    **Arguments:** `dim`: as for `torchsmooth.soft.argmax`. `distribution`, and all other keywords:
    as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, which sums to 1 along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argmax` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftArgMax(0, ts.Gumbel(), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0, 3.0])
    >>> layer(x)  # softmax
    tensor([0.0420, 0.1142, 0.8438])
    >>> layer.eval()(x)
    tensor([0., 0., 1.])
    """

    _smoothed = staticmethod(soft.argmax)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(x, dim=dim)


@final
class SoftArgMin(AbstractReductionLayer):
    """The probability of each element to be the smallest: `torchsmooth.soft.argmin`.

    In evaluation with `eval_mode="hard"` it is the one-hot vector of the smallest element.

    **Arguments:** as for `SoftArgMax`.

    **Returns:** called with x, a tensor of its shape, which sums to 1 along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argmin` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftArgMin(0, ts.Gaussian())(torch.tensor([0.0, 1.0, 2.0]))
    tensor([0.7288, 0.2241, 0.0472])
    """

    _smoothed = staticmethod(soft.argmin)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(-x, dim=dim)


@final
class SoftLogArgMax(AbstractReductionLayer):
    """The logarithms of the probabilities of `SoftArgMax`: `torchsmooth.soft.log_argmax`.

    In evaluation with `eval_mode="hard"` it is 0 for the largest element and -inf elsewhere.

    **Arguments:** as for `SoftArgMax`.

    **Returns:** called with x, a tensor of its shape, of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.log_argmax` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftLogArgMax(0, ts.Gumbel(), eval_mode="hard")
    >>> x = torch.tensor([0.0, 100.0])
    >>> layer(x)
    tensor([-100.,    0.])
    >>> layer.eval()(x)
    tensor([-inf, 0.])
    """

    _smoothed = staticmethod(soft.log_argmax)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(x, dim=dim).log()


class _AbstractExtremumLayer(AbstractReductionLayer):
    _options = ("dim", "keepdim")
    keepdim: bool

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        keepdim: bool = False,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_options(keepdim=keepdim)


@final
class SoftAMax(_AbstractExtremumLayer):
    """The expectation of the largest element: `torchsmooth.soft.amax`.

    In evaluation with `eval_mode="hard"` it is `torch.amax`.

    **Arguments:** `dim`, `keepdim`: as for `torchsmooth.soft.amax`. `distribution`, and all other
    keywords: as for `AbstractSmoothingLayer`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.amax` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMax(0, ts.Gumbel(1e-3))(torch.tensor([0.0, 1.0, 3.0]))
    tensor(3.0006)
    """

    _smoothed = staticmethod(soft.amax)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=True)


@final
class SoftAMin(_AbstractExtremumLayer):
    """The expectation of the smallest element: `torchsmooth.soft.amin`.

    In evaluation with `eval_mode="hard"` it is `torch.amin`.

    **Arguments:** as for `SoftAMax`.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.amin` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMin(0, ts.Gaussian())(torch.zeros(2))
    tensor(-0.5642)
    """

    _smoothed = staticmethod(soft.amin)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=False)
