"""Branches and loops with noisy conditions: results are blended by probability."""

import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .._checks import check_floating, check_int
from .._dtypes import compute_dtype
from .._torch_internals import one_node, values_are_readable
from ..distributions import AbstractDistribution
from ._operands import promote


def cond(
    margin: Tensor,
    then_fn: Callable[..., Any],
    else_fn: Callable[..., Any],
    *operands: Any,
    distribution: AbstractDistribution,
) -> Any:
    """Returns p then_fn(*operands) + (1 - p) else_fn(*operands), where p = P(margin + noise > 0).

    Smooths `then_fn(*operands) if margin > 0 else else_fn(*operands)`. Both functions are called.
    The margin gets a gradient through p; automatic differentiation of a hard branch never sees the
    margin.

    The blend is the expectation of the program if the noise is in this margin only, and if the rest
    of the program is linear in the result. It differs from the expectation in two cases: if a
    variable is perturbed once and used twice, in the margin and in a branch or in two margins (each
    call has independent noise); and if the rest of the program is nonlinear, because E g(y) is not
    g(E y). Then move the rest of the program into the branches, or use `ts.smooth`.

    **Arguments:**

    - `margin`: floating-point tensor; positive margins select the first branch. Its dimensions are
        those of the batch and broadcast *from the left* against the results: a margin [b] decides
        about rows of results [b, n].
    - `then_fn`, `else_fn`: functions of the operands. They return the same structure: a tensor, or
        nested tuples, lists and dicts of tensors. Leaves are floating-point tensors or numbers, of
        the same shape in both (or scalars).
    - `operands`: anything. Tensors may be nested.
    - `distribution`: the law of the noise, in units of the margin, with a scale that broadcasts
        against the margin. It may require grad.

    **Returns:** the structure that the functions return, with tensors of the promoted type of both
    branches. Half types are computed in float32.

    A branch of probability exactly 0 (in a type's precision, or beyond the support of a law) may be
    NaN or infinite: it does not reach the result. NaN from its derivatives does not reach the
    operands either: element by element for operands that begin with the shape of the margin, and
    otherwise if the branch has probability 0 in the whole batch. Tensors in a branch's closure have
    no such protection. NaN in the margin gives NaN in that element.

    **Raises:** TypeError if an argument or a result is of another type; ValueError if the
    structures or shapes do not fit, or if the distribution has a `scale_matrix`.

    **Source:** Petersen et al., "Learning with algorithmic supervision via continuous relaxations",
    2021 (arXiv:2110.05651).

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([-4.0, 0.0, 4.0], requires_grad=True)
    >>> y = ts.soft.cond(x, torch.sqrt, torch.zeros_like, x, distribution=ts.Triangular())
    >>> y
    tensor([0., 0., 2.], grad_fn=<AddBackward0>)
    """
    _check_function(then_fn, "then_fn")
    _check_function(else_fn, "else_fn")
    p, q = _probabilities(margin, distribution)
    then_value = then_fn(*_guard(operands, p == 0))
    else_value = else_fn(*_guard(operands, q == 0))
    then_leaves, structure = pytree.tree_flatten(then_value)
    else_leaves, else_structure = pytree.tree_flatten(else_value)
    if structure != else_structure:
        raise ValueError(
            "then_fn and else_fn must return the same structure, got "
            f"{structure} and {else_structure}; return the same tuples, lists or dicts from both"
        )
    blended = [
        _blend(p, a, q, b, margin.dtype) for a, b in zip(then_leaves, else_leaves, strict=True)
    ]
    return pytree.tree_unflatten(blended, structure)


def while_loop(
    margin_fn: Callable[[Any], Tensor],
    body_fn: Callable[[Any], Any],
    carry: Any,
    max_steps: int,
    *,
    distribution: AbstractDistribution,
) -> Any:
    """Returns the expected carry at the exit of a loop that continues while margin + noise > 0.

    Smooths

        for _ in range(max_steps):
            if not margin_fn(carry) > 0:
                break
            carry = body_fn(carry)

    Every test has independent noise. The body runs on the carry as it is, never on a blend: with
    c_0 = carry, c_k+1 = body_fn(c_k) and p_k = P(margin_fn(c_k) + noise > 0), the result is

        sum_k p_0 ... p_k-1 (1 - p_k) c_k  +  p_0 ... p_K-1 c_K,    K = max_steps,

    which is exactly the expectation of the loop, for any body. The last term belongs to runs that
    have not left the loop after `max_steps`; they leave then, as in the loop above. As the scale
    goes to 0, the result goes to that of the hard loop, if no margin on its way is 0.

    The result differs from the expectation of a loop that draws its noise once, for its initial
    variables (use `ts.smooth` for that), and from the expectation of a nonlinear function of the
    result. A body that contains `cond` passes a blend to its next step.

    **Arguments:**

    - `margin_fn`: maps the carry to a floating-point tensor, of the same shape at every step. Its
        dimensions broadcast from the left against the carry, as those of `cond`: the elements of a
        batch leave the loop one by one.
    - `body_fn`: maps the carry to the next one, of the same structure, shapes and types.
    - `carry`: a floating-point tensor, or nested tuples, lists and dicts of them.
    - `max_steps`: the largest number of times that the body runs, at least 0. Time, memory for the
        gradient, and the size of a compiled graph grow with it. On the CPU in eager mode the loop
        ends as soon as the probability of continuing is exactly 0 in the whole batch. Elsewhere it
        takes all its steps, because a look would wait for a device or break a graph. The result is
        the same.
    - `distribution`: the law of the noise, in units of the margin.

    **Returns:** the structure of `carry`. Steps that are reached with probability exactly 0 may
    produce NaN or infinities, which reach neither the result nor the gradient (with the exceptions
    of `cond`).

    **Raises:** TypeError if an argument or a result is of another type; ValueError if a structure,
    shape or type changes from step to step, if `max_steps` is negative, or if the distribution has
    a `scale_matrix`.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([1.0, 30.0])  # double it while it is below 100: 128, 120
    >>> ts.soft.while_loop(
    ...     lambda x: 100 - x, lambda x: 2 * x, x, 10, distribution=ts.Triangular(1.0)
    ... )
    tensor([128., 120.])
    """
    _check_function(margin_fn, "margin_fn")
    _check_function(body_fn, "body_fn")
    max_steps = check_int(max_steps, "max_steps", 0, 100)
    leaves, structure = pytree.tree_flatten(carry)
    for leaf in leaves:
        _check_leaf(leaf, "carry")
    if max_steps == 0:
        return carry
    totals = [torch.zeros_like(leaf, dtype=compute_dtype(leaf.dtype)) for leaf in leaves]
    survival: Tensor | None = None
    for _ in range(max_steps):
        margin = margin_fn(pytree.tree_unflatten(leaves, structure))
        p, q = _probabilities(margin, distribution)
        reached = _survival(survival, p)
        over = reached == 0
        totals = _add_shares(totals, reached * torch.where(over, 0.0, q), leaves)
        survival = reached * torch.where(over, 0.0, p)
        if values_are_readable(survival) and not bool((survival != 0).any()):
            break
        guarded = _guard(pytree.tree_unflatten(leaves, structure), survival == 0)
        leaves = _next_leaves(body_fn(guarded), leaves, structure)
    else:
        assert survival is not None  # there was a step
        totals = _add_shares(totals, survival, leaves)
    results = [total.to(leaf.dtype) for total, leaf in zip(totals, leaves, strict=True)]
    return pytree.tree_unflatten(results, structure)


class _Guard(torch.autograd.Function):
    """The identity, except that derivatives that are not finite are 0 where `dead` is true.

    There the true derivative is 0, but arrives as 0 times infinity from the branch that is not
    taken. Finite derivatives pass unchanged, so that nothing is lost if an operand that belongs to
    the whole batch has the shape of the margin by accident.
    """

    @staticmethod
    def forward(x: Tensor, dead: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (dead,) = ctx.saved_tensors
        return torch.where(dead & ~grad.isfinite(), 0.0, grad), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        # Tangents pass: `_share` stops what they become in a branch that is not taken.
        return tangent.view_as(tangent)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, int | None], x: Tensor, dead: Tensor
    ) -> tuple[Tensor, int]:
        x, dead = (
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip((x, dead), in_dims, strict=True)
        )
        return _apply_guard(x, _pad(dead, x.ndim)), 0


@one_node
def _apply_guard(x: Tensor, dead: Tensor) -> Tensor:
    guarded: Tensor = _Guard.apply(x, dead)  # type: ignore[no-untyped-call]
    return guarded


def _guard(tree: Any, dead: Tensor) -> Any:
    """Keeps the NaN of elements that have probability 0 out of the gradients of the tensors."""

    def guard(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        batched = leaf.shape[: dead.ndim] == dead.shape
        return _apply_guard(leaf, _pad(dead, leaf.ndim) if batched else dead.all())

    return pytree.tree_map(guard, tree)


def _probabilities(margin: object, distribution: object) -> tuple[Tensor, Tensor]:
    """P(margin + noise > 0) and its complement, each accurate in its own tail."""
    law, _, (margin,) = promote({"margin": check_floating(margin, "margin")}, distribution)
    return law.probability_positive(margin), law.probability_negative(margin)


def _survival(survival: Tensor | None, p: Tensor) -> Tensor:
    if survival is None:
        return torch.ones_like(p)
    if survival.shape != p.shape:
        raise ValueError(
            "margin_fn must return the same shape at every step, got "
            f"{tuple(survival.shape)} before and {tuple(p.shape)} now; reduce it to the batch"
        )
    return survival


def _next_leaves(carry: Any, before: list[Tensor], structure: pytree.TreeSpec) -> list[Tensor]:
    leaves, new_structure = pytree.tree_flatten(carry)
    if new_structure != structure:
        raise ValueError(
            f"body_fn must return the structure of carry, {structure}, got {new_structure}; return "
            "the same tuples, lists or dicts"
        )
    for leaf, old in zip(leaves, before, strict=True):
        _check_leaf(leaf, "the result of body_fn")
        if leaf.shape != old.shape or leaf.dtype != old.dtype:
            raise ValueError(
                f"body_fn must keep shapes and types, got {leaf.dtype} of shape "
                f"{tuple(leaf.shape)} for {old.dtype} of shape {tuple(old.shape)}; start with a "
                "carry of the final shape and type"
            )
    return leaves


def _blend(p: Tensor, a: object, q: Tensor, b: object, default: torch.dtype) -> Tensor:
    tensors = [_check_leaf(x, "the result of a branch") for x in (a, b) if not _is_number(x)]
    if len(tensors) == 2 and tensors[0].shape != tensors[1].shape:
        if tensors[0].ndim and tensors[1].ndim:
            raise ValueError(
                "then_fn and else_fn must return the same shapes, got "
                f"{tuple(tensors[0].shape)} and {tuple(tensors[1].shape)}; expand one of them"
            )
    dtype = default
    if tensors:
        dtype = torch.promote_types(tensors[0].dtype, tensors[-1].dtype)
    first, second = (_to_tensor(x, dtype, p.device) for x in (a, b))
    if first.ndim != second.ndim:
        first, second = torch.broadcast_tensors(first, second)
    return (_share(p, first) + _share(q, second)).to(dtype)


def _to_tensor(x: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    if isinstance(x, Tensor):
        return x.to(dtype)
    return torch.full((), x, dtype=dtype, device=device)


def _is_number(x: object) -> bool:
    return isinstance(x, numbers.Real) and not isinstance(x, bool)


def _share(weight: Tensor, value: Tensor) -> Tensor:
    """weight * value, with weights that broadcast from the left; 0 where the weight is 0.

    There neither the value nor its derivatives matter.
    """
    ndim = max(weight.ndim, value.ndim)
    dead = _pad(weight == 0, ndim)
    dtype = torch.promote_types(compute_dtype(value.dtype), weight.dtype)
    weight, value = _pad(weight, ndim).to(dtype), _pad(value, ndim).to(dtype)
    try:
        torch.broadcast_shapes(weight.shape, value.shape)
    except RuntimeError:
        raise ValueError(
            "the margin must broadcast from the left against every result, got shapes "
            f"{tuple(weight.shape)} and {tuple(value.shape)}; reduce the margin to the batch, or "
            "move the dimensions of the batch to the front"
        ) from None
    live = torch.where(dead, value.detach(), value)
    return weight * torch.where(dead & ~value.isfinite(), 0.0, live)


def _pad(x: Tensor, ndim: int) -> Tensor:
    """With dimensions of size 1 at the end, up to `ndim`."""
    return x[(..., *[None] * (ndim - x.ndim))]


def _add_shares(totals: list[Tensor], weight: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return [total + _share(weight, leaf) for total, leaf in zip(totals, leaves, strict=True)]


def _check_leaf(leaf: object, name: str) -> Tensor:
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
        got = leaf.dtype if isinstance(leaf, Tensor) else type(leaf).__name__
        raise TypeError(
            f"{name} must consist of floating-point tensors, got {got}; convert it, because only "
            "floating-point values can be blended"
        )
    return leaf


def _check_function(function: object, name: str) -> None:
    if not callable(function):
        raise TypeError(
            f"{name} must be a function, got {type(function).__name__}; wrap a value as "
            "lambda *_: value"
        )
