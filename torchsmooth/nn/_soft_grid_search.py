"""The layer of a grid search whose comparisons are noisy."""

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from .. import hard, soft
from .._checks import check_floating
from ..distributions import AbstractDistribution
from ._functions import check_function
from ._layer import own
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


@final
class SoftGridSearch(AbstractSmoothingLayer[..., soft.GridSearch]):
    """The expected outcome of a grid search with noisy values: `torchsmooth.soft.grid_search`.

    In evaluation with `eval_mode="hard"` it is the grid search itself: the point of the smallest
    value (the first of them), that value, and the one-hot vector of its index.

    **Arguments:**

    - `f`: maps the grid, and what the layer is called with, to values [..., m], as for
        `torchsmooth.soft.grid_search`. If it is a module, its parameters belong to the layer and
        are trained with it.
    - `grid`: as for `torchsmooth.soft.grid_search`. It becomes a buffer of the layer; an
        `nn.Parameter` is learned.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with the further arguments of f, if there are some, a
    `torchsmooth.soft.GridSearch`.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.grid_search` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftGridSearch(
    ...     lambda x, c: (x - c) ** 2, torch.linspace(0, 1, 5), ts.Gaussian(0.1), eval_mode="hard"
    ... )
    >>> layer.eval()(torch.tensor(0.3))
    GridSearch(argmin=tensor(0.2500), min=tensor(0.0025), probability=tensor([0., 1., 0., 0., 0.]))
    """

    _options = ("f", "grid")
    grid: Tensor

    def __init__(
        self,
        f: Callable[..., Tensor],
        grid: Tensor,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.f = check_function(f, "f")
        self._hold("grid", own(grid, "grid"))
        # The function looks at its arguments here and now, not only in the first call.
        law = self.distribution
        law = law if law.scale is None else law.with_scale(1.0)
        with torch.no_grad():
            soft.grid_search(lambda points: points.new_zeros(len(points)), self.grid, law)

    def _smooth(self, *args: Tensor) -> soft.GridSearch:
        return soft.grid_search(lambda grid: self.f(grid, *args), self.grid, self.distribution)

    def _hard(self, *args: Tensor) -> soft.GridSearch:
        grid = check_floating(self.grid, "grid")
        (values,) = self._expand_to_scale(check_floating(self.f(grid, *args), "the value of f"))
        index = values.detach().argmin(-1)  # that of a NaN, if there is one
        smallest = values.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        point = grid[index]
        missing = smallest.detach().isnan().reshape(index.shape + (1,) * (grid.ndim - 1))
        return soft.GridSearch(
            torch.where(missing, math.nan, point), smallest, hard.argmax(-values)
        )
