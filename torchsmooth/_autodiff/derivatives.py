"""Derivatives of means over samples: reverse and forward mode, and those after the first.

An estimate depends on x and on the scale L through the likelihood ratios of its samples alone. With
r_i(x, L) the density of the i-th perturbed point over what it was when that point was drawn,

    S(x, L) = factor * sum_i (f_i - baseline) r_i(x, L)

has the estimates of all derivatives of the mean for its derivatives: the score's for the first,
score score^T - grad score for the second. A rule knows the first ones from the kernels; those that
follow are taken of S itself, whose noise is drawn again.
"""

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .._kernels.fused_op import Estimator
from .._kernels.reference.philox import MASK
from .._linalg import solve
from .._torch_internals import (
    in_forward_mode,
    in_plain_eager,
    is_batched_gradient,
    materialized,
    one_gradient_at_a_time,
    refuse_nested_forward_mode,
)
from ..distributions import AbstractDistribution
from .function import Function


# Numbers of the largest intermediate tensor where samples are drawn again.
CHUNK_ELEMENTS = 4 * 2**20


def chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges [start, stop) of `total` rows, where each row takes `size` numbers."""
    rows = max(1, CHUNK_ELEMENTS // max(1, size))
    for start in range(0, total, rows):
        yield start, min(start + rows, total)


class Draws(NamedTuple):
    """All samples of each batch element."""

    noise: Tensor  # [B, s, n]
    mirrored: Tensor  # [B, s, n], the noise of the mirror images, or [B, 0] if nobody asks
    # f_i - baseline, [B, s, m]: a function of the outputs, if they are variables.
    deviations: Callable[..., Tensor]


class AbstractRule(abc.ABC):
    """How a mean depends on `x` and `scale`, given the tensors that were saved with it.

    A rule holds no tensors but what no transform of torch.func has touched.

    **Subclassing.** Subclasses are final and implement everything here.
    """

    variables: ClassVar[int]
    """How many of the saved tensors, the first ones, f's own derivatives go through.

    None, or 1: the outputs of f. The first derivatives in them are those of the value. But what
    the score makes of them depends on them too.
    """

    estimator: Estimator

    @property
    @abc.abstractmethod
    def distribution(self) -> AbstractDistribution: ...

    @abc.abstractmethod
    def vjp(
        self, grad: Tensor, x: Tensor, scale: Tensor, saved: Sequence[Tensor], needs_scale: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients in x and, if it is needed, in the scale."""

    @abc.abstractmethod
    def jvp(
        self,
        tangent_x: Tensor,
        tangent_scale: Tensor,
        x: Tensor,
        scale: Tensor,
        saved: Sequence[Tensor],
    ) -> Tensor:
        """The tangent of the mean for those of x and of the scale."""

    @abc.abstractmethod
    def draw(self, x: Tensor, scale: Tensor, saved: Sequence[Tensor]) -> Draws:
        """The samples once more, for derivatives after the first."""


class Derivatives(Function):
    """The identity in `value`, with the derivatives in `x` and `scale` that a rule knows."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        rule: AbstractRule, value: Tensor, x: Tensor, scale: Tensor, *saved: Tensor
    ) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.rule, _, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, *saved = ctx.saved_tensors
        _, _, needs_x, needs_scale, *_ = ctx.needs_input_grad
        if not (needs_x or needs_scale or ctx.rule.variables):
            return None, grad, *(None for _ in ctx.saved_tensors)
        in_x, in_scale, *in_saved = differentiable_vjp(
            ctx.rule, grad, x, scale, saved, needs_scale, needs_x or needs_scale
        )
        return None, grad, in_x, in_scale, *in_saved


class ForwardDerivatives(Derivatives):
    """The same in forward mode too, which Dynamo refuses to trace."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        Derivatives.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def jvp(
        ctx: Any,
        _: None,
        tangent_value: Tensor | None,
        *tangents: Tensor | None,  # of x, scale and what was saved
    ) -> Tensor:
        refuse_nested_forward_mode()
        x, scale, *saved = ctx.saved_tensors
        tangent = differentiable_jvp(ctx.rule, tangents, x, scale, saved)
        return tangent if tangent_value is None else tangent_value + tangent


class EagerDerivatives(Function):
    """The same for plain eager mode."""

    @staticmethod
    def forward(
        ctx: Any, rule: AbstractRule, value: Tensor, x: Tensor, scale: Tensor, *saved: Tensor
    ) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(x, scale, *saved)
        return value.clone()

    backward = Derivatives.backward


def attach(rule: AbstractRule, value: Tensor, x: Tensor, scale: Tensor, *saved: Tensor) -> Tensor:
    """`value`, differentiable in `x` and `scale`."""
    function: type[Function] = ForwardDerivatives
    if torch.compiler.is_compiling() or in_plain_eager():
        if not (torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad)):
            return value
        function = Derivatives if torch.compiler.is_compiling() else EagerDerivatives
    result: Tensor = function.apply(rule, value, x, scale, *saved)
    return result


def differentiable_vjp(
    rule: AbstractRule,
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    saved: Sequence[Tensor],
    needs_scale: bool,
    needs_any: bool = True,
) -> tuple[Tensor | None, ...]:
    """The rule's gradients in x, scale and what was saved, differentiable themselves."""
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() or in_forward_mode()):
        first: Sequence[Tensor | None] = (None, None)
        if needs_any and is_batched_gradient(grad):
            first = one_gradient_at_a_time(
                lambda grad: rule.vjp(grad, x, scale, saved, needs_scale), grad
            )
        elif needs_any:
            first = rule.vjp(materialized(grad), x, scale, saved, needs_scale)
        return *first, *(None,) * len(saved)
    values: list[Tensor | None] = [None, None]
    with torch.no_grad(), _full_precision(x):
        if needs_any:
            values = [
                *rule.vjp(
                    materialized(grad.detach()), x.detach(), scale.detach(), saved, needs_scale
                )
            ]
        # Those that are not asked for, and those that f's outputs have by the value alone.
        variables = (x, scale, *saved[: rule.variables])
        values += [None] * rule.variables
        known = [
            torch.zeros_like(t) if value is None else value
            for t, value in zip(variables, values, strict=True)
        ]
    count = len(known)
    in_x, in_scale, *others = _HigherDerivatives.apply(
        rule, _vjp_function, count, 1 + count, *known, grad, x, scale, *saved
    )
    none = [None] * (len(saved) - rule.variables)
    return in_x if needs_any else None, in_scale if needs_scale else None, *others, *none


def differentiable_jvp(
    rule: AbstractRule,
    tangents: Sequence[Tensor | None],
    x: Tensor,
    scale: Tensor,
    saved: Sequence[Tensor],
) -> Tensor:
    """The rule's tangent for those of x, scale and what was saved, differentiable itself."""
    variables = (x, scale, *saved[: rule.variables])
    along = [
        torch.zeros_like(t) if tangent is None else tangent
        for t, tangent in zip(variables, tangents, strict=False)
    ]
    with torch.no_grad(), _full_precision(x):
        value = rule.jvp(along[0].detach(), along[1].detach(), x.detach(), scale.detach(), saved)
    inputs = 2 * len(variables)
    results: tuple[Tensor] = _HigherDerivatives.apply(
        rule, _jvp_function, 1, inputs, value, *along, x, scale, *saved
    )
    return results[0]


def _full_precision(like: Tensor) -> torch.autocast:
    """Transforms of torch.func differentiate within the user's autocast, which is not for this."""
    return torch.autocast(like.device.type, enabled=False)


def directional_weights(
    rule: AbstractRule,
    words: Tensor,  # [rows, n]
    along_x: Tensor,  # [rows, n]
    along_scale: Tensor,  # [rows, n], or [rows, n, n] for a scale matrix
) -> Tensor:  # [rows]
    """The derivative of each likelihood ratio, along directions that `whiten` returned."""

    def weights_of(words: Tensor) -> Tensor:
        noise, score = rule.distribution.draw(words, along_x.dtype)
        if along_scale.ndim == 2:
            return (score * along_x + (score * noise - 1) * along_scale).sum(-1)
        moved = torch.einsum("rij,rj->ri", along_scale, noise)
        trace = along_scale.diagonal(dim1=1, dim2=2).sum(-1)
        return (score * (along_x + moved)).sum(-1) - trace

    weights, pair_weight = weights_of(words), rule.estimator.pair_weight
    if pair_weight != 0:
        weights = weights + pair_weight * (weights + weights_of(words ^ MASK))
    return weights


def noises(
    rule: AbstractRule,
    words: Tensor,  # [B, s, n]
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:  # [B, s, n], and [B, s, n] or [B, 0]
    """Noise of scale 1, and that of the mirror images if they have weight."""
    noise, _ = rule.distribution.draw(words, dtype)
    if rule.estimator.pair_weight == 0:
        return noise, noise.new_empty(noise.shape[0], 0)
    return noise, rule.distribution.draw(words ^ MASK, dtype)[0]


def whiten(
    scale: Tensor,  # [1 or B, 1 or n], or [1 or B, n, n]
    tangent_x: Tensor,  # [B, n]
    tangent_scale: Tensor,  # as the scale
) -> tuple[Tensor, Tensor]:  # [B, n], and [B, n] or [B, n, n]
    """L^-1 times directions in x and in L."""
    if scale.ndim == 2:
        return tangent_x / scale, (tangent_scale / scale).expand_as(tangent_x)
    along_x = solve(scale, tangent_x.unsqueeze(-1)).squeeze(-1)
    return along_x, solve(scale, tangent_scale).expand(tangent_x.shape[0], -1, -1)


def rescale_gradients(scores: Tensor, scale_scores: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """From sums at scale 1 to gradients in x and in the scale of each element.

    `scores` is [B, n]; `scale_scores` is [B, n], or [B, n * n] for a scale matrix, or has no
    columns. The gradients are L^-T scores and L^-T scale_scores (arXiv 2410.08125, equations 12 and
    13, with L^-T in both).
    """
    if scale.ndim == 2:
        return scores / scale, scale_scores / scale if scale_scores.shape[-1] else scale_scores
    in_x = solve(scale.mT, scores.unsqueeze(-1)).squeeze(-1)
    if not scale_scores.shape[-1]:
        return in_x, scale_scores
    return in_x, solve(scale.mT, scale_scores.reshape(-1, *scale.shape[-2:]))


def rescaled_gradients(
    scores: Tensor, scale_scores: Tensor, scale: Tensor, needs_scale: bool
) -> tuple[Tensor, Tensor | None]:
    """The same as gradients of x, and of the scale as it is shared."""
    in_x, in_scales = rescale_gradients(scores.to(scale.dtype), scale_scores.to(scale.dtype), scale)
    return in_x, in_scales.sum_to_size(scale.shape) if needs_scale else None


def _surrogate(rule: AbstractRule, draws: Draws) -> Callable[..., Tensor]:
    """S(x, L), see the top of this file, less its value; and a function of the outputs as well."""
    rule.distribution.check_second_derivative()

    def ratio_minus_one(noise: Tensor, x: Tensor, scale: Tensor) -> Tensor:  # [B, s]
        # What the noise is at other x and L than these, for points that stay where they are.
        moved = (x.detach() - x).unsqueeze(1)
        if scale.ndim == 2:
            gamma = scale.unsqueeze(1)
            z = (gamma.detach() * noise + moved) / gamma
            log_det = scale.log().expand(-1, x.shape[1]).sum(-1, keepdim=True)
        else:
            matrix = scale.detach().expand(x.shape[0], -1, -1)
            points = torch.einsum("bij,bsj->bsi", matrix, noise) + moved
            z = solve(scale, points.mT).mT
            log_det = torch.linalg.slogdet(scale).logabsdet.unsqueeze(-1)
        log = rule.distribution._joint_log_prob(z) - log_det
        return torch.expm1(log - log.detach())

    def surrogate(x: Tensor, scale: Tensor, *variables: Tensor) -> Tensor:  # [B, m]
        x = x.flatten(1)
        ratio = ratio_minus_one(draws.noise, x, scale)
        factor, pair_weight = rule.estimator[1:]
        if pair_weight != 0:
            ratio = ratio + pair_weight * (ratio + ratio_minus_one(draws.mirrored, x, scale))
        deviations = draws.deviations(*variables)
        return factor * torch.einsum("bs,bsm->bm", ratio.to(deviations.dtype), deviations)

    return surrogate


def _vjp_function(rule: AbstractRule, draws: Draws) -> Callable[..., tuple[Tensor, ...]]:
    """From an upstream gradient, x, L and the outputs to the gradients in these three."""
    surrogate = _surrogate(rule, draws)

    def function(grad: Tensor, *variables: Tensor) -> tuple[Tensor, ...]:
        return transpose(surrogate, *variables)(grad.flatten(1))

    return function


def _jvp_function(rule: AbstractRule, draws: Draws) -> Callable[..., tuple[Tensor, ...]]:
    """From directions in x, L and the outputs, and these three, to the tangent [B, m]."""
    surrogate = _surrogate(rule, draws)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        half = len(tensors) // 2
        return (jvp_by_vjp(surrogate, tensors[half:], tensors[:half]),)

    return function


def transpose(function: Callable[..., Any], *inputs: Tensor) -> Callable[..., tuple[Tensor, ...]]:
    """The transpose of the function's derivative at the inputs."""
    vjp: Callable[..., tuple[Tensor, ...]] = torch.func.vjp(function, *inputs)[1]
    return vjp


def jvp_by_vjp(
    function: Callable[..., Any], inputs: Sequence[Tensor], tangents: Sequence[Tensor]
) -> Any:
    """`torch.func.jvp` by two reverse passes, which also work at a level of forward_ad."""
    values, vjp = torch.func.vjp(function, *inputs)[:2]
    zeros = torch.utils._pytree.tree_map(torch.zeros_like, values)
    (result,) = transpose(vjp, zeros)(tuple(tangents))
    return result


class _HigherDerivatives(Function):
    """The identity in the first `count` tensors, with the derivatives of how they were computed.

    That is `make(rule, draws)` of the tensors that follow, `inputs` of them; the others are saved
    for the rule. Nothing is drawn until derivatives are asked for.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        rule: AbstractRule,
        make: Callable[[AbstractRule, Draws], Callable[..., tuple[Tensor, ...]]],
        count: int,
        inputs: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        return tensors[:count]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        # Not one tuple: the rule that torch makes for vmap counts it as two arguments.
        ctx.rule, ctx.make, ctx.count, ctx.inputs, *tensors = inputs
        ctx.shapes = [t.shape for t in output]
        ctx.save_for_backward(*tensors[ctx.count :])
        ctx.save_for_forward(*tensors[ctx.count :])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        function, inputs, rest = _HigherDerivatives._function(ctx)
        with _full_precision(inputs[0]):
            gradients = transpose(function, *inputs)(grads)
        return None, None, None, None, *(None for _ in grads), *gradients, *rest

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        refuse_nested_forward_mode()
        function, inputs, _ = _HigherDerivatives._function(ctx)
        begin = 4 + ctx.count
        directions = tuple(
            torch.zeros_like(t) if tangent is None else tangent
            for t, tangent in zip(inputs, tangents[begin : begin + len(inputs)], strict=True)
        )
        with _full_precision(inputs[0]):
            result: tuple[Tensor, ...] = jvp_by_vjp(function, inputs, directions)
        return result

    @staticmethod
    def _function(
        ctx: Any,
    ) -> tuple[Callable[..., tuple[Tensor, ...]], tuple[Tensor, ...], tuple[None, ...]]:
        tensors = ctx.saved_tensors
        inputs, saved = tensors[: ctx.inputs], tensors[ctx.inputs :]
        x, scale = inputs[len(inputs) - 2 - ctx.rule.variables :][:2]
        saved = (*inputs[len(inputs) - ctx.rule.variables :], *saved)
        draws = ctx.rule.draw(x.detach(), scale.detach(), saved)
        function, shapes = ctx.make(ctx.rule, draws), ctx.shapes

        def shaped(*inputs: Tensor) -> tuple[Tensor, ...]:
            results = function(*inputs)
            return tuple(t.reshape(s) for t, s in zip(results, shapes, strict=True))

        return shaped, inputs, (None,) * (len(tensors) - len(inputs))
