"""The noise of one call, which is drawn again wherever it is needed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._autodiff.vmap import EACH, SHARED, as_batch
from .._kernels import reference  # importing it loads the ops
from .._typing import BatchKind, ScaleScore
from ..distributions import AbstractDistribution


class NoiseSource(NamedTuple):
    """The settings of the noise of a call, without its tensors."""

    distribution: AbstractDistribution
    sampler: str
    antithetic: bool
    num_samples: int
    n: int

    def drawn_again(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        result: Tensor,
        rows: tuple[Tensor, ...],
        seed: Tensor,
        directions: Tensor,
        seed_kind: BatchKind,
    ) -> tuple[Tensor, ...]:
        """`function(*rows, noise)` with the noise that an evaluation drew for its `result`.

        Also under torch.vmap. The rows and the result have a batch dimension.
        """

        def with_noise(_: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            *rows, seed, directions = tensors
            return function(*rows, Noise(self, seed, directions))

        kinds = (EACH, *(EACH for _ in rows), seed_kind, SHARED)
        return as_batch(with_noise, kinds, result, *rows, seed, directions, redraws=True)


class Noise(NamedTuple):
    """The noise of the rows of a call: the samples of all its batch elements, one after another."""

    source: NoiseSource
    seed: Tensor
    directions: Tensor

    def words(self, start: int, stop: int) -> Tensor:
        """The words of rows [start, stop), from which noise and scores follow."""
        _, *sampler = self.source
        words: Tensor = torch.ops.torchsmooth.words(
            self.seed, self.directions, *sampler, start, stop
        )
        return words

    def all_words(self, elements: int) -> Tensor:  # [B, s, n]
        """Those of every sample of B batch elements."""
        s = self.source.num_samples
        return self.words(0, elements * s).reshape(elements, s, self.source.n)

    def perturb(self, x: Tensor, scale: Tensor, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of x + L noise."""
        law, op = self._dispatch("perturb")
        _, *sampler, _ = self.source
        points: Tensor = op(x, scale, self.seed, self.directions, law, *sampler, start, stop)
        return points

    def reduce(
        self,
        values: Tensor,
        pivot: Tensor,
        pair_weight: float,
        scale_score: ScaleScore,
        start: int,
        stop: int,
    ) -> tuple[Tensor, Tensor]:
        """Sums of (values - pivot) times the scores over the rows [start, stop).

        That is: the scores in x, and in the scale.
        """
        law, op = self._dispatch("reduce")
        _, *sampler = self.source
        noise = (self.seed, self.directions, law, *sampler)
        sums: tuple[Tensor, Tensor] = op(
            values, pivot, *noise, pair_weight, scale_score, start, stop
        )
        return sums

    def _dispatch(self, name: str) -> tuple[Any, Callable[..., Any]]:
        # A law without a kernel is computed by the twin of the op, which takes the law itself.
        distribution = self.source.distribution
        if distribution.name is None:
            return distribution, getattr(reference, name)
        return distribution.name, getattr(torch.ops.torchsmooth, name)
