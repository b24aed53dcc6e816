"""Layers of the sort family: what can be asked of a sorted row, in the mean over the noise."""

from typing import final

from torch import Tensor

from .. import functional, hard
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..functional._fused import SamplingOptions
from ..samplers import AbstractSampler
from ._fractions import HoldsFractions
from ._sampled_layer import AbstractAlgorithmLayer
from ._smoothing_layer import EvalMode


class AbstractSortLayer(AbstractAlgorithmLayer):
    """A layer around a function of the sort family that has a `dim` and can be `descending`.

    **Arguments:**

    - `dim`, `descending`: as for the function in `torchsmooth.functional`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Subclassing.** Subclasses are final and name the function in both of its forms.
    """

    _options = ("dim", "descending")
    dim: int
    descending: bool

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        descending: bool = False,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        self.dim = dim
        self.descending = descending


@final
class ArgSort(AbstractSortLayer):
    """The expected permutation matrix that sorts perturbed `x`: `torchsmooth.functional.argsort`.

    In evaluation with `eval_mode="hard"` it is the 0/1 matrix of `torchsmooth.hard.argsort`
    (arXiv 2410.08125, section 4.2).

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.argsort`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [..., n], a tensor [..., n, n] of the dtype of x.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.argsort` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.ArgSort(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.3, -1.0, 0.2]))
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [1., 0., 0.]])
    """

    _smoothed = staticmethod(functional.argsort)
    _exact = staticmethod(hard.argsort)


@final
class Sort(AbstractSortLayer):
    """The expected sorted values of perturbed `x`: `torchsmooth.functional.sort`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.sort`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.sort`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [..., n], a tensor of its shape and dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.sort` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Sort(ts.Gaussian(scale=0.1), descending=True, eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([ 0.5000,  0.2500, -1.0000])
    """

    _smoothed = staticmethod(functional.sort)
    _exact = staticmethod(hard.sort)


@final
class Rank(AbstractSortLayer):
    """The expected ranks of the elements of perturbed `x`: `torchsmooth.functional.rank`.

    Ranks count from 1. In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.rank`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.rank`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [..., n], a tensor of its shape and dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.rank` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Rank(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([3., 1., 2.])
    """

    _smoothed = staticmethod(functional.rank)
    _exact = staticmethod(hard.rank)


@final
class ArgMax(AbstractAlgorithmLayer):
    """The expected one-hot vector of the largest element: `torchsmooth.functional.argmax`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.argmax`.

    **Arguments:**

    - `dim`: as for `torchsmooth.functional.argmax`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [..., n], a tensor of its shape and dtype, which sums to 1 along
    `dim`.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.argmax` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.ArgMax(ts.Gumbel(scale=0.5), num_samples=4096, seed=0)
    >>> x = torch.tensor([0.5, -1.0, 0.25])
    >>> torch.allclose(layer(x), torch.softmax(x / 0.5, -1), atol=0.01)
    True
    """

    _smoothed = staticmethod(functional.argmax)
    _exact = staticmethod(hard.argmax)
    _options = ("dim",)
    dim: int

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        self.dim = dim


@final
class TopK(AbstractAlgorithmLayer):
    """The expected one-hot vectors of the k largest elements: `torchsmooth.functional.topk`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.topk`.

    **Arguments:**

    - `k`, `dim`, `largest`: as for `torchsmooth.functional.topk`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [..., n], a tensor [..., k, n] of the dtype of x.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.topk` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.TopK(2, ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """

    _smoothed = staticmethod(functional.topk)
    _exact = staticmethod(hard.topk)
    _options = ("k", "dim", "largest")
    k: int
    dim: int
    largest: bool

    def __init__(
        self,
        k: int,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        largest: bool = True,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        self.k = k
        self.dim = dim
        self.largest = largest


@final
class Median(AbstractAlgorithmLayer):
    """The expected median of the elements of perturbed `x`: `torchsmooth.functional.median`.

    A layer has the name of its function: this one takes the median over a dimension of its input.
    The statistic `torchsmooth.Median` takes one over samples of noise, of what a function returns.
    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.median`.

    **Arguments:**

    - `dim`, `keepdim`: as for `torchsmooth.functional.median`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [..., n], a tensor [...] of the dtype of x.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.median` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Median(ts.Gaussian(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor(0.2500)
    """

    _smoothed = staticmethod(functional.median)
    _exact = staticmethod(hard.median)
    _options = ("dim", "keepdim")
    dim: int
    keepdim: bool

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        keepdim: bool = False,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        self.dim = dim
        self.keepdim = keepdim


@final
class Quantile(HoldsFractions, AbstractAlgorithmLayer):
    """The expected quantiles of perturbed `x`: `torchsmooth.functional.quantile`.

    In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.quantile`.

    **Arguments:**

    - `q`, `dim`, `keepdim`: as for `torchsmooth.functional.quantile`. A tensor of fractions moves
        with the layer, but keeps its type and is not part of the `state_dict`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [..., n], a tensor [...] of the dtype of x, or [Q, ...] for a tensor
    of Q fractions.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.quantile` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Quantile(0.25, ts.Gaussian(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor(-0.3750)
    """

    _smoothed = staticmethod(functional.quantile)
    _exact = staticmethod(hard.quantile)
    _options = ("q", "dim", "keepdim")
    dim: int
    keepdim: bool

    def __init__(
        self,
        q: float | Tensor,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        keepdim: bool = False,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        self._hold_fractions(q)
        self.dim = dim
        self.keepdim = keepdim
