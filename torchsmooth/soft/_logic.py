"""Logic of probabilities. All events are assumed to be independent."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .._checks import check_bool, check_dim
from .._dtypes import result_type
from .._torch_internals import one_node, refuse_nested_forward_mode, values_are_readable
from ._operands import check_broadcast


# Probabilities may leave [0, 1] by this much: by rounding, or because they are estimates.
_SLACK = 1e-3


def logical_not(p: Tensor) -> Tensor:
    """Returns 1 - p, the probability that an event does not happen.

    **Arguments:**

    - `p`: probabilities: a floating-point tensor, or a bool tensor for certain events.

    **Returns:** a tensor of the same shape.

    **Raises:** TypeError if `p` is not such a tensor; ValueError if it holds values outside of [0,
    1] (checked on the CPU in eager mode only).

    **Source:** Petersen, Borgelt, Kuehne and Deussen, "Deep differentiable logic gate networks",
    2022 (arXiv:2210.08277).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.logical_not(torch.tensor([0.0, 0.25, 1.0]))
    tensor([1.0000, 0.7500, 0.0000])
    """
    return 1 - check_probability(p, "p")


def logical_and(p: Tensor, q: Tensor) -> Tensor:
    """Returns p q, the probability that both of two independent events happen.

    For dependent events, such as two comparisons of the same noisy variable, this is not the
    probability of both.

    **Arguments:**

    - `p`, `q`: probabilities that broadcast: floating-point tensors, or bool tensors for certain
        events.

    **Returns:** a tensor of the broadcast shape.

    **Raises:** TypeError if an argument is not such a tensor; ValueError if it holds values outside
    of [0, 1] (checked on the CPU in eager mode only), or if shapes do not broadcast.

    **Source:** Petersen, Borgelt, Kuehne and Deussen, "Deep differentiable logic gate networks",
    2022 (arXiv:2210.08277).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.logical_and(torch.tensor([0.5, 1.0]), torch.tensor([0.5, 0.25]))
    tensor([0.2500, 0.2500])
    """
    p, q = _check_pair(p, q)
    return p * q


def logical_or(p: Tensor, q: Tensor) -> Tensor:
    """Returns p + q - p q, the probability that at least one of two independent events happens.

    **Arguments:**

    - `p`, `q`: probabilities that broadcast: floating-point tensors, or bool tensors for certain
        events.

    **Returns:** a tensor of the broadcast shape.

    **Raises:** TypeError if an argument is not such a tensor; ValueError if it holds values outside
    of [0, 1] (checked on the CPU in eager mode only), or if shapes do not broadcast.

    **Source:** Petersen, Borgelt, Kuehne and Deussen, "Deep differentiable logic gate networks",
    2022 (arXiv:2210.08277).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.logical_or(torch.tensor([0.5, 1.0]), torch.tensor([0.5, 0.25]))
    tensor([0.7500, 1.0000])
    """
    return _or(*_check_pair(p, q))


def logical_xor(p: Tensor, q: Tensor) -> Tensor:
    """Returns p (1 - q) + q (1 - p), the probability that exactly one of two events happens.

    The events are assumed to be independent.

    **Arguments:**

    - `p`, `q`: probabilities that broadcast: floating-point tensors, or bool tensors for certain
        events.

    **Returns:** a tensor of the broadcast shape.

    **Raises:** TypeError if an argument is not such a tensor; ValueError if it holds values outside
    of [0, 1] (checked on the CPU in eager mode only), or if shapes do not broadcast.

    **Source:** Petersen, Borgelt, Kuehne and Deussen, "Deep differentiable logic gate networks",
    2022 (arXiv:2210.08277).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.logical_xor(torch.tensor([0.5, 1.0]), torch.tensor([0.5, 1.0]))
    tensor([0.5000, 0.0000])
    """
    p, q = _check_pair(p, q)
    return p * (1 - q) + q * (1 - p)


def all(p: Tensor, dim: int | Sequence[int] | None = None, *, keepdim: bool = False) -> Tensor:
    """Returns the probability that all of many independent events happen.

    The product is computed in pairs, so that its derivatives are correct where factors are 0.

    **Arguments:**

    - `p`: probabilities: a floating-point tensor, or a bool tensor for certain events.
    - `dim`: the dimensions to reduce; None for all.
    - `keepdim`: whether they are kept, with size 1.

    **Returns:** a tensor without the reduced dimensions. It is 1 for no events.

    **Raises:** TypeError if `p` is not such a tensor; ValueError if it holds values outside of [0,
    1] (checked on the CPU in eager mode only), or if `dim` is out of range.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.all(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), dim=-1)
    tensor([0.2500, 0.0000])
    """
    return _reduce(torch.mul, check_probability(p, "p"), 1.0, dim, keepdim)


def any(p: Tensor, dim: int | Sequence[int] | None = None, *, keepdim: bool = False) -> Tensor:
    """Returns the probability that at least one of many independent events happens.

    It is computed in pairs: many probabilities that are small against 1 keep all their digits, and
    the derivatives are correct where an event is certain.

    **Arguments:**

    - `p`: probabilities: a floating-point tensor, or a bool tensor for certain events.
    - `dim`: the dimensions to reduce; None for all.
    - `keepdim`: whether they are kept, with size 1.

    **Returns:** a tensor without the reduced dimensions. It is 0 for no events.

    **Raises:** as `all`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.any(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), dim=-1)
    tensor([0.7500, 1.0000])
    """
    return _reduce(_or, check_probability(p, "p"), 0.0, dim, keepdim)


def where(p: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Returns p a + (1 - p) b, the expectation of a choice: `a` with probability p, else `b`.

    An infinity or NaN on the side that has probability 0 does not reach the result.

    **Arguments:**

    - `p`: probabilities: a floating-point tensor, or a bool tensor for certain events.
    - `a`, `b`: real tensors or numbers that broadcast against `p`.

    **Returns:** a tensor of the broadcast shape. It is the expectation of the hard program only if
    neither `a` nor `b` depends on the noise that decides.

    **Raises:** TypeError if an argument is of another type; ValueError if `p` holds values outside
    of [0, 1] (checked on the CPU in eager mode only), or if shapes do not broadcast.

    **Source:** Petersen et al., "Learning with algorithmic supervision via continuous relaxations",
    2021 (arXiv:2110.05651).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.where(torch.tensor([0.0, 0.25]), torch.tensor([torch.inf, 4.0]), 0.0)
    tensor([0., 1.])
    """
    p = check_probability(p, "p")
    a, b = _check_side(a, "a", p), _check_side(b, "b", p)
    check_broadcast(p=p, a=a, b=b)
    dtype = result_type([p, a, b])
    return _blend(*(t.to(dtype) for t in torch.broadcast_tensors(p, a, b)))


def check_probability(p: object, name: str) -> Tensor:
    if not isinstance(p, Tensor) or not (p.is_floating_point() or p.dtype == torch.bool):
        got = p.dtype if isinstance(p, Tensor) else type(p).__name__
        raise TypeError(
            f"{name} must be a tensor of probabilities, floating-point or bool, got {got}; "
            "convert it with torch.as_tensor, and a score with ts.soft.heaviside"
        )
    if p.dtype == torch.bool:
        return p.to(torch.get_default_dtype())
    if values_are_readable(p) and bool(((p < -_SLACK) | (p > 1 + _SLACK)).any()):
        raise ValueError(
            f"{name} must hold probabilities in [0, 1], got values from {p.min().item():.6g} to "
            f"{p.max().item():.6g}; turn a score into a probability with ts.soft.heaviside"
        )
    return p


def _check_pair(p: object, q: object) -> tuple[Tensor, Tensor]:
    p, q = check_probability(p, "p"), check_probability(q, "q")
    check_broadcast(p=p, q=q)
    return p, q


def _or(p: Tensor, q: Tensor) -> Tensor:
    return p + q * (1 - p)


def _check_side(value: object, name: str, p: Tensor) -> Tensor:
    if isinstance(value, Tensor) and not value.is_complex():
        return value if value.is_floating_point() else value.to(p.dtype)
    if not isinstance(value, numbers.Real):
        got = value.dtype if isinstance(value, Tensor) else repr(value)
        raise TypeError(
            f"{name} must be a number or a real tensor, got {got}; pass for example 0.0"
        )
    return torch.full((), float(value), dtype=p.dtype, device=p.device)


class _Blend(torch.autograd.Function):
    """p a + (1 - p) b, where sides that are not finite count for nothing at probability 0.

    The derivatives in the sides are the probabilities themselves: those of `reachable` would need
    its masks again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
        q = 1 - p
        return torch.where(p == 0, 0.0, p * a) + torch.where(q == 0, 0.0, q * b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        p, a, b = ctx.saved_tensors
        return grad * (reachable(a, p) - reachable(b, 1 - p)), grad * p, grad * (1 - p)

    @staticmethod
    def jvp(ctx: Any, in_p: Tensor, in_a: Tensor, in_b: Tensor) -> Tensor:
        refuse_nested_forward_mode()
        p, a, b = ctx.saved_tensors
        result: Tensor = in_p * (reachable(a, p) - reachable(b, 1 - p)) + p * in_a + (1 - p) * in_b
        return result


@one_node
def _blend(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    blended: Tensor = _Blend.apply(p, a, b)  # type: ignore[no-untyped-call]
    return blended


def reachable(value: Tensor, p: Tensor) -> Tensor:
    """The value, but 0 for what is not finite and has probability 0: 0 times it would be NaN."""
    # Compilers vectorise this, but neither isfinite nor, for float64, an "or" of two masks.
    finite = torch.where(value.abs() < math.inf, value, 0.0)
    return torch.where(p != 0, value, finite)


def _reduce(
    combine: Callable[[Tensor, Tensor], Tensor],
    p: Tensor,
    neutral: float,
    dim: int | Sequence[int] | None,
    keepdim: bool,
) -> Tensor:
    check_bool(keepdim, "keepdim")
    dims = range(p.ndim) if dim is None else dim if isinstance(dim, Sequence) else [dim]
    dims = sorted({check_dim(d, p) for d in dims})
    kept = [d for d in range(p.ndim) if d not in dims]
    shape = [1 if d in dims else size for d, size in enumerate(p.shape)]
    p = p.permute(*kept, *dims).flatten(len(kept)) if dims else p.unsqueeze(-1)
    if p.shape[-1] == 0:
        p = p.new_full((*p.shape[:-1], 1), neutral)
    while p.shape[-1] > 1:
        half = p.shape[-1] // 2
        paired = combine(p[..., :half], p[..., half : 2 * half])
        p = torch.cat([paired, p[..., 2 * half :]], -1)
    p = p.squeeze(-1)
    return p.reshape(shape) if keepdim else p
