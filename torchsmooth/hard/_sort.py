"""The sort family: properties of a sorted row."""

import torch
from torch import Tensor

from .._checks import (
    check_bool,
    check_count,
    check_dim,
    check_floating,
    check_nonempty,
    check_quantile,
)
from .._dtypes import compute_dtype
from .._kernels.reference.sort import sort_outcome


def sort_outcome_or_nan(y: Tensor, descending: bool, output: str, first: int, last: int) -> Tensor:
    """`sort_outcome`, with NaN for a row that has one."""
    outcome = sort_outcome(y, descending, output, first, last)
    bad = y.isnan().any(-1)
    return torch.where(
        bad.reshape(*bad.shape, *(1,) * (outcome.ndim - bad.ndim)), torch.nan, outcome
    )


def _rows(x: Tensor, dim: int) -> tuple[Tensor, int]:
    """The checked argument with its dimension moved to the end, and the place that it had."""
    x = check_floating(x, "x").detach()
    dim = check_dim(dim, x)
    return x.movedim(dim, -1), dim


def argsort(x: Tensor, *, dim: int = -1, descending: bool = False) -> Tensor:
    """Returns the permutation matrix that sorts `x`.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `dim`: the dimension to sort; the others are batch.
    - `descending`: whether the largest element comes first.

    **Returns:** a tensor of shape [..., n, n] and the dtype of `x` (the sorted dimension is moved
    to the end first). Entry [..., k, i] is 1 if element i is the k-th smallest (largest if
    `descending`), else 0. Ties go to the lower index. It carries no gradient. A row with a NaN
    gives NaN.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.argsort(torch.tensor([0.3, -1.0, 0.2]))
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [1., 0., 0.]])
    """
    rows, _ = _rows(x, dim)
    check_bool(descending, "descending")
    return sort_outcome_or_nan(rows, descending, "matrix", 0, rows.shape[-1])


def sort(x: Tensor, *, dim: int = -1, descending: bool = False) -> Tensor:
    """Returns the values of `x` in order, as `torch.sort(x, dim).values` without a gradient.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `dim`: the dimension to sort; the others are batch.
    - `descending`: whether the largest value comes first.

    **Returns:** a tensor of the shape and the dtype of `x`. It carries no gradient. A row with a
    NaN gives NaN.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.sort(torch.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([3., 2., 1.])
    """
    rows, dim = _rows(x, dim)
    check_bool(descending, "descending")
    return sort_outcome_or_nan(rows, descending, "values", 0, rows.shape[-1]).movedim(-1, dim)


def rank(x: Tensor, *, dim: int = -1, descending: bool = False) -> Tensor:
    """Returns the rank of every element, counted from 1, smallest first (largest if `descending`).

    The result is that of `scipy.stats.rankdata(x, method="ordinal")`: of equal elements the one
    with the lower index has the lower rank.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `dim`: the dimension to rank along; the others are batch.
    - `descending`: whether the largest element has rank 1.

    **Returns:** a tensor of the shape and the dtype of `x`. It carries no gradient. A row with a
    NaN gives NaN.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.rank(torch.tensor([0.3, -1.0, 0.2]))
    tensor([3., 1., 2.])
    """
    rows, dim = _rows(x, dim)
    check_bool(descending, "descending")
    return sort_outcome_or_nan(rows, descending, "ranks", 0, rows.shape[-1]).movedim(-1, dim)


def argmax(x: Tensor, *, dim: int = -1) -> Tensor:
    """Returns the one-hot vector of the largest element; ties go to the lower index.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `dim`: the dimension to search; the others are batch.

    **Returns:** a tensor of the shape and the dtype of `x`. It carries no gradient. A row with a
    NaN gives NaN.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.argmax(torch.tensor([0.3, -1.0, 0.2]))
    tensor([1., 0., 0.])
    """
    rows, dim = _rows(x, dim)
    first = sort_outcome_or_nan(rows, True, "matrix", 0, min(1, rows.shape[-1]))
    return first.sum(-2).movedim(-1, dim)


def topk(x: Tensor, k: int, *, dim: int = -1, largest: bool = True) -> Tensor:
    """Returns one-hot vectors of the `k` largest elements (smallest unless `largest`), in order.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `k`: the number of elements, 0 to n.
    - `dim`: the dimension to search; the others are batch.
    - `largest`: whether the largest elements come first, or the smallest.

    **Returns:** a tensor of shape [..., k, n] and the dtype of `x` (the searched dimension is moved
    to the end first). Ties go to the lower index. It carries no gradient. A row with a NaN gives
    NaN.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.topk(torch.tensor([0.3, -1.0, 0.2]), 2)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    rows, _ = _rows(x, dim)
    check_bool(largest, "largest")
    return sort_outcome_or_nan(rows, largest, "matrix", 0, check_count(k, rows.shape[-1]))


def median(x: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
    """Returns the median, the lower of the two if the number of elements is even.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n], n at least 1.
    - `dim`: the dimension to take the median of; the others are batch.
    - `keepdim`: whether `dim` is kept, with size 1.

    **Returns:** a tensor of the shape of `x` without `dim`, and its dtype. It carries no gradient.
    A row with a NaN gives NaN.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.median(torch.tensor([0.3, -1.0, 0.2, 5.0]))
    tensor(0.2000)
    """
    rows, dim = _rows(x, dim)
    check_bool(keepdim, "keepdim")
    middle = (check_nonempty(rows, "median") - 1) // 2
    value = sort_outcome_or_nan(rows, False, "values", middle, middle + 1)
    return value.movedim(-1, dim) if keepdim else value.squeeze(-1)


def quantile(x: Tensor, q: float | Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
    """Returns quantiles, interpolated linearly between two elements, as `torch.quantile`.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n], n at least 1.
    - `q`: a number in [0, 1], or a tensor of such numbers with at most one dimension.
    - `dim`: the dimension to take the quantile of; the others are batch.
    - `keepdim`: whether `dim` is kept, with size 1.

    **Returns:** a tensor of the shape of `x` without `dim`, and its dtype; for `q` of shape [Q],
    with Q in front. It carries no gradient. A row with a NaN gives NaN.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** definition 7 of Hyndman and Fan, "Sample quantiles in statistical packages", The
    American Statistician 50, 1996.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.quantile(torch.tensor([1.0, 2.0, 4.0]), 0.75)
    tensor(3.)
    """
    rows, dim = _rows(x, dim)
    check_bool(keepdim, "keepdim")
    n = check_nonempty(rows, "quantile")
    q = check_quantile(q)
    values = sort_outcome_or_nan(rows, False, "values", 0, n)
    return interpolate(values, q, 0, n, dim if keepdim else None).detach()


def interpolate(
    values: Tensor,  # [..., stop - first]: the order statistics from position `first` on
    q: float | Tensor,
    first: int,
    n: int,
    keepdim: int | None,
) -> Tensor:  # [...] for one q, [Q, ...] for [Q]
    """Quantiles of n elements from their order statistics; `keepdim` is the place of a kept 1."""
    last = values.shape[-1] - 1
    if not isinstance(q, Tensor):
        place = q * (n - 1) - first
        low = int(place)
        result = torch.lerp(values[..., low], values[..., min(low + 1, last)], place - low)
        return result if keepdim is None else result.unsqueeze(keepdim)
    places = q.to(values.device, compute_dtype(values.dtype)) * (n - 1) - first
    below = places.floor().clamp(max=last)
    above = (below + 1).clamp(max=last)
    weight = (places - below).to(values.dtype)
    results = torch.lerp(values[..., below.long()], values[..., above.long()], weight)
    if q.ndim == 0:
        return results if keepdim is None else results.unsqueeze(keepdim)
    results = results.movedim(-1, 0)
    return results if keepdim is None else results.unsqueeze(1 + keepdim)
