"""Derivatives by the Jacobians that were accumulated in the forward pass."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from .._autodiff.derivatives import AbstractRule, Draws, noises, rescaled_gradients, whiten
from .._autodiff.vmap import ALL_OR_EACH, EACH, SHARED, as_batch
from .._kernels.fused_op import Estimator
from .._typing import BatchKind
from ..distributions import AbstractDistribution
from .noise import Noise, NoiseSource


class Jacobians(NamedTuple):
    """The tensors that `Sums` saves."""

    in_x: Tensor  # [B, R, n], at scale 1
    in_scale: Tensor  # [B, R, 0 or n or n * n], at scale 1
    baseline: Tensor  # [B, R], what the samples were compared with


@final
@dataclasses.dataclass(frozen=True, eq=False)
class JacobianRule(AbstractRule):
    """Derivatives of a mean. Saved are `Jacobians`, seed, directions, and f's own tensors.

    Second derivatives take all outputs of f, which is called again for them.
    """

    variables: ClassVar[int] = 0

    source: NoiseSource
    seed_kind: BatchKind
    estimator: Estimator
    outputs_again: Callable[..., tuple[Tensor, ...]]  # from x, scale and what is saved behind it

    @property
    def distribution(self) -> AbstractDistribution:
        return self.source.distribution

    def vjp(
        self, grad: Tensor, x: Tensor, scale: Tensor, saved: Sequence[Tensor], needs_scale: bool
    ) -> tuple[Tensor, Tensor | None]:
        in_x, in_scale, _ = Jacobians(*saved[:3])
        grad = grad.to(in_x.dtype)
        return rescaled_gradients(
            torch.einsum("bm,bmn->bn", grad, in_x),
            torch.einsum("bm,bmk->bk", grad, in_scale),
            scale,
            needs_scale,
        )

    def jvp(
        self,
        tangent_x: Tensor,
        tangent_scale: Tensor,
        x: Tensor,
        scale: Tensor,
        saved: Sequence[Tensor],
    ) -> Tensor:
        in_x, in_scale, _ = Jacobians(*saved[:3])
        along_x, along_scale = (t.to(in_x.dtype) for t in whiten(scale, tangent_x, tangent_scale))
        tangent = torch.einsum("bmn,bn->bm", in_x, along_x)
        if in_scale.shape[-1]:
            tangent = tangent + torch.einsum("bmk,bk->bm", in_scale, along_scale.flatten(1))
        return tangent

    def draw(self, x: Tensor, scale: Tensor, saved: Sequence[Tensor]) -> Draws:
        baseline = Jacobians(*saved[:3]).baseline
        seed, directions, *own = saved[3:]
        noise, mirrored = self.source.drawn_again(
            self._noises, baseline, (x,), seed, directions, self.seed_kind
        )
        kinds = (EACH, EACH, ALL_OR_EACH, self.seed_kind, SHARED, *(EACH for _ in own))
        tensors = (baseline, x, scale, seed, directions, *own)
        (outputs,) = as_batch(self._outputs, kinds, *tensors, redraws=True)
        return Draws(noise, mirrored, lambda: outputs - baseline.unsqueeze(1))

    def _outputs(self, _: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        return self.outputs_again(*tensors)

    def _noises(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        return noises(self, noise.all_words(x.shape[0]), x.dtype)
