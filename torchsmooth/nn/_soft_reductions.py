"""Layers of extrema over a dimension in closed form, which the Gumbel law alone has."""

from typing import final

from torch import Tensor

from .. import hard, soft
from ..distributions import AbstractDistribution
from ._reduction_layer import AbstractReductionLayer, extremum
from ._smoothing_layer import EvalMode


@final
class SoftArgMax(AbstractReductionLayer):
    """The probability of each element to be the largest: `torchsmooth.soft.argmax`, the softmax.

    In evaluation with `eval_mode="hard"` it is the one-hot vector of `torchsmooth.hard.argmax`.
    `ArgMax` samples, and `SoftArgMaxQuadrature` integrates, under any law.

    **Arguments:** `dim`: as for `torchsmooth.soft.argmax`. `distribution`: a `Gumbel`. All other
    keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, which sums to 1 along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argmax` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftArgMax(0, ts.Gumbel(), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0, 3.0])
    >>> layer(x)
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

    **Arguments:** `dim`, `mirrored`: as for `torchsmooth.soft.argmin`. `distribution`: a `Gumbel`.
    All other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, which sums to 1 along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argmin` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftArgMin(0, ts.Gumbel(), mirrored=True)(torch.tensor([0.0, 1.0, 3.0]))
    tensor([0.7054, 0.2595, 0.0351])
    """

    _smoothed = staticmethod(soft.argmin)
    _options = ("dim", "mirrored")
    mirrored: bool

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        mirrored: bool,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_options(mirrored=mirrored)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(-x, dim=dim)


@final
class SoftAMax(AbstractReductionLayer):
    """The expectation of the largest element: `torchsmooth.soft.amax`, a logsumexp.

    In evaluation with `eval_mode="hard"` it is `torch.amax`.

    **Arguments:** `dim`, `keepdim`: as for `torchsmooth.soft.amax`. `distribution`: a `Gumbel`. All
    other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.amax` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMax(0, ts.Gumbel(1e-3))(torch.tensor([0.0, 1.0, 3.0]))
    tensor(3.0006)
    """

    _smoothed = staticmethod(soft.amax)
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

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=True)


@final
class SoftAMin(AbstractReductionLayer):
    """The expectation of the smallest element: `torchsmooth.soft.amin`.

    In evaluation with `eval_mode="hard"` it is `torch.amin`.

    **Arguments:** `dim`, `mirrored`, `keepdim`: as for `torchsmooth.soft.amin`. `distribution`: a
    `Gumbel`. All other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.amin` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMin(0, ts.Gumbel(1e-3), mirrored=True)(torch.tensor([0.0, 1.0, 3.0]))
    tensor(-0.0006)
    """

    _smoothed = staticmethod(soft.amin)
    _options = ("dim", "mirrored", "keepdim")
    mirrored: bool
    keepdim: bool

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        mirrored: bool,
        keepdim: bool = False,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_options(mirrored=mirrored, keepdim=keepdim)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=False)
