"""Indexing by probabilities instead of integers."""

import torch
from torch import Tensor

from .._checks import check_dim, check_floating
from ._logic import check_probability, reachable
from ._operands import check_broadcast


def take(x: Tensor, soft_index: Tensor, dim: int = 0) -> Tensor:
    """Returns the expected entry of `x` at a random index.

    Smooths `x[index]` (or `x.index_select(dim, index)`, or `numpy.take`): a row of probabilities,
    as `argmax` returns it, replaces each integer of the index.

    **Arguments:**

    - `x`: floating-point tensor with n entries along `dim`.
    - `soft_index`: probabilities [..., n]: the last dimension sums to 1.
    - `dim`: the dimension of `x` that is indexed.

    **Returns:** a tensor in which the leading dimensions of `soft_index` replace `dim`. It is the
    expectation if the index is independent of all other random quantities.

    **Raises:** TypeError if an argument is of another type; ValueError if the sizes do not fit, or
    if `soft_index` holds values outside of [0, 1] (checked on the CPU in eager mode only).

    **Source:** the read operation of Graves, Wayne and Danihelka, "Neural Turing machines", 2014
    (arXiv:1410.5401), section 3.1.

    >>> import torch, torchsmooth as ts
    >>> table = torch.tensor([[1.0, 10.0], [2.0, 20.0]])
    >>> ts.soft.take(table, torch.tensor([0.25, 0.75]))
    tensor([ 1.7500, 17.5000])
    """
    x = check_floating(x, "x")
    dim = check_dim(dim, x)
    soft_index = _check_index(soft_index, x.shape[dim])
    dtype = torch.promote_types(x.dtype, soft_index.dtype)
    rows = torch.tensordot(soft_index.to(dtype), x.to(dtype), dims=([-1], [dim]))
    leading = soft_index.ndim - 1
    # tensordot has put the dimensions of the index first.
    places = list(range(leading, leading + dim)) + list(range(leading))
    result: Tensor = rows.permute([*places, *range(leading + dim, rows.ndim)])
    return result


def take_along_dim(x: Tensor, soft_index: Tensor, dim: int) -> Tensor:
    """Returns the expected entry of every row of `x` at a random index, one index for each row.

    Smooths `torch.take_along_dim` with one index per row.

    **Arguments:**

    - `x`: floating-point tensor with n entries along `dim`.
    - `soft_index`: probabilities of a shape that broadcasts with that of `x`, with n entries along
        `dim`, which sum to 1: as `argmax(x, dim)` returns them.
    - `dim`: the dimension that is indexed.

    **Returns:** a tensor of the broadcast shape without `dim`. Entries of probability 0 may be
    infinite or NaN.

    **Raises:** as `take`.

    **Source:** as for `take`.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> ts.soft.take_along_dim(x, ts.soft.argmax(x, 1, ts.Gumbel(0.1)), 1)
    tensor([2.0000, 4.0000])
    """
    x = check_floating(x, "x")
    dim = check_dim(dim, x) - x.ndim
    soft_index = check_probability(soft_index, "soft_index")
    if soft_index.ndim < -dim or soft_index.shape[dim] != x.shape[dim]:
        raise _misfit(soft_index, x.shape[dim], f"along dim {dim}")
    check_broadcast(x=x, soft_index=soft_index)
    return (soft_index * reachable(x, soft_index)).sum(dim)


def _check_index(soft_index: object, n: int) -> Tensor:
    soft_index = check_probability(soft_index, "soft_index")
    if soft_index.ndim == 0 or soft_index.shape[-1] != n:
        raise _misfit(soft_index, n, "in its last dimension")
    return soft_index


def _misfit(soft_index: Tensor, n: int, place: str) -> ValueError:
    return ValueError(
        f"soft_index must have {n} probabilities {place}, one for each entry of x, got shape "
        f"{tuple(soft_index.shape)}; move its dimension with movedim, or pass another dim"
    )
