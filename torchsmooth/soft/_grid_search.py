"""Grid search whose comparisons are noisy."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import check_floating
from ..distributions import AbstractDistribution
from ._reductions import argmin


class GridSearch(NamedTuple):
    """The result of a soft grid search."""

    argmin: Tensor
    """[..., *point]: the expected point of the smallest noisy value."""

    min: Tensor
    """[...]: the expected value of f at that point, without its noise."""

    probability: Tensor
    """[..., m]: the probability of each point of the grid to have the smallest noisy value."""


def grid_search(
    f: Callable[[Tensor], Tensor], grid: Tensor, distribution: AbstractDistribution
) -> GridSearch:
    """Returns the expected result of a grid search whose values have independent noise.

    Smooths `i = f(grid).argmin(); grid[i], f(grid)[i]`, whose first part is piecewise constant in
    the parameters of f. With p_i = P(f_i + noise_i is the smallest), the results are sum_i p_i
    grid_i and sum_i p_i f_i: exact expectations. A large scale averages over the grid. As the scale
    goes to 0, both go to those of the hard search (if there is one smallest value).

    The expected point may lie where f is large, if two distant points are nearly as good. The
    *value* is safer to build upon: `min` is never below the true minimum, and its derivative goes
    to the derivative of f at the best point. The expectation of the smallest noisy value, noise
    included, is `amin(f(grid), -1, distribution)`.

    **Arguments:**

    - `f`: maps the grid to values [..., m], one for each point; leading dimensions are batch.
        Points of value inf are never chosen, unless there are no others.
    - `grid`: floating-point tensor [m, *point], at least one point. It may require grad.
    - `distribution`: the law of the noise, in units of f, with a scale that broadcasts against the
        values. It may require grad.

    **Returns:** a `GridSearch` of `argmin`, `min` and `probability`. The first two are NaN for a
    batch element with NaN among its values.

    **Raises:** TypeError if an argument or a value of f is of another type; ValueError if the grid
    is empty, or if f returns another number of values.

    >>> import torch, torchsmooth as ts
    >>> grid = torch.linspace(0, 1, 5)
    >>> ts.soft.grid_search(lambda x: (x - 0.3) ** 2, grid, ts.Gaussian(1e-3)).argmin
    tensor(0.2500)
    """
    if not callable(f):
        raise TypeError(
            f"f must be a function, got {type(f).__name__}; pass the function to be minimised"
        )
    grid = check_floating(grid, "grid")
    if grid.ndim == 0 or len(grid) == 0:
        raise ValueError(
            f"grid must hold at least one point in its first dimension, got shape "
            f"{tuple(grid.shape)}; pass for example torch.linspace(0, 1, 11)"
        )
    values = check_floating(f(grid), "the value of f")
    if values.ndim == 0 or values.shape[-1] != len(grid):
        raise ValueError(
            f"f must return {len(grid)} values in its last dimension, one for each point of the "
            f"grid, got shape {tuple(values.shape)}; evaluate it at all points at once"
        )
    probability = argmin(values, -1, distribution)
    dtype = torch.promote_types(probability.dtype, grid.dtype)
    point = torch.tensordot(probability.to(dtype), grid.to(dtype), dims=([-1], [0]))
    unreachable = (values == math.inf) & (probability == 0)
    smallest = (probability * torch.where(unreachable, 0.0, values)).sum(-1)
    return GridSearch(point, smallest, probability)
