"""Derivatives of means over samples: reverse and forward mode, and those after the first.

An estimate depends on x and on the scale L through the likelihood ratios of its samples alone. With
r_i(x, L) the density of the i-th perturbed point over what it was when that point was drawn,

    S(x, L) = factor * sum_i (f_i - baseline) r_i(x, L)

has the estimates of all derivatives of the mean for its derivatives: the score's for the first,
score score^T - grad score for the second. A rule knows the first ones from the kernels; those that
follow are taken of S itself, whose noise is drawn again.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._kernels.reference.philox import MASK
from .._torch_internals import in_forward_mode, in_plain_eager, refuse_nested_forward_mode
from ..distributions import AbstractDistribution
from .function import Function


# Numbers of the largest intermediate tensor of forward mode.
CHUNK_ELEMENTS = 4 * 2**20


class Draws(NamedTuple):
    """All samples of each batch element."""

    noise: Tensor  # [B, s, n]
    mirrored: Tensor  # [B, s, n], the noise of the mirror images, or [B, 0] if nobody asks
    # f_i - baseline, [B, s, m]: a function of the outputs, if they are variables.
    above: Callable[..., Tensor]


class AbstractRule(abc.ABC):
    """How a mean depends on `x` and `scale`, given the tensors that were saved with it.

    A rule holds no tensors but what no transform of torch.func has touched.
    """

    @property
    @abc.abstractmethod
    def variables(self) -> int:
        """How many of the saved tensors, the first ones, f's own derivatives go through.

        None, or 1: the outputs of f. The first derivatives in them are those of the value. But what
        the score makes of them depends on them too.
        """

    @property
    @abc.abstractmethod
    def distribution(self) -> AbstractDistribution: ...

    @property
    @abc.abstractmethod
    def factor(self) -> float: ...

    @property
    @abc.abstractmethod
    def pair_weight(self) -> float: ...

    @abc.abstractmethod
    def pull(
        self, grad: Tensor, x: Tensor, scale: Tensor, saved: Sequence[Tensor], needs_scale: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients in x and, if it is needed, in the scale."""

    @abc.abstractmethod
    def push(
        self,
        in_x: Tensor,
        in_scale: Tensor,
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
        in_x, in_scale, *in_saved = pull(
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
        in_value: Tensor | None,
        in_x: Tensor | None,
        in_scale: Tensor | None,
        *in_saved: Tensor | None,
    ) -> Tensor:
        refuse_nested_forward_mode()
        x, scale, *saved = ctx.saved_tensors
        tangent = push(ctx.rule, (in_x, in_scale, *in_saved), x, scale, saved)
        return tangent if in_value is None else in_value + tangent


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


def pull(
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
        first = rule.pull(grad, x, scale, saved, needs_scale) if needs_any else (None, None)
        return *first, *(None,) * len(saved)
    values: list[Tensor | None] = [None, None]
    with torch.no_grad(), _full_precision(x):
        if needs_any:
            values = [*rule.pull(grad.detach(), x.detach(), scale.detach(), saved, needs_scale)]
        # Those that are not asked for, and those that f's outputs have by the value alone.
        variables = (x, scale, *saved[: rule.variables])
        values += [None] * rule.variables
        known = [
            torch.zeros_like(t) if value is None else value
            for t, value in zip(variables, values, strict=True)
        ]
    count = len(known)
    in_x, in_scale, *others = _Again.apply(
        rule, _pulled, count, 1 + count, *known, grad, x, scale, *saved
    )
    none = [None] * (len(saved) - rule.variables)
    return in_x if needs_any else None, in_scale if needs_scale else None, *others, *none


def push(
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
        value = rule.push(along[0].detach(), along[1].detach(), x.detach(), scale.detach(), saved)
    inputs = 2 * len(variables)
    (result,) = _Again.apply(rule, _pushed, 1, inputs, value, *along, x, scale, *saved)
    return result


def _full_precision(like: Tensor) -> torch.autocast:
    """Transforms of torch.func differentiate within the user's autocast, which is not for this."""
    return torch.autocast(like.device.type, enabled=False)


def directional_weights(
    distribution: AbstractDistribution,
    words: Tensor,  # [rows, n]
    pair_weight: float,
    in_x: Tensor,  # [rows, n]
    in_scale: Tensor,  # [rows, n], or [rows, n, n] for a scale matrix
) -> Tensor:  # [rows]
    """The derivative of each likelihood ratio, along directions from which L^-1 was taken."""

    def along(words: Tensor) -> Tensor:
        noise, score = distribution.draw(words, in_x.dtype)
        if in_scale.ndim == 2:
            return (score * in_x + (score * noise - 1) * in_scale).sum(-1)
        moved = torch.einsum("rij,rj->ri", in_scale, noise)
        return (score * (in_x + moved)).sum(-1) - in_scale.diagonal(dim1=1, dim2=2).sum(-1)

    weights = along(words)
    if pair_weight != 0:
        weights = weights + pair_weight * (weights + along(words ^ MASK))
    return weights


def whiten(
    scale: Tensor,  # [1 or B, 1 or n], or [1 or B, n, n]
    in_x: Tensor,  # [B, n]
    in_scale: Tensor,  # as the scale
) -> tuple[Tensor, Tensor]:  # [B, n], and [B, n] or [B, n, n]
    """L^-1 times directions in x and in L."""
    if scale.ndim == 2:
        return in_x / scale, (in_scale / scale).expand_as(in_x)
    # solve_ex, because solve waits for the device to tell whether the matrix is singular.
    solve = torch.linalg.solve_ex
    moved = solve(scale, in_scale).result
    return solve(scale, in_x.unsqueeze(-1)).result.squeeze(-1), moved.expand(in_x.shape[0], -1, -1)


def rescale_gradients(scores: Tensor, moments: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """From sums at scale 1 to gradients in x and in the scale of each element.

    `scores` is [B, n]; `moments` is [B, n], or [B, n * n] for a scale matrix, or has no columns.
    The gradients are L^-T scores and L^-T moments (arXiv 2410.08125, equations 12 and 13, with
    L^-T in both).
    """
    if scale.ndim == 2:
        return scores / scale, moments / scale if moments.shape[-1] else moments
    # solve_ex, because solve waits for the device to tell whether the matrix is singular.
    solve = torch.linalg.solve_ex
    grad_x = solve(scale.mT, scores.unsqueeze(-1)).result.squeeze(-1)
    if not moments.shape[-1]:
        return grad_x, moments
    return grad_x, solve(scale.mT, moments.reshape(-1, *scale.shape[-2:])).result


def _surrogate(rule: AbstractRule, draws: Draws) -> Callable[..., Tensor]:
    """S(x, L), see the top of this file, less its value; and a function of the outputs as well."""
    rule.distribution.check_second_derivative()

    def rise(noise: Tensor, x: Tensor, scale: Tensor) -> Tensor:  # [B, s]
        # What the noise is at other x and L than these, for points that stay where they are.
        moved = (x.detach() - x).unsqueeze(1)
        if scale.ndim == 2:
            gamma = scale.unsqueeze(1)
            z = (gamma.detach() * noise + moved) / gamma
            log_det = scale.log().expand(-1, x.shape[1]).sum(-1, keepdim=True)
        else:
            matrix = scale.detach().expand(x.shape[0], -1, -1)
            points = torch.einsum("bij,bsj->bsi", matrix, noise) + moved
            z = torch.linalg.solve_ex(scale, points.mT).result.mT
            log_det = torch.linalg.slogdet(scale).logabsdet.unsqueeze(-1)
        log = rule.distribution._joint_log_prob(z) - log_det
        return torch.expm1(log - log.detach())

    def surrogate(x: Tensor, scale: Tensor, *variables: Tensor) -> Tensor:  # [B, m]
        x = x.flatten(1)
        ratio = rise(draws.noise, x, scale)
        if rule.pair_weight != 0:
            ratio = ratio + rule.pair_weight * (ratio + rise(draws.mirrored, x, scale))
        above = draws.above(*variables)
        return rule.factor * torch.einsum("bs,bsm->bm", ratio.to(above.dtype), above)

    return surrogate


def _pulled(rule: AbstractRule, draws: Draws) -> Callable[..., tuple[Tensor, ...]]:
    """From an upstream gradient, x, L and the outputs to the gradients in these three."""
    surrogate = _surrogate(rule, draws)

    def function(grad: Tensor, *variables: Tensor) -> tuple[Tensor, ...]:
        return transpose(surrogate, *variables)(grad.flatten(1))

    return function


def _pushed(rule: AbstractRule, draws: Draws) -> Callable[..., tuple[Tensor, ...]]:
    """From directions in x, L and the outputs, and these three, to the tangent [B, m]."""
    surrogate = _surrogate(rule, draws)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        half = len(tensors) // 2
        return (_jvp(surrogate, tensors[half:], tensors[:half]),)

    return function


def transpose(function: Callable[..., Any], *inputs: Tensor) -> Callable[..., tuple[Tensor, ...]]:
    """The transpose of the function's derivative at the inputs."""
    pull_back: Callable[..., tuple[Tensor, ...]] = torch.func.vjp(function, *inputs)[1]
    return pull_back


def _jvp(function: Callable[..., Any], inputs: Sequence[Tensor], tangents: Sequence[Tensor]) -> Any:
    """`torch.func.jvp` by two reverse passes, which also work at a level of forward_ad."""
    values, pull_back = torch.func.vjp(function, *inputs)[:2]
    zeros = torch.utils._pytree.tree_map(torch.zeros_like, values)
    (result,) = transpose(pull_back, zeros)(tuple(tangents))
    return result


class _Again(torch.autograd.Function):
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
        function, inputs, rest = _Again._function(ctx)
        with _full_precision(inputs[0]):
            gradients = transpose(function, *inputs)(grads)
        return None, None, None, None, *(None for _ in grads), *gradients, *rest

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        refuse_nested_forward_mode()
        function, inputs, _ = _Again._function(ctx)
        begin = 4 + ctx.count
        directions = tuple(
            torch.zeros_like(t) if tangent is None else tangent
            for t, tangent in zip(inputs, tangents[begin : begin + len(inputs)], strict=True)
        )
        with _full_precision(inputs[0]):
            result: tuple[Tensor, ...] = _jvp(function, inputs, directions)
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
