"""From products with the scores to derivatives in x and in the scale."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from .._autodiff.derivatives import (
    CHUNK_ELEMENTS,
    AbstractRule,
    Draws,
    directional_weights,
    rescale_gradients,
    transpose,
    whiten,
)
from .._autodiff.fused import noises
from .._autodiff.vmap import ALL_OR_EACH, EACH, SHARED, as_batch
from ..distributions import AbstractDistribution
from ..statistics import AbstractStatistic
from .estimator import Estimator
from .noise import Noise


@final
@dataclasses.dataclass(eq=False)
class ScoreRule(AbstractRule):
    """The derivatives of what came out of an evaluation.

    Saved are `first`, `second` and `third`: either the accumulated Jacobians at scale 1
    ([B, R, n] and [B, R, k]) and the baseline [B, R], or all of f's outputs, what their statistic
    lies above the baseline ([B, s, M] and [B, R]), and [B, 0]. Then seed and directions, and f's
    own tensors, if f is called again for second derivatives.
    """

    noise: Noise  # without its tensors
    seed_kind: str
    statistic: AbstractStatistic
    kept: bool  # whether the outputs were
    moment: str
    estimator: Estimator
    call_again: Callable[..., tuple[Tensor, ...]]

    @property
    def variables(self) -> int:
        return int(self.kept)

    @property
    def distribution(self) -> AbstractDistribution:
        return self.noise.distribution

    @property
    def factor(self) -> float:
        return self.estimator.factor

    @property
    def pair_weight(self) -> float:
        return self.estimator.pair_weight

    def pull(
        self, grad: Tensor, x: Tensor, scale: Tensor, saved: Sequence[Tensor], needs_scale: bool
    ) -> tuple[Tensor, Tensor | None]:
        first, second, third, seed, directions, *_ = saved
        if self.kept:
            upstream = grad.to(first.dtype)
            # One number per sample: what the upstream gradient makes of its outputs.
            weights = self.statistic.weigh(first, upstream)
            weights = weights + self.statistic.k * (second * upstream).sum(-1, keepdim=True)
            scores, moments = self._with_noise(self._reduce, third, (weights,), seed, directions)
        else:
            scores = torch.einsum("bm,bmn->bn", grad.to(first.dtype), first)
            moments = torch.einsum("bm,bmk->bk", grad.to(second.dtype), second)
        in_x, in_scales = rescale_gradients(scores.to(scale.dtype), moments.to(scale.dtype), scale)
        return in_x, in_scales.sum_to_size(scale.shape) if needs_scale else None

    def push(
        self, in_x: Tensor, in_scale: Tensor, x: Tensor, scale: Tensor, saved: Sequence[Tensor]
    ) -> Tensor:
        first, second, third, seed, directions, *_ = saved
        in_x, in_scale = (t.to(first.dtype) for t in whiten(scale, in_x, in_scale))
        if self.kept:
            (weights,) = self._with_noise(
                self._directional_weights, third, (in_x, in_scale), seed, directions
            )
            # `weigh` is linear in the upstream gradient: this is its transpose.
            weigh = functools.partial(self.statistic.weigh, first)
            (tangent,) = transpose(weigh, second)(weights)
            above = self.statistic.k * second * weights.sum(-1, keepdim=True)
            return self.factor * (tangent + above)
        tangent = torch.einsum("bmn,bn->bm", first, in_x)
        if self.moment != "none":
            tangent = tangent + torch.einsum("bmk,bk->bm", second, in_scale.flatten(1))
        return tangent

    def draw(self, x: Tensor, scale: Tensor, saved: Sequence[Tensor]) -> Draws:
        _, second, third, seed, directions, *own = saved
        if self.statistic.k > 1:
            raise NotImplementedError(
                "a second derivative was asked for, which torchsmooth.smooth has for "
                f"statistic='mean' alone, got {self.statistic}; take differences of gradients with "
                "the same seed instead"
            )
        noise, mirrored = self._with_noise(self._noises, third, (x,), seed, directions)
        if self.kept:
            return Draws(noise, mirrored, functools.partial(self._above, second=second))
        kinds = [EACH, EACH, ALL_OR_EACH, self.seed_kind, SHARED]
        kinds += [EACH] * len(own)
        tensors = (third, x, scale, seed, directions, *own)
        (samples,) = as_batch(self.call_again, kinds, *tensors, anchored=True)
        return Draws(noise, mirrored, lambda: samples - third.unsqueeze(1))

    def _above(self, samples: Tensor, second: Tensor) -> Tensor:
        mean = samples.mean(1)
        # f(x) and 0 are no means of samples, whose derivatives would have to be subtracted too.
        baseline = mean if self.estimator.baseline == "mean" else (mean - second).detach()
        return samples - baseline.unsqueeze(1)

    def _with_noise(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        anchor: Tensor,
        rows: tuple[Tensor, ...],
        seed: Tensor,
        directions: Tensor,
    ) -> tuple[Tensor, ...]:
        """The function of rows, seed and directions, with the noise that was drawn for them."""

        def anchored(_: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            *rows, seed, directions = tensors
            return function(*rows, self.noise._replace(seed=seed, directions=directions))

        kinds = (EACH, *(EACH for _ in rows), self.seed_kind, SHARED)
        return as_batch(anchored, kinds, anchor, *rows, seed, directions, anchored=True)

    def _reduce(self, weights: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """The weights [B, s] times the scores, and times what belongs to the scale."""
        scores, moments = noise.reduce(
            weights.reshape(-1, 1),
            weights.new_zeros(weights.shape[0], 1),
            self.pair_weight,
            self.moment,
            0,
            weights.numel(),
        )
        return self.factor * scores[:, 0], self.factor * moments[:, 0]

    def _directional_weights(
        self, in_x: Tensor, in_scale: Tensor, noise: Noise
    ) -> tuple[Tensor]:  # [B, s]
        elements, s = in_x.shape[0], noise.num_samples
        rows = max(1, CHUNK_ELEMENTS // max(1, in_scale[:1].numel()))
        parts = [in_x.new_empty(0)]
        for start in range(0, elements * s, rows):
            stop = min(start + rows, elements * s)
            element = torch.arange(start, stop, device=in_x.device) // s
            parts.append(
                directional_weights(
                    noise.distribution,
                    noise.words(start, stop),
                    self.pair_weight,
                    in_x.index_select(0, element),
                    in_scale.index_select(0, element),
                )
            )
        return (torch.cat(parts).reshape(elements, s),)

    def _noises(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        words = noise.words(0, x.shape[0] * noise.num_samples)
        words = words.reshape(x.shape[0], noise.num_samples, noise.n)
        return noises(noise.distribution, words, self.pair_weight, x.dtype)
