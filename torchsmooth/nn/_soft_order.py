"""Layers of the exact sort family."""

from typing import final

from torch import Tensor

from .. import hard, soft
from .._checks import check_bool, check_int, check_quantile
from ..distributions import AbstractDistribution
from ._reduction_layer import AbstractReductionLayer
from ._smoothing_layer import EvalMode


class _AbstractOrderLayer(AbstractReductionLayer):
    _options = ("dim", "descending")
    descending: bool

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        descending: bool = False,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_options(descending=descending)


@final
class SoftArgSort(_AbstractOrderLayer):
    """The expected permutation matrix: `torchsmooth.soft.argsort`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.argsort`.

    **Arguments:** `dim`, `descending`: as for `torchsmooth.soft.argsort`. `distribution`, and all
    other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor [..., n, n], of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argsort` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftArgSort(ts.Logistic(0.1))(torch.tensor([0.0, 9.0])).round()
    tensor([[1., 0.],
            [0., 1.]])
    """

    _smoothed = staticmethod(soft.argsort)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argsort(x, dim=dim, descending=self.descending)


@final
class SoftLogArgSort(_AbstractOrderLayer):
    """The logarithms of the expected permutation matrix: `torchsmooth.soft.log_argsort`.

    In evaluation with `eval_mode="hard"` it is the logarithm of `torchsmooth.hard.argsort`.

    **Arguments:** `dim`, `descending`: as for `torchsmooth.soft.log_argsort`. `distribution`, and
    all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor [..., n, n], of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.log_argsort` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftLogArgSort(ts.Gumbel())(torch.tensor([0.0, 100.0])).round()
    tensor([[  -0., -100.],
            [-100.,    0.]])
    """

    _smoothed = staticmethod(soft.log_argsort)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argsort(x, dim=dim, descending=self.descending).log()


@final
class SoftSort(_AbstractOrderLayer):
    """The expected order statistics: `torchsmooth.soft.sort`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.sort`.

    **Arguments:** `dim`, `descending`: as for `torchsmooth.soft.sort`. `distribution`, and all
    other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.sort` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftSort(ts.Gaussian(0.01))(torch.tensor([5.0, 1.0])).round()
    tensor([1., 5.])
    """

    _smoothed = staticmethod(soft.sort)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.sort(x, dim=dim, descending=self.descending)


@final
class SoftRank(_AbstractOrderLayer):
    """The expected rank of every element: `torchsmooth.soft.rank`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.rank`.

    **Arguments:** `dim`, `descending`: as for `torchsmooth.soft.rank`. `distribution`, and all
    other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.rank` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftRank(ts.Logistic(0.1))(torch.tensor([1.0, 1.0, 9.0]))
    tensor([1.5000, 1.5000, 3.0000])
    """

    _smoothed = staticmethod(soft.rank)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.rank(x, dim=dim, descending=self.descending)


@final
class SoftTopK(AbstractReductionLayer):
    """The first k rows of the expected permutation matrix: `torchsmooth.soft.topk`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.topk`.

    **Arguments:** `k`, `dim`, `largest`: as for `torchsmooth.soft.topk`. `distribution`, and all
    other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor [..., k, n], of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.topk` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftTopK(1, ts.Gaussian(0.1))(torch.tensor([0.0, 8.0, 4.0])).round()
    tensor([[0., 1., 0.]])
    """

    _smoothed = staticmethod(soft.topk)
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
        return hard.topk(x, self.k, dim=dim, largest=self.largest)


@final
class SoftMedian(AbstractReductionLayer):
    """The expected median: `torchsmooth.soft.median`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.median`.

    **Arguments:** `dim`, `keepdim`: as for `torchsmooth.soft.median`. `distribution`, and all other
    keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.median` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftMedian(ts.Cauchy(0.01))(torch.tensor([5.0, 0.0, 900.0])).round()
    tensor(5.)
    """

    _smoothed = staticmethod(soft.median)
    _options = ("dim", "keepdim")
    keepdim: bool

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        keepdim: bool = False,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.keepdim = check_bool(keepdim, "keepdim")

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.median(x, dim=dim, keepdim=self.keepdim)


@final
class SoftQuantile(AbstractReductionLayer):
    """The expected quantile: `torchsmooth.soft.quantile`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.quantile`.

    **Arguments:** `q`, `dim`, `keepdim`: as for `torchsmooth.soft.quantile`. `distribution`, and
    all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape without `dim`; for `q` of shape [Q], with Q in
    front, of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.quantile` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftQuantile(0.75, ts.Gaussian(0.01))(torch.tensor([5.0, 0.0, 9.0]))
    tensor(7.)
    """

    _smoothed = staticmethod(soft.quantile)
    _options = ("dim", "q", "keepdim")
    q: float | Tensor
    keepdim: bool

    def __init__(
        self,
        q: float | Tensor,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        keepdim: bool = False,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(dim, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold("q", check_quantile(q))
        self.keepdim = check_bool(keepdim, "keepdim")

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.quantile(x, self.q, dim=dim, keepdim=self.keepdim)


@final
class SoftLogArgMax(AbstractReductionLayer):
    """The logarithms of the probabilities to be the largest: `torchsmooth.soft.log_argmax`.

    In evaluation with `eval_mode="hard"` it is the logarithm of `torchsmooth.hard.argmax`.

    **Arguments:** `dim`: as for `torchsmooth.soft.log_argmax`. `distribution`, and all other
    keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape, of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.log_argmax` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftLogArgMax(0, ts.Gumbel())(torch.tensor([0.0, 100.0]))
    tensor([-100.,    0.])
    """

    _smoothed = staticmethod(soft.log_argmax)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argmax(x, dim=dim).log()
