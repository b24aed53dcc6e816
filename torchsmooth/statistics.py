"""Statistics of f(x + L eps): its mean, the median of k samples, its covariance.

Each statistic is the expectation of a function of k independent samples. It is estimated by the
mean of this function over all subsets of k of the s samples: a U-statistic (Hoeffding, "A class of
statistics with asymptotically normal distribution", Annals of Mathematical Statistics 19, 1948).
Its gradient is E[function * sum of the k scores]. As a sum over the s samples this is k / s times
the sum of (the mean over the subsets that contain a sample) * (the score of that sample).
"""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar, NoReturn, final

import torch
from torch import Tensor

from ._checks import check_int
from ._names import unknown_name


__all__ = ["STATISTICS", "AbstractStatistic", "Covariance", "Mean", "Median"]


class AbstractStatistic(abc.ABC):
    """A property of the law of f(x + L eps), estimated from k samples at a time.

    Statistics are immutable, hold no state and compare by value.

    **Subclassing.** Subclasses are final and implement everything here. They get the samples of
    every batch element as [B, s, M], with f's outputs as M columns.
    """

    joint: ClassVar[bool]
    """Whether f's outputs are taken together, so that they must be one tensor."""

    k: int
    """How many samples make one value."""

    @abc.abstractmethod
    def shape(self, out: Sequence[int]) -> tuple[int, ...]:
        """The shape of the statistic of outputs of shape `out`."""

    @abc.abstractmethod
    def value(self, samples: Tensor) -> Tensor:  # [B, s, M] -> [B, R]
        """The mean over all subsets of k samples, differentiable in the samples."""

    @abc.abstractmethod
    def weigh(self, samples: Tensor, upstream: Tensor) -> Tensor:  # [B, s, M], [B, R] -> [B, s]
        """k times the upstream gradient's product with each sample's deviation.

        The deviation is the mean over the subsets that contain the sample, minus the mean over all.
        """

    @abc.abstractmethod
    def stratified_factor(self, num_samples: int) -> float:
        """The factor of the sum of these weights times the scores, for stratified samples.

        For independent samples it is 1 / (s - k): each is compared with the subsets without it.
        """


@final
@dataclasses.dataclass(frozen=True)
class Mean(AbstractStatistic):
    """The expectation: `statistic="mean"`."""

    k = 1
    joint = False

    def shape(self, out: Sequence[int]) -> tuple[int, ...]:
        return tuple(out)

    def value(self, samples: Tensor) -> Tensor:
        return samples.mean(1)

    def weigh(self, samples: Tensor, upstream: Tensor) -> Tensor:
        return torch.einsum("bsm,bm->bs", samples - samples.mean(1, keepdim=True), upstream)

    def stratified_factor(self, num_samples: int) -> float:
        return 1 / num_samples


@final
@dataclasses.dataclass(frozen=True)
class Median(AbstractStatistic):
    """The expected median of k independent samples, E[median(f(x + L eps_1), ..., f(x + L eps_k))].

    It is taken for every component of f's outputs separately, over samples of noise; the layer
    `torchsmooth.nn.Median`, of the function `torchsmooth.functional.median`, takes a median over a
    dimension of its input. It exists where the mean does not: under Cauchy noise the median of 3
    samples of f(y) = y has a mean, that of 5 a variance. As k grows it approaches the median of
    f(x + L eps).

    The value is the mean of the medians of all subsets of k of the s samples: sums of the sorted
    outputs with weights C(i, m) C(s - 1 - i, m) / C(s, k), m = (k - 1) / 2. The gradient is
    E[median * sum of the k scores], over the same subsets, in O(s log s). In `torchsmooth.smooth`:

    - `covariate` is the baseline of a median before it is multiplied with its scores: with "loo" a
        sample's subsets are compared with those without the sample, with "fx" with f(x), with
        "none" with 0. For k = 1 it is the same as for the mean.
    - It needs s >= k samples, and s >= k + 1 with "loo".
    - The outputs of all samples are kept until the backward pass: s numbers for each of f's outputs
        and batch element, of float32 or float64, and about ten times as many while they are sorted.
    - Value and gradient are unbiased for independent samples: the sampler "mc". Stratified samples
        are more even than the subsets assume. With "loo" a bias of order 1 / s remains, in value
        and gradient: about 1 % at s = 16, 0.4 % at 64. With "none" and "fx" gradients are too small
        by the factor 1 - k/s. With `antithetic=True` subsets contain mirror images, and a bias of
        order k / s remains. The page on estimators has the figures.

    Ties do not change the value; for the gradient any order of the tied samples is valid. NaN among
    an element's outputs makes its result NaN. Infinite outputs do no harm where they are too few to
    be the median.

    **Arguments:**

    - `k`: odd, at least 1.

    **Source:** Petersen et al., arXiv 2410.08125, definition 12. Its lemma 13 uses the score of the
    median sample only, which gives another number: 0.449 instead of 1 for f(y) = y, k = 3, under a
    Gaussian.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> f = ts.smooth(lambda y: y, ts.Cauchy(0.5), statistic=ts.Median(5), seed=0)
    >>> y = f(x)  # E of the median is x, although E of the noise does not exist
    >>> abs(y.item() - 2) < 0.05
    True
    >>> y.backward()
    >>> abs(x.grad.item() - 1) < 0.1
    True
    """

    k: int

    joint = False

    def __post_init__(self) -> None:
        k = check_int(self.k, "k", 1, 3)
        if k % 2 == 0:
            raise ValueError(
                f"k must be odd, so that one of k samples is their median, got {k}; pass for "
                f"example {k + 1}"
            )
        object.__setattr__(self, "k", k)

    def shape(self, out: Sequence[int]) -> tuple[int, ...]:
        return tuple(out)

    def value(self, samples: Tensor) -> Tensor:
        ordered = samples.sort(1).values
        value = _products(ordered, self._weights(ordered)).sum(1)
        # Sorting puts a NaN last.
        return torch.where(ordered[:, -1].isnan(), torch.nan, value)

    def weigh(self, samples: Tensor, upstream: Tensor) -> Tensor:
        ordered, order = samples.sort(1)
        # Sums of numbers around 0 lose no digits.
        centred = ordered - ordered[:, samples.shape[1] // 2].unsqueeze(1)
        mean = _products(centred, self._weights(ordered)).sum(1, keepdim=True)
        own, above, below = self._weights_with_a_sample(ordered)
        above, below = _products(centred, above), _products(centred, below)
        with_sample = (
            _products(centred, own)
            + (above.flip(1).cumsum(1).flip(1) - above)  # of the later samples
            + (below.cumsum(1) - below)  # of the earlier ones
        )
        deviation = torch.empty_like(samples).scatter_(1, order, with_sample - mean)
        return self.k * torch.einsum("bsm,bm->bs", deviation, upstream)

    def stratified_factor(self, num_samples: int) -> float:
        # The share of subsets that contain a sample is k / s for any samples. For k = 1 a sample is
        # compared with the mean, which has almost no error.
        return 1 / (num_samples - self.k) if self.k > 1 else 1 / num_samples

    def _weights(self, ordered: Tensor) -> Tensor:  # [s, 1]
        """The probability that the median of k out of s samples is the i-th smallest."""
        s, m = ordered.shape[1], self.k // 2
        i = torch.arange(s, device=ordered.device)
        total = _log_choose(torch.full_like(i[:1], s), self.k)
        return _exp(_log_choose(i, m) + _log_choose(s - 1 - i, m) - total, ordered)

    def _weights_with_a_sample(self, ordered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same for subsets that contain a given sample.

        The three are the probabilities that the median is the sample itself, at i; the i-th, which
        is larger; the i-th, which is smaller.
        """
        s, m = ordered.shape[1], self.k // 2
        i = torch.arange(s, device=ordered.device)
        total = _log_choose(torch.full_like(i[:1], s - 1), self.k - 1)
        return (
            _exp(_log_choose(i, m) + _log_choose(s - 1 - i, m) - total, ordered),
            _exp(_log_choose(i - 1, m - 1) + _log_choose(s - 1 - i, m) - total, ordered),
            _exp(_log_choose(i, m) + _log_choose(s - 2 - i, m - 1) - total, ordered),
        )


@final
@dataclasses.dataclass(frozen=True)
class Covariance(AbstractStatistic):
    """The covariances of the components of f(x + L eps), and their gradients.

    For outputs of shape [*out], which must be one tensor, the result is [*batch, *out, *out]: a
    matrix for a vector, the variance for a single number. In `torchsmooth.smooth`:

    - The value is the sample covariance, with 1 / (s - 1). The gradient is the mean of (d d^T s /
        (s - 1) - covariance) * score, with d the deviation of a sample from the mean, and with the
        factor s / (s - 2) that makes it unbiased. It needs s >= 3 samples with "loo", else 2.
    - `covariate`: with "loo" pairs of samples are compared with those without the sample of the
        score. The covariance of a constant is 0, so that "fx" is the same as "none", which is
        unbiased too and has more variance.
    - The outputs of all samples are kept until the backward pass: s numbers for each of f's outputs
        and batch element, of float32 or float64.
    - Value and gradient are unbiased for independent samples: the sampler "mc". The mean of
        stratified samples has almost no error: for them both are too large by up to a factor s / (s
        - 1). With `antithetic=True` a bias of order 1 / s remains too.

    **Source:** Petersen et al., arXiv 2410.08125, theorem 8, with L^-T in the gradient.

    >>> import torch, torchsmooth as ts
    >>> matrix = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    >>> f = ts.smooth(lambda y: y @ matrix.T, ts.Gaussian(2.0), statistic=ts.Covariance(), seed=0)
    >>> (f(torch.zeros(2)) / 4).round(decimals=1)  # matrix @ matrix.T
    tensor([[1., 1.],
            [1., 2.]])
    """

    k = 2
    joint = True

    def shape(self, out: Sequence[int]) -> tuple[int, ...]:
        return (*out, *out)

    def value(self, samples: Tensor) -> Tensor:
        deviation = samples - samples.mean(1, keepdim=True)
        return (deviation.mT @ deviation / (samples.shape[1] - 1)).flatten(1)

    def weigh(self, samples: Tensor, upstream: Tensor) -> Tensor:
        s, columns = samples.shape[1:]
        deviation = samples - samples.mean(1, keepdim=True)
        form = upstream.reshape(-1, columns, columns)
        products = ((deviation @ form) * deviation).sum(-1)
        return s / (s - 1) * (products - products.mean(1, keepdim=True))

    def stratified_factor(self, num_samples: int) -> float:
        return 1 / num_samples


STATISTICS: dict[str, AbstractStatistic] = {"mean": Mean()}


def resolve_statistic(statistic: str | AbstractStatistic) -> AbstractStatistic:
    """The statistic of this name, or the statistic itself."""
    if isinstance(statistic, AbstractStatistic):
        return statistic
    expected = "statistic must be 'mean', ts.Median(k) or ts.Covariance()"
    if not isinstance(statistic, str):
        raise TypeError(f"{expected}, got {statistic!r}; pass for example ts.Median(3)")
    if statistic not in STATISTICS:
        raise ValueError(f"{expected}, got {statistic!r}; pass for example ts.Median(3)")
    return STATISTICS[statistic]


def _log_choose(n: Tensor, r: int) -> Tensor:
    """The logarithm of the number of subsets of r out of n, -inf where there are none."""
    if r < 0:
        return torch.full_like(n, -torch.inf, dtype=torch.float64)
    size = n.clamp(min=r).to(torch.float64)
    count = torch.lgamma(size + 1) - torch.lgamma(size - r + 1) - math.lgamma(r + 1)
    return torch.where(n >= r, count, -torch.inf)


def _exp(logarithm: Tensor, like: Tensor) -> Tensor:  # [s] -> [s, 1]
    return logarithm.exp().to(like.dtype).unsqueeze(1)


def _products(samples: Tensor, weights: Tensor) -> Tensor:
    """samples * weights, and 0 where the weight is 0, also for infinite samples."""
    return torch.where(weights > 0, samples * weights, 0.0)


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
