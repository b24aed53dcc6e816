"""The autograd function of all fused ops, and the rule for their derivatives."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from .._kernels.fused_op import FusedOp
from .._kernels.library import ops
from .._kernels.reference.noise import accumulator, sums_of_products
from .._torch_internals import below_autograd, has_tangent, in_plain_eager, requires_grad
from .._typing import BatchKind, Jacobian
from ..distributions import LAWS, AbstractDistribution
from .derivatives import (
    AbstractRule,
    Draws,
    attach,
    chunks,
    differentiable_vjp,
    directional_weights,
    noises,
    whiten,
)
from .function import Function, NoVmap
from .vmap import ALL_OR_EACH, DRAWN, EACH, SHARED, as_batch


@final
class FusedRule(AbstractRule):
    """Derivatives by the kernels. Saved are mean, Jacobians, seed, directions and extras."""

    variables: ClassVar[int] = 0

    def __init__(self, op: FusedOp, jacobian: Jacobian, seed_kind: BatchKind = SHARED):
        self.op = op
        self.jacobian = jacobian
        self.seed_kind = seed_kind
        self.estimator = op.estimator

    @property
    def distribution(self) -> AbstractDistribution:
        return LAWS[self.op.drawing.law]()

    def vjp(
        self, grad: Tensor, x: Tensor, scale: Tensor, saved: Sequence[Tensor], needs_scale: bool
    ) -> tuple[Tensor, Tensor | None]:
        mean, jacobian_x, jacobian_scale, *noise = saved
        grad = grad.contiguous()
        in_scale = None
        if self.jacobian != "none":
            in_x = _contract(grad, jacobian_x)
            if needs_scale:
                in_scale = _contract(grad, jacobian_scale)
        else:
            gradients = functools.partial(self._gradients, needs_scale)
            in_x, in_scale = self._evaluate(gradients, mean, (grad,), x, scale, noise)
        if in_scale is None or not needs_scale:
            return in_x, None
        return in_x, in_scale.sum_to_size(scale.shape)

    def jvp(
        self,
        tangent_x: Tensor,
        tangent_scale: Tensor,
        x: Tensor,
        scale: Tensor,
        saved: Sequence[Tensor],
    ) -> Tensor:
        mean, jacobian_x, jacobian_scale, *noise = saved
        tangent_x = tangent_x.flatten(1)
        if self.jacobian == "x_and_scale":
            elements, n = tangent_x.shape
            columns = math.prod(mean.shape[1:])
            in_x, in_scale = (
                jacobian.reshape(elements, columns, n) @ tangent.unsqueeze(-1)
                for jacobian, tangent in (
                    (jacobian_x, tangent_x),
                    (jacobian_scale, tangent_scale.expand(elements, n)),
                )
            )
            return (in_x + in_scale).reshape_as(mean)
        directions = whiten(scale, tangent_x, tangent_scale)
        (tangent,) = self._evaluate(self._tangent, mean, directions, x, scale, noise)
        return tangent

    def draw(self, x: Tensor, scale: Tensor, saved: Sequence[Tensor]) -> Draws:
        mean, _, _, *noise = saved
        drawn, mirrored, deviations = self._evaluate(self._draw, mean, (), x, scale, noise)
        return Draws(drawn, mirrored, lambda: deviations)

    def _evaluate(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        mean: Tensor,
        rows: tuple[Tensor, ...],
        x: Tensor,
        scale: Tensor,
        noise: list[Tensor],  # seed, directions, and extras
    ) -> tuple[Tensor, ...]:
        tensors = (mean, *rows, x, scale, *noise)
        each = (EACH,) * (len(rows) + 2)
        others = (SHARED,) * (len(noise) - 1)
        kinds = (*each, ALL_OR_EACH, self.seed_kind, *others)
        return as_batch(function, kinds, *tensors, redraws=True)

    def _gradients(
        self, needs_scale: bool, mean: Tensor, grad: Tensor, x: Tensor, *others: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.estimator.baseline == "none":
            center = grad.new_zeros(grad.shape[0])
        else:
            _, _, _, *extras = others  # without scale, seed and directions
            base = mean if self.estimator.baseline == "mean" else self.op.hard(x, *extras)
            center = (grad * base).flatten(1).sum(1)
        return self.op.gradients(needs_scale, grad, center, x, *others)

    def _baseline(self, mean: Tensor, x: Tensor, others: tuple[Tensor, ...]) -> Tensor:  # [B, m]
        if self.estimator.baseline == "mean":
            return mean.flatten(1)
        nan = mean - mean  # where x is not finite
        if self.estimator.baseline == "fx":
            _, _, *extras = others  # without seed and directions
            nan = nan + self.op.hard(x, *extras)
        return nan.flatten(1)

    def _outcomes(
        self, x: Tensor, scale: Tensor, others: tuple[Tensor, ...], start: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """The words and the outcomes [rows, m] of the samples start to stop."""
        (seed, directions, *extras) = others
        flat = x.flatten(1)
        n = flat.shape[1]
        law, *sampler = self.op.drawing
        words = below_autograd(ops.words.default, seed, directions, *sampler, n, start, stop)
        points = below_autograd(
            ops.perturb.default, flat, scale, seed, directions, law, *sampler, start, stop
        )
        return words, self.op.hard(points.reshape(stop - start, *x.shape[1:]), *extras).flatten(1)

    def _tangent(
        self,
        mean: Tensor,
        along_x: Tensor,  # [B, n], as `whiten` returned it
        along_scale: Tensor,  # [B, n], likewise
        x: Tensor,
        scale: Tensor,
        *others: Tensor,
    ) -> tuple[Tensor]:
        """By drawing and evaluating the samples again: the gradients' sums, the other way round."""
        s, total = self.op.drawing.num_samples, x.shape[0] * self.op.drawing.num_samples
        columns = math.prod(mean.shape[1:])
        base = self._baseline(mean, x, others)
        tangent = torch.zeros_like(base, dtype=accumulator(x))
        for start, stop in chunks(total, columns + along_x.shape[1]):
            words, outcomes = self._outcomes(x, scale, others, start, stop)
            element = torch.arange(start, stop, device=x.device) // s
            weights = directional_weights(
                self,
                words,
                along_x.index_select(0, element),
                along_scale.index_select(0, element),
            )
            deviations = outcomes - base.index_select(0, element)
            sums = sums_of_products(weights.unsqueeze(1), deviations, s, start)
            first = start // s
            tangent[first : first + sums.shape[0]] += sums.squeeze(1)
        return ((self.estimator.factor * tangent).to(mean.dtype).reshape_as(mean),)

    def _draw(
        self, mean: Tensor, x: Tensor, scale: Tensor, *others: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        elements, s = x.shape[0], self.op.drawing.num_samples
        words, outcomes = self._outcomes(x, scale, others, 0, elements * s)
        outcomes = outcomes.reshape(elements, s, outcomes.shape[1])
        deviations = outcomes - self._baseline(mean, x, others).unsqueeze(1)
        words = words.reshape(elements, s, words.shape[1])
        return *noises(self, words, x.dtype), deviations


def _in_one_pass(op: FusedOp, x: Tensor, jacobian: Jacobian) -> Jacobian:
    """Which Jacobian is to be accumulated, if this one is wanted."""
    return jacobian if x.device.type == "cpu" and op.in_one_pass(x, jacobian) else "none"


def _mean_by_element(op: FusedOp, wanted: bool, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """All results with a batch dimension."""
    jacobian = _in_one_pass(op, x, "x_and_scale") if wanted else "none"
    mean, *jacobians = op.mean(jacobian, x, *tensors)
    return mean, *(t.reshape(mean.shape[0], 0) if t.ndim == 1 else t for t in jacobians)


def _contract(grad: Tensor, jacobian: Tensor) -> Tensor:  # [B, *m], [B, *m, n] -> [B, n]
    elements, *outcome, n = jacobian.shape
    m = math.prod(outcome)
    return torch.bmm(grad.reshape(elements, 1, m), jacobian.reshape(elements, m, n)).squeeze(1)


class _Fused(NoVmap):
    """The mean outcome and its Jacobians, for the compiler."""

    @staticmethod
    def forward(
        op: FusedOp, jacobian: Jacobian, x: Tensor, scale: Tensor, *noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return op.mean(jacobian, x, scale, *noise)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.op, ctx.jacobian, x, scale, *noise = inputs
        mean, *jacobians = output
        ctx.mark_non_differentiable(*jacobians)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, mean, *jacobians, *noise)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        x, scale, *saved = ctx.saved_tensors
        none = (None,) * (len(saved) - 3)
        if grad is None:
            return None, None, None, None, *none
        rule, needs_scale = FusedRule(ctx.op, ctx.jacobian), ctx.needs_input_grad[3]
        gradients = differentiable_vjp(rule, grad, x, scale, saved, needs_scale)
        return None, None, *gradients[:2], *none


class _EagerFused(Function):
    """The same for plain eager mode, where derivatives need not be outputs."""

    @staticmethod
    def forward(
        ctx: Any, op: FusedOp, jacobian: Jacobian, x: Tensor, scale: Tensor, *noise: Tensor
    ) -> Tensor:
        output = op.mean(jacobian, x, scale, *noise)
        ctx.op, ctx.jacobian = op, jacobian
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, *output, *noise)
        return output[0]

    backward = _Fused.backward


def fused_mean(
    op: FusedOp,
    x: Tensor,  # [B, *event]
    scale: Tensor,  # [1 or B, 1 or n]
    seed: Tensor,
    directions: Tensor,
    *extras: Tensor,
    drawn: bool,  # whether the seed is from torch's generator
) -> Tensor:  # [B, *m]
    """The mean outcome with its derivatives."""
    if in_plain_eager() or torch.compiler.is_compiling():
        wanted = torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad)
        jacobian: Jacobian = "none"
        if wanted:
            jacobian = _in_one_pass(op, x, "x_and_scale" if scale.requires_grad else "x")
        if torch.compiler.is_compiling():
            if not wanted:
                return op.mean(jacobian, x, scale, seed, directions, *extras)[0]
            results: tuple[Tensor, ...]
            results = _Fused.apply(op, jacobian, x, scale, seed, directions, *extras)
            return results[0]
        mean: Tensor = _EagerFused.apply(op, jacobian, x, scale, seed, directions, *extras)
        return mean
    wanted = any(requires_grad(t) or has_tangent(t) for t in (x, scale))
    noise = (seed, directions, *extras)
    seed_kind = DRAWN if drawn else SHARED
    results = as_batch(
        functools.partial(_mean_by_element, op, wanted),
        (EACH, ALL_OR_EACH, seed_kind, *(SHARED for _ in noise[1:])),
        x.detach(),
        scale.detach(),
        *noise,
    )
    if not wanted:
        return results[0]
    # Whether there are Jacobians depends on the batch with all that is mapped over.
    jacobian = "x_and_scale" if results[1].ndim > 2 else "none"
    rule = FusedRule(op, jacobian, seed_kind)
    return attach(rule, results[0], x, scale, *results, *noise)
