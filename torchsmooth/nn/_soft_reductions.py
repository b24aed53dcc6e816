"""Layers of extrema over a dimension under independent noise, without samples."""

from typing import final

from torch import Tensor

from .. import hard, soft
from .._checks import check_int
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
class SoftTopKMask(AbstractReductionLayer):
    """The probability of each element to be among the k largest: `torchsmooth.soft.topk_mask`.

    In evaluation with `eval_mode="hard"` it is the mask of `torchsmooth.hard.topk`, 1 for each of
    the k largest elements and 0 elsewhere.

    **Arguments:** `k`, `dim`, `largest`: as for `torchsmooth.soft.topk_mask`. `distribution`, and
    all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, which sums to k along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.topk_mask` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftTopKMask(2, ts.Gaussian(), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0, 2.0])
    >>> layer(x)
    tensor([0.2712, 0.7759, 0.9528])
    >>> layer.eval()(x)
    tensor([0., 1., 1.])
    """

    _smoothed = staticmethod(soft.topk_mask)
    _options = ("dim", "k", "largest")
    k: int
    largest: bool

    def __init__(
        self,
        k: int,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        largest: bool = True,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        # A first look at the options has one element only.
        self._hold_options(k=1, largest=largest)
        self.k = check_int(k, "k", 0, 2)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.topk(x, self.k, dim=dim, largest=self.largest).sum(-2).movedim(-1, dim)


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
