"""Derivatives by the outputs of all samples, whose noise is drawn again."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from .._autodiff.derivatives import (
    AbstractRule,
    Draws,
    chunks,
    directional_weights,
    noises,
    rescaled_gradients,
    transpose,
    whiten,
)
from .._kernels.fused_op import Estimator
from .._typing import BatchKind, ScaleScore
from ..distributions import AbstractDistribution
from ..statistics import AbstractStatistic
from .noise import Noise, NoiseSource


class KeptOutputs(NamedTuple):
    """The tensors that `Samples` saves."""

    outputs: Tensor  # [B, s, M]
    difference: Tensor  # [B, R], their statistic minus the baseline


@final
@dataclasses.dataclass(frozen=True, eq=False)
class OutputsRule(AbstractRule):
    """Derivatives of any statistic. Saved are `KeptOutputs`, seed and directions."""

    variables: ClassVar[int] = 1  # the outputs, which may have derivatives of their own

    source: NoiseSource
    seed_kind: BatchKind
    estimator: Estimator
    statistic: AbstractStatistic
    scale_score: ScaleScore

    @property
    def distribution(self) -> AbstractDistribution:
        return self.source.distribution

    def vjp(
        self, grad: Tensor, x: Tensor, scale: Tensor, saved: Sequence[Tensor], needs_scale: bool
    ) -> tuple[Tensor, Tensor | None]:
        outputs, difference = KeptOutputs(*saved[:2])
        grad = grad.to(outputs.dtype)
        # One number per sample: what the upstream gradient makes of its outputs.
        weights = self.statistic.weigh(outputs, grad)
        weights = weights + self.statistic.k * (difference * grad).sum(-1, keepdim=True)
        in_x, in_scale = self._drawn_again(self._reduce, (weights,), saved)
        return rescaled_gradients(in_x, in_scale, scale, needs_scale)

    def jvp(
        self,
        tangent_x: Tensor,
        tangent_scale: Tensor,
        x: Tensor,
        scale: Tensor,
        saved: Sequence[Tensor],
    ) -> Tensor:
        outputs, difference = KeptOutputs(*saved[:2])
        along = tuple(t.to(outputs.dtype) for t in whiten(scale, tangent_x, tangent_scale))
        (weights,) = self._drawn_again(self._directional_weights, along, saved)
        # `weigh` is linear in the upstream gradient: this is its transpose.
        weigh = functools.partial(self.statistic.weigh, outputs)
        (tangent,) = transpose(weigh, difference)(weights)
        constant = self.statistic.k * difference * weights.sum(-1, keepdim=True)
        return self.estimator.factor * (tangent + constant)

    def draw(self, x: Tensor, scale: Tensor, saved: Sequence[Tensor]) -> Draws:
        if self.statistic.k > 1:
            raise NotImplementedError(
                "a second derivative was asked for, which torchsmooth.smooth has for "
                f"statistic='mean' alone, got {self.statistic}; take differences of gradients with "
                "the same seed instead"
            )
        noise, mirrored = self._drawn_again(self._noises, (x,), saved)
        difference = KeptOutputs(*saved[:2]).difference
        return Draws(noise, mirrored, functools.partial(self._deviations, difference=difference))

    def _deviations(self, outputs: Tensor, difference: Tensor) -> Tensor:
        mean = outputs.mean(1)
        # f(x) and 0 are no means of samples, whose derivatives would have to be subtracted too.
        baseline = mean if self.estimator.baseline == "mean" else (mean - difference).detach()
        return outputs - baseline.unsqueeze(1)

    def _drawn_again(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        rows: tuple[Tensor, ...],
        saved: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        outputs, _, seed, directions, *_ = saved
        # An evaluation's result that no derivative goes through.
        result = outputs.detach()[:, :0]
        return self.source.drawn_again(function, result, rows, seed, directions, self.seed_kind)

    def _reduce(self, weights: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """The weights [B, s] times the scores in x, and in the scale."""
        in_x, in_scale = noise.reduce(
            weights.reshape(-1, 1),
            weights.new_zeros(weights.shape[0], 1),
            self.estimator.pair_weight,
            self.scale_score,
            0,
            weights.numel(),
        )
        return self.estimator.factor * in_x[:, 0], self.estimator.factor * in_scale[:, 0]

    def _directional_weights(
        self, along_x: Tensor, along_scale: Tensor, noise: Noise
    ) -> tuple[Tensor]:  # [B, s]
        elements, s = along_x.shape[0], self.source.num_samples
        parts = [along_x.new_empty(0)]
        for start, stop in chunks(elements * s, along_scale[:1].numel()):
            element = torch.arange(start, stop, device=along_x.device) // s
            parts.append(
                directional_weights(
                    self,
                    noise.words(start, stop),
                    along_x.index_select(0, element),
                    along_scale.index_select(0, element),
                )
            )
        return (torch.cat(parts).reshape(elements, s),)

    def _noises(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        return noises(self, noise.all_words(x.shape[0]), x.dtype)
