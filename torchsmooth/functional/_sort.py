"""The sort family: expected properties of a sorted row of perturbed elements."""

import torch
from torch import Tensor

from .._checks import (
    check_bool,
    check_count,
    check_dim,
    check_distribution,
    check_floating,
    check_nonempty,
    check_quantile,
)
from .._dtypes import compute_dtype
from .._kernels.sort import SortOp, SortTask
from .._torch_internals import values_are_readable
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..hard._sort import interpolate, sort_outcome_or_nan
from ..samplers import AbstractSampler
from ._fused import SamplingOptions, smooth_fused


def _rows(x: Tensor, dim: int) -> tuple[Tensor, int]:
    """The checked argument with its dimension moved to the end, and the place that it had."""
    dim = check_dim(dim, check_floating(x, "x"))
    return _move(x, dim, x.ndim - 1), dim


def _move(x: Tensor, source: int, destination: int) -> Tensor:
    """`x.movedim`, without a node in the graph where nothing moves."""
    return x if source == destination else x.movedim(source, destination)


def _without_offset(rows: Tensor) -> Tensor:  # [..., n]
    """The rows less their element nearest to 0, if all elements are on one side of 0.

    Orders do not depend on a common offset. Beside a large number, noise would fall on few
    floating-point numbers, and ties would decide. A difference is rounded by less than the last
    digit of its element, because it is no larger.
    """
    low, high = rows.detach().to(compute_dtype(rows.dtype)).aminmax(dim=-1, keepdim=True)
    return rows - (low.clamp(min=0) + high.clamp(max=0)).to(rows.dtype)


# Up to so many scales from 0, float32 resolves the noise well: its numbers are 1e-4 scales apart.
_RESOLVED = 2.0**10


def _is_resolved(rows: Tensor, distribution: AbstractDistribution) -> bool:
    """Whether no offset can matter, as far as that is quickly seen."""
    if rows.numel() == 0 or rows.dtype == torch.float64:
        return True
    if not isinstance(distribution.scale, float) or not values_are_readable(rows):
        return False
    low, high = rows.detach().aminmax()
    reach = _RESOLVED * distribution.scale
    return -reach <= low.item() and high.item() <= reach


def _smooth_sort(
    rows: Tensor,  # [..., n]
    distribution: AbstractDistribution,
    task: SortTask,
    options: SamplingOptions,
) -> Tensor:  # [..., *outcome]
    distribution = check_distribution(distribution)
    if task.output != "values" and not _is_resolved(rows, distribution):
        rows = _without_offset(rows)
    return smooth_fused(
        rows,
        1,
        distribution,
        options,
        op=lambda drawing, estimator: SortOp(drawing, task, estimator),
        hard=lambda y: sort_outcome_or_nan(y, *task),
    )


def argsort(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected permutation matrix that sorts perturbed `x`.

    Smooths `torchsmooth.hard.argsort`.

    `torchsmooth.soft.argsort` computes it without samples, if the noise is independent.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `distribution`: the law of the noise.
    - `dim`: the dimension to sort; the others are batch.
    - `descending`: whether the largest element comes first.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of shape [..., n, n] (the sorted dimension is moved to the end first) and
    the dtype of `x`. Entry [..., k, i] is the probability that element i is the k-th smallest
    (largest if `descending`); rows and columns sum to 1.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2 and section 4.2.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.0, 2.0], requires_grad=True)
    >>> P = ts.functional.argsort(x, ts.Logistic(scale=0.5), num_samples=4096, seed=0)
    >>> P.shape
    torch.Size([2, 2])
    >>> bool(P[0, 0] > 0.9)  # the first element is almost surely the smaller one
    True
    >>> P[0, 0].backward()
    >>> bool(x.grad[0] < 0 < x.grad[1])
    True
    """
    rows, _ = _rows(x, dim)
    task = SortTask(check_bool(descending, "descending"), "matrix", 0, rows.shape[-1])
    options = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
    return _smooth_sort(rows, distribution, task, options)


def sort(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected values of perturbed `x` in order: its expected order statistics.

    Smooths `torchsmooth.hard.sort`. The result differs from `argsort(x, ...) @ x`, because the
    values are those of the perturbed elements.

    `torchsmooth.soft.sort` computes it without samples, if the noise is independent.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `distribution`: the law of the noise. Under Cauchy noise the first and the last order
        statistic have no expectation, and their estimates do not converge.
    - `dim`: the dimension to sort; the others are batch.
    - `descending`: whether the largest value comes first.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of the shape and the dtype of `x`.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([5.0, 0.0, 9.0])
    >>> ts.functional.sort(x, ts.Gaussian(scale=0.01), num_samples=4096, seed=0).round()
    tensor([0., 5., 9.])
    """
    rows, dim = _rows(x, dim)
    task = SortTask(check_bool(descending, "descending"), "values", 0, rows.shape[-1])
    options = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
    result = _smooth_sort(rows, distribution, task, options)
    return _move(result, x.ndim - 1, dim)


def rank(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected rank of every element of perturbed `x`, counted from 1.

    Smooths `torchsmooth.hard.rank`: the smallest element has rank 1 (the largest if `descending`).

    `torchsmooth.soft.rank` computes it without samples, if the noise is independent.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `distribution`: the law of the noise.
    - `dim`: the dimension to rank along; the others are batch.
    - `descending`: whether the largest element has rank 1.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of the shape and the dtype of `x`; ranks sum to n (n + 1) / 2.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([1.0, 1.0])
    >>> ts.functional.rank(x, ts.Logistic(), num_samples=4096, seed=0).sum()
    tensor(3.)
    """
    rows, dim = _rows(x, dim)
    task = SortTask(check_bool(descending, "descending"), "ranks", 0, rows.shape[-1])
    options = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
    result = _smooth_sort(rows, distribution, task, options)
    return _move(result, x.ndim - 1, dim)


def argmax(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the probability of every element of perturbed `x` to be the largest.

    Smooths `torchsmooth.hard.argmax`, the one-hot vector of the largest element. Under Gumbel noise
    the result is softmax(x / scale), which `torchsmooth.soft.argmax` computes without samples.

    `torchsmooth.soft.argmax` computes it without samples, if the noise is independent.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `distribution`: the law of the noise.
    - `dim`: the dimension to search; the others are batch.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of the shape and the dtype of `x`; it sums to 1 along `dim`.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.0, 2.0])
    >>> p = ts.functional.argmax(x, ts.Gumbel(), num_samples=4096, seed=0)
    >>> bool((p - x.softmax(0)).abs().max() < 0.01)
    True
    """
    rows, dim = _rows(x, dim)
    task = SortTask(True, "matrix", 0, min(1, rows.shape[-1]))
    options = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
    first = _smooth_sort(rows, distribution, task, options)
    return _move(first.flatten(-2), x.ndim - 1, dim)


def topk(
    x: Tensor,
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
) -> Tensor:
    """Returns the first `k` rows of the expected permutation matrix that sorts perturbed `x`.

    Smooths `torchsmooth.hard.topk`. The sum over the rows is every element's probability to be
    among the `k` largest.

    `torchsmooth.soft.topk` computes it without samples, if the noise is independent.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `k`: the number of elements, 0 to n.
    - `distribution`: the law of the noise.
    - `dim`: the dimension to search; the others are batch.
    - `largest`: whether the largest elements come first, or the smallest.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of shape [..., k, n] (the searched dimension is moved to the end first)
    and the dtype of `x`. Entry [..., r, i] is the probability that element i is the r-th largest
    (smallest unless `largest`).

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.0, 8.0, 4.0])
    >>> ts.functional.topk(x, 2, ts.Gaussian(scale=0.1), num_samples=64, seed=0)
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """
    rows, _ = _rows(x, dim)
    count = check_count(k, rows.shape[-1])
    task = SortTask(check_bool(largest, "largest"), "matrix", 0, count)
    options = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
    return _smooth_sort(rows, distribution, task, options)


def median(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    keepdim: bool = False,
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected median of perturbed `x`.

    Smooths `torchsmooth.hard.median`: of an even number of elements it takes the lower one of the
    two in the middle, as torch does.

    `torchsmooth.soft.median` computes it without samples, if the noise is independent.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n], n at least 1.
    - `distribution`: the law of the noise.
    - `dim`: the dimension to take the median of; the others are batch.
    - `keepdim`: whether `dim` is kept, with size 1.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of the shape of `x` without `dim`, and its dtype.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([5.0, 0.0, 900.0])
    >>> ts.functional.median(x, ts.Gaussian(scale=0.01), num_samples=4096, seed=0).round()
    tensor(5.)
    """
    rows, dim = _rows(x, dim)
    check_bool(keepdim, "keepdim")
    middle = (check_nonempty(rows, "median") - 1) // 2
    task = SortTask(False, "values", middle, middle + 1)
    options = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
    value = _smooth_sort(rows, distribution, task, options)
    return _move(value, x.ndim - 1, dim) if keepdim else value.squeeze(-1)


def quantile(
    x: Tensor,
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
) -> Tensor:
    """Returns the expected quantile of perturbed `x`, interpolated linearly as in torch.

    Smooths `torchsmooth.hard.quantile`.

    `torchsmooth.soft.quantile` computes it without samples, if the noise is independent.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n], n at least 1.
    - `q`: a number in [0, 1], or a tensor of such numbers with at most one dimension.
    - `distribution`: the law of the noise.
    - `dim`: the dimension to take the quantile of; the others are batch.
    - `keepdim`: whether `dim` is kept, with size 1.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of the shape of `x` without `dim`, and its dtype; for `q` of shape [Q],
    with Q in front.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([5.0, 0.0, 9.0])
    >>> ts.functional.quantile(x, 0.75, ts.Gaussian(scale=0.01), num_samples=4096, seed=0).round()
    tensor(7.)
    """
    rows, dim = _rows(x, dim)
    check_bool(keepdim, "keepdim")
    n = check_nonempty(rows, "quantile")
    q = check_quantile(q)
    first, last = 0, n
    if not isinstance(q, Tensor):  # two order statistics are enough
        first = int(q * (n - 1))
        last = min(first + 2, n)
    options = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
    task = SortTask(False, "values", first, last)
    values = _smooth_sort(rows, distribution, task, options)
    return interpolate(values, q, first, n, dim if keepdim else None)
