"""Layers that sort, rank and select under independent noise, without samples."""

from typing import final

from torch import Tensor

from .. import hard, soft
from .._checks import check_int, check_quantile
from ..distributions import AbstractDistribution
from ._fractions import HoldsFractions
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
    """The expected permutation matrix that sorts noisy `x`: `torchsmooth.soft.argsort`.

    In evaluation with `eval_mode="hard"` it is the 0/1 matrix of `torchsmooth.hard.argsort`.
    `ArgSort` samples.

    **Arguments:** `dim`, `descending`: as for `torchsmooth.soft.argsort`. `distribution`, and all
    other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x [..., n], a tensor [..., n, n] of the promoted dtype of x and the
    scale, whose rows and columns sum to 1.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.argsort` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftArgSort(ts.Logistic(0.5), eval_mode="hard")
    >>> x = torch.tensor([0.0, 1.0, 3.0])
    >>> layer(x)
    tensor([[0.7909, 0.2037, 0.0054],
            [0.2003, 0.7408, 0.0590],
            [0.0089, 0.0555, 0.9356]])
    >>> layer.eval()(x)
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """

    _smoothed = staticmethod(soft.argsort)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argsort(x, dim=dim, descending=self.descending)


@final
class SoftLogArgSort(_AbstractOrderLayer):
    """The logarithms of the entries of `SoftArgSort`: `torchsmooth.soft.log_argsort`.

    In evaluation with `eval_mode="hard"` they are 0 and -inf.

    **Arguments:** as for `SoftArgSort`, under a law of torchsmooth.

    **Returns:** called with x [..., n], a tensor [..., n, n] of the promoted dtype of x and the
    scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.log_argsort` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftLogArgSort(ts.Gumbel())(torch.tensor([0.0, 100.0]))[0, 1]
    tensor(-100.)
    """

    _smoothed = staticmethod(soft.log_argsort)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.argsort(x, dim=dim, descending=self.descending).log()


@final
class SoftSort(_AbstractOrderLayer):
    """The expected values of noisy `x` in order: `torchsmooth.soft.sort`.

    The relaxed permutation matrices that others call SoftSort and NeuralSort correspond to
    `SoftArgSort`. In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.sort`. `Sort`
    samples.

    **Arguments:** as for `SoftArgSort`. The law has a mean: not Cauchy.

    **Returns:** called with x, a tensor of its shape, of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.sort` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftSort(ts.Gaussian(), eval_mode="hard")
    >>> x = torch.tensor([5.0, 0.0, 0.0])
    >>> layer(x).round(decimals=3)  # 0 -+ 1 / sqrt(pi), nearly
    tensor([-0.5640,  0.5640,  5.0000])
    >>> layer.eval()(x)
    tensor([0., 0., 5.])
    """

    _smoothed = staticmethod(soft.sort)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.sort(x, dim=dim, descending=self.descending)


@final
class SoftRank(_AbstractOrderLayer):
    """The expected rank of every element of noisy `x`, from 1: `torchsmooth.soft.rank`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.rank`. `Rank` samples.

    **Arguments:** as for `SoftArgSort`.

    **Returns:** called with x, a tensor of its shape, of the promoted dtype of x and the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.rank` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftRank(ts.Logistic(0.1), eval_mode="hard")
    >>> x = torch.tensor([1.0, 1.0, 9.0])
    >>> layer(x)
    tensor([1.5000, 1.5000, 3.0000])
    >>> layer.eval()(x)
    tensor([1., 2., 3.])
    """

    _smoothed = staticmethod(soft.rank)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.rank(x, dim=dim, descending=self.descending)


class _AbstractSelectionLayer(AbstractReductionLayer):
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


@final
class SoftTopK(_AbstractSelectionLayer):
    """The first k rows of the expected permutation matrix: `torchsmooth.soft.topk`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.topk`. `TopK` samples.

    **Arguments:** `k`, `dim`, `largest`: as for `torchsmooth.soft.topk`. `distribution`, and all
    other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x [..., n], a tensor [..., k, n] of the promoted dtype of x and the
    scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.topk` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftTopK(2, ts.Gaussian(0.1))(torch.tensor([0.0, 8.0, 4.0])).round()
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """

    _smoothed = staticmethod(soft.topk)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.topk(x, self.k, dim=dim, largest=self.largest)


@final
class SoftTopKMask(_AbstractSelectionLayer):
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

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.topk(x, self.k, dim=dim, largest=self.largest).sum(-2).movedim(-1, dim)


@final
class SoftMedian(AbstractReductionLayer):
    """The expected median of noisy `x`: `torchsmooth.soft.median`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.median`. `Median` samples.

    **Arguments:** `dim`, `keepdim`: as for `torchsmooth.soft.median`. `distribution`, and all other
    keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.median` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftMedian(ts.Cauchy(0.01))(torch.tensor([5.0, 0.0, 900.0]))  # tails count
    tensor(5.0330)
    """

    _smoothed = staticmethod(soft.median)
    _options = ("dim", "keepdim")
    _least = 3  # under Cauchy
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
        self._hold_options(keepdim=keepdim)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.median(x, dim=dim, keepdim=self.keepdim)


@final
class SoftQuantile(HoldsFractions, AbstractReductionLayer):
    """The expected quantiles of noisy `x`: `torchsmooth.soft.quantile`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.quantile`. `Quantile` samples.

    **Arguments:** `q`, `dim`, `keepdim`: as for `torchsmooth.soft.quantile`. A tensor of fractions
    moves with the layer, but keeps its type and is not part of the `state_dict`. `distribution`,
    and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with x, a tensor of its shape without `dim`, of the promoted dtype of x and
    the scale; for a tensor of Q fractions, with Q in front.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.quantile` raises.

    >>> import torch, torchsmooth as ts
    >>> ts.nn.SoftQuantile(0.75, ts.Gaussian(0.01))(torch.tensor([5.0, 0.0, 9.0]))
    tensor(7.)
    """

    _smoothed = staticmethod(soft.quantile)
    _options = ("dim", "q", "keepdim")
    _least = 3  # under Cauchy
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
        # Which fractions exist under Cauchy depends on the number of elements; a median does.
        self._hold_options(q=0.5, keepdim=keepdim)
        check_quantile(q)
        del self.q
        self._hold_fractions(q)

    def _exact(self, x: Tensor, dim: int) -> Tensor:
        return hard.quantile(x, self.q, dim=dim, keepdim=self.keepdim)
