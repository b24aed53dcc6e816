"""Layers of extrema over a dimension under any law, by numerical integration."""

from typing import final

from torch import Tensor

from .. import hard, soft
from .._checks import check_int
from ..distributions import AbstractDistribution
from ._reduction_layer import AbstractReductionLayer, extremum
from ._smoothing_layer import EvalMode


class _AbstractArgLayer(AbstractReductionLayer):
    _options = ("dim", "num_nodes")
    num_nodes: int

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        num_nodes: int = 128,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_options(num_nodes=num_nodes)


@final
class SoftArgMaxQuadrature(_AbstractArgLayer):
    """The probability of each element to be the largest: `torchsmooth.soft.argmax_quadrature`.

    In evaluation with `eval_mode="hard"` it is the one-hot vector of `torchsmooth.hard.argmax`.

    **Arguments:** `dim`, `num_nodes`: as for `torchsmooth.soft.argmax_quadrature`. `distribution`,
    and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, which sums to 1 along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argmax_quadrature` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftArgMaxQuadrature(0, ts.Gumbel())(torch.tensor([0.0, 1.0, 3.0]))  # softmax
    tensor([0.0420, 0.1142, 0.8438])
    """

    _smoothed = staticmethod(soft.argmax_quadrature)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(x, dim=dim)


@final
class SoftArgMinQuadrature(_AbstractArgLayer):
    """The probability of each element to be the smallest: `torchsmooth.soft.argmin_quadrature`.

    In evaluation with `eval_mode="hard"` it is the one-hot vector of the smallest element.

    **Arguments:** as for `SoftArgMaxQuadrature`.

    **Returns:** called with x, a tensor of its shape, which sums to 1 along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argmin_quadrature` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftArgMinQuadrature(0, ts.Gaussian())(torch.tensor([0.0, 1.0, 2.0]))
    tensor([0.7288, 0.2241, 0.0472])
    """

    _smoothed = staticmethod(soft.argmin_quadrature)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(-x, dim=dim)


@final
class SoftTopKMaskQuadrature(AbstractReductionLayer):
    """The probability of each element to be among the k largest.

    It is `torchsmooth.soft.topk_mask_quadrature`. In evaluation with `eval_mode="hard"` it is the
    mask of `torchsmooth.hard.topk`, 1 for each of the k largest elements and 0 elsewhere.

    **Arguments:** `k`, `dim`, `largest`, `num_nodes`: as for
    `torchsmooth.soft.topk_mask_quadrature`. `distribution`, and all other keywords: as for
    `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, which sums to k along `dim`, of the
    promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.topk_mask_quadrature` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftTopKMaskQuadrature(2, 0, ts.Gaussian(), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0, 2.0])
    >>> layer(x)
    tensor([0.2712, 0.7759, 0.9528])
    >>> layer.eval()(x)
    tensor([0., 1., 1.])
    """

    _smoothed = staticmethod(soft.topk_mask_quadrature)
    _options = ("dim", "k", "largest", "num_nodes")
    k: int
    largest: bool
    num_nodes: int

    def __init__(
        self,
        k: int,
        dim: int,
        distribution: AbstractDistribution,
        *,
        largest: bool = True,
        num_nodes: int = 128,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        # A first look at the options has one element only.
        self._hold_options(k=1, largest=largest, num_nodes=num_nodes)
        self.k = check_int(k, "k", 1, 2)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.topk(x, self.k, dim=dim, largest=self.largest).sum(-2).movedim(-1, dim)


class _AbstractExtremumLayer(AbstractReductionLayer):
    _options = ("dim", "keepdim", "num_nodes")
    keepdim: bool
    num_nodes: int

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        keepdim: bool = False,
        num_nodes: int = 128,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_options(keepdim=keepdim, num_nodes=num_nodes)


@final
class SoftAMaxQuadrature(_AbstractExtremumLayer):
    """The expectation of the largest element: `torchsmooth.soft.amax_quadrature`.

    In evaluation with `eval_mode="hard"` it is `torch.amax`.

    **Arguments:** `dim`, `keepdim`, `num_nodes`: as for `torchsmooth.soft.amax_quadrature`.
    `distribution`, and all other keywords: as for `AbstractSmoothingLayer`. The law has a mean: not
    Cauchy.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.amax_quadrature` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMaxQuadrature(0, ts.Gaussian())(torch.zeros(2))  # 1 / sqrt(pi)
    tensor(0.5642)
    """

    _smoothed = staticmethod(soft.amax_quadrature)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=True)


@final
class SoftAMinQuadrature(_AbstractExtremumLayer):
    """The expectation of the smallest element: `torchsmooth.soft.amin_quadrature`.

    In evaluation with `eval_mode="hard"` it is `torch.amin`.

    **Arguments:** as for `SoftAMaxQuadrature`.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.amin_quadrature` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftAMinQuadrature(0, ts.Gaussian())(torch.zeros(2))
    tensor(-0.5642)
    """

    _smoothed = staticmethod(soft.amin_quadrature)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return extremum(x, dim, self.keepdim, largest=False)
