"""The noise of one call, which is drawn again wherever it is needed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._kernels import reference  # importing it loads the ops
from ..distributions import AbstractDistribution


class Noise(NamedTuple):
    """What the ops need to draw the noise of a smoothing again."""

    distribution: AbstractDistribution
    seed: Tensor
    directions: Tensor
    sampler: str
    antithetic: bool
    num_samples: int
    n: int

    def words(self, start: int, stop: int) -> Tensor:
        """The words of rows [start, stop), from which noise and scores follow."""
        words: Tensor = torch.ops.torchsmooth.words(
            self.seed,
            self.directions,
            self.sampler,
            self.antithetic,
            self.num_samples,
            self.n,
            start,
            stop,
        )
        return words

    def perturb(self, x: Tensor, scale: Tensor, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of x + L noise."""
        law, op = self._dispatch("perturb")
        return op(
            x,
            scale,
            self.seed,
            self.directions,
            law,
            self.sampler,
            self.antithetic,
            self.num_samples,
            start,
            stop,
        )

    def reduce(
        self, values: Tensor, pivot: Tensor, pair_weight: float, moment: str, start: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """Sums of (values - pivot) times the weights over the rows [start, stop)."""
        law, op = self._dispatch("reduce")
        return op(
            values,
            pivot,
            self.seed,
            self.directions,
            law,
            self.sampler,
            self.antithetic,
            self.num_samples,
            self.n,
            pair_weight,
            moment,
            start,
            stop,
        )

    def _dispatch(self, name: str) -> tuple[Any, Callable[..., Any]]:
        # A law without a kernel is computed by the twin of the op, which takes the law itself.
        if self.distribution.name is None:
            return self.distribution, getattr(reference, name)
        return self.distribution.name, getattr(torch.ops.torchsmooth, name)
