"""Sorting, ranking and selecting under independent noise: exact expectations, without samples.

Given that an element lands at t, the number of others below t is Poisson-binomial, so that every
expectation is an integral over t alone. The kernels compute it with an error of at most 1e-6
(float32) or 1e-10 (float64), for values and gradients in x and in the scale; second derivatives and
forward mode are those of a slower quadrature in PyTorch.
"""

from torch import Tensor

from .._checks import check_bool, check_count, check_nonempty, check_quantile
from ..distributions import AbstractDistribution, Cauchy
from ..hard._sort import interpolate
from ._expected_order import Rows, rows


def argsort(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
) -> Tensor:
    """Returns the expected permutation matrix that sorts `x` under noise.

    Smooths `torchsmooth.hard.argsort`. The cost grows with n^2 times the number of nodes.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n]. Half types are computed in float32. Elements at
        -inf are below all others whatever the noise and those at inf above, among themselves in the
        order of their indices; their gradient is 0.
    - `distribution`: the law of the noise, independent for every element, with a scale that
        broadcasts against `x`. The scale may require grad.
    - `dim`: the dimension to sort; the others are batch.
    - `descending`: whether the largest element comes first.

    **Returns:** a tensor of shape [..., n, n] (the sorted dimension is moved to the end first).
    Entry [..., k, i] is the probability that element i is the k-th smallest (largest if
    `descending`), to 1e-6 (float32) or 1e-10 (float64); rows and columns sum to 1. A row with NaN
    is NaN.

    **Raises:** TypeError if an argument is of another type; ValueError if the distribution has a
    `scale_matrix`, under which the noise is not independent.

    **Source:** Taylor, Guiver, Robertson and Minka, "SoftRank", WSDM 2008, has the recursion for
    the number of elements below.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.argsort(torch.tensor([0.0, 1.0, 3.0]), ts.Logistic(0.5))
    tensor([[0.7909, 0.2037, 0.0054],
            [0.2003, 0.7408, 0.0590],
            [0.0089, 0.0555, 0.9356]])
    """
    noisy = rows(x, distribution, dim)
    return noisy.expect(check_bool(descending, "descending"), "matrix", 0, noisy.n)


def sort(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
) -> Tensor:
    """Returns the expected values of noisy `x` in order: its expected order statistics.

    Smooths `torchsmooth.hard.sort`. The derivative of the k-th in x is the k-th row of `argsort`.

    **Arguments:**

    - `x`, `distribution`, `dim`, `descending`: as for `argsort`. The law must have a
        mean: not Cauchy.

    **Returns:** a tensor of the shape of `x`, accurate to 1e-6 (float32) or 1e-10 (float64) of the
    spread of a row.

    **Raises:** as `argsort`; also ValueError under `Cauchy`, whose smallest and largest order
    statistics have no expectation.

    **Source:** David and Nagaraja, "Order statistics", 3rd edition, Wiley 2003.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.sort(torch.tensor([50.0, 0.0, 0.0]), ts.Gaussian(1.0))  # 0 -+ 1 / sqrt(pi)
    tensor([-0.5642,  0.5642, 50.0000])
    """
    noisy = rows(x, distribution, dim)
    check_bool(descending, "descending")
    _check_existence(noisy, 0, noisy.n, "sort")
    return noisy.back(noisy.expect(descending, "values", 0, noisy.n))


def rank(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
) -> Tensor:
    """Returns the expected rank of every element of noisy `x`, counted from 1.

    Smooths `torchsmooth.hard.rank`: the smallest element has rank 1 (the largest if `descending`).
    It is 1 plus the sum over the others of the probabilities to be below. The cost grows with n
    times the number of nodes.

    **Arguments:**

    - `x`, `distribution`, `dim`, `descending`: as for `argsort`.

    **Returns:** a tensor of the shape of `x`, accurate to n times 1e-6 (float32) or 1e-10
    (float64); the ranks of a row sum to n (n + 1) / 2.

    **Raises:** as `argsort`.

    **Source:** Taylor et al., "SoftRank", WSDM 2008.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.rank(torch.tensor([1.0, 1.0, 9.0]), ts.Logistic(0.1))
    tensor([1.5000, 1.5000, 3.0000])
    """
    noisy = rows(x, distribution, dim)
    return noisy.back(noisy.expect(check_bool(descending, "descending"), "ranks", 0, noisy.n))


def topk(
    x: Tensor,
    k: int,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    largest: bool = True,
) -> Tensor:
    """Returns the first `k` rows of the expected permutation matrix.

    Smooths `torchsmooth.hard.topk`.

    **Arguments:**

    - `x`, `distribution`, `dim`: as for `argsort`.
    - `k`: how many positions, from 0 to the number of elements.
    - `largest`: whether the largest elements are wanted, or the smallest.

    **Returns:** a tensor of shape [..., k, n] (the searched dimension is moved to the end first).
    Entry [..., r, i] is the probability that element i is the r-th largest (smallest unless
    `largest`). Its sum over the rows is `topk_mask`.

    **Raises:** as `argsort`; also ValueError if there are fewer than k elements.

    **Source:** as for `argsort`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.topk(torch.tensor([0.0, 8.0, 4.0]), 2, ts.Gaussian(0.1)).round()
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """
    noisy = rows(x, distribution, dim)
    count = check_count(k, noisy.n)
    return noisy.expect(check_bool(largest, "largest"), "matrix", 0, count)


def topk_mask(
    x: Tensor,
    k: int,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    largest: bool = True,
) -> Tensor:
    """Returns the probability of each element to be among the k largest.

    **Arguments:**

    - `x`, `k`, `distribution`, `dim`, `largest`: as for `topk`.

    **Returns:** a tensor of the shape of `x`, which sums to k along `dim`. A mask of zeros and ones
    with this gradient is `ts.straight_through(mask, ts.soft.topk_mask(...))`.

    **Raises:** as `topk`.

    **Source:** as for `argsort`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.topk_mask(torch.tensor([0.0, 1.0, 2.0]), 2, ts.Gaussian(1.0))
    tensor([0.2712, 0.7759, 0.9528])
    """
    noisy = rows(x, distribution, dim)
    count = check_count(k, noisy.n)
    return noisy.back(noisy.expect(check_bool(largest, "largest"), "matrix", 0, count).sum(-2))


def median(
    x: Tensor, distribution: AbstractDistribution, *, dim: int = -1, keepdim: bool = False
) -> Tensor:
    """Returns the expected median of noisy `x`.

    Smooths `torchsmooth.hard.median`: of an even number of elements it takes the lower one of the
    two in the middle, as torch does.

    **Arguments:**

    - `x`, `distribution`, `dim`: as for `argsort`. Under `Cauchy` at least three elements.
    - `keepdim`: whether `dim` stays, with size 1.

    **Returns:** a tensor of the shape of `x` without `dim`.

    **Raises:** as `argsort`; also ValueError if there are no elements, or if the median has no
    expectation.

    **Source:** as for `sort`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.median(torch.tensor([5.0, 0.0, 900.0]), ts.Cauchy(0.01)).round()
    tensor(5.)
    """
    noisy = rows(x, distribution, dim)
    check_bool(keepdim, "keepdim")
    middle = (check_nonempty(noisy.x, "median") - 1) // 2
    _check_existence(noisy, middle, middle + 1, "median")
    value = noisy.expect(False, "values", middle, middle + 1)
    return noisy.back(value) if keepdim else value.squeeze(-1)


def quantile(
    x: Tensor,
    q: float | Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    keepdim: bool = False,
) -> Tensor:
    """Returns the expected quantile of noisy `x`, interpolated linearly as in torch.

    Smooths `torchsmooth.hard.quantile`.

    **Arguments:**

    - `x`, `distribution`, `dim`: as for `argsort`.
    - `q`: a number in [0, 1], or a 1-D tensor of them, which is not differentiated. Under `Cauchy`
        a number between 1 / (n - 1) and 1 - 1 / (n - 1), where the expectation exists.
    - `keepdim`: whether `dim` stays, with size 1.

    **Returns:** a tensor of the shape of `x` without `dim`; for `q` of shape [Q], with Q in front.

    **Raises:** as `argsort`; also ValueError if there are no elements, if `q` is not in [0, 1], or
    if the quantile has no expectation.

    **Source:** as for `sort`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.quantile(torch.tensor([5.0, 0.0, 9.0]), 0.75, ts.Gaussian(0.01))
    tensor(7.)
    """
    noisy = rows(x, distribution, dim)
    check_bool(keepdim, "keepdim")
    n = check_nonempty(noisy.x, "quantile")
    q = check_quantile(q)
    first, last = 0, n
    if not isinstance(q, Tensor):  # two order statistics are enough, or one
        place = q * (n - 1)
        first = int(place)
        last = min(first + (1 if place == first else 2), n)
    _check_existence(noisy, first, last, "quantile")
    values = noisy.expect(False, "values", first, last)
    return interpolate(values, q, first, n, noisy.dim if keepdim else None)


def log_argsort(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
) -> Tensor:
    """Returns the logarithms of the entries of `argsort`, accurate also where these are tiny.

    It is for likelihoods of few elements: a quadrature in PyTorch whose cost grows with n^4.

    **Arguments:**

    - `x`, `distribution`, `dim`, `descending`: as for `argsort`. The law is one of
        torchsmooth.

    **Returns:** a tensor of shape [..., n, n]; -inf, with gradient 0, where the probability is 0 or
    below e^-700.

    **Raises:** as `argsort`; also ValueError for a law without a kernel.

    **Source:** as for `argsort`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.log_argsort(torch.tensor([0.0, 100.0]), ts.Gumbel(1.0)).round()
    tensor([[  -0., -100.],
            [-100.,    0.]])
    """
    noisy = rows(x, distribution, dim)
    return noisy.log_matrix(check_bool(descending, "descending"))


def _check_existence(noisy: Rows, first: int, last: int, name: str) -> None:
    """Of the order statistics at positions [first, last)."""
    n = noisy.n
    if isinstance(noisy.law, Cauchy):
        if last > first and (first == 0 or last == n):
            inner = f"those from 2 to {n - 1} of {n} do" if n > 2 else f"of {n} none has one"
            raise ValueError(
                f"distribution must not be Cauchy for {name} here, because under it the smallest "
                f"and the largest order statistic have no expectation ({inner}), got "
                f"{noisy.law!r}; use ts.soft.quantile or median of inner ones, or Logistic noise"
            )
