"""Hard values with soft gradients."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


F = TypeVar("F", bound=Callable[..., Any])


@overload
def straight_through(hard: F, soft: Callable[..., Any]) -> F: ...
@overload
def straight_through(*, soft: Callable[..., Any]) -> Callable[[F], F]: ...
@overload
def straight_through(hard: Any, soft: Any) -> Any: ...
def straight_through(hard: Any = None, soft: Any = None) -> Any:
    """Returns the value of `hard` with the gradient of `soft`.

    This is the straight-through estimator: the value is exact, the gradient is that of another
    function on purpose. If `soft` is the input itself, the gradient is that of the identity.

    **Arguments:**

    - `hard`: a tensor, or a tuple, list or dict of tensors; or a function that returns them. Omit
        it for a decorator: `@straight_through(soft=f)` decorates `hard`.
    - `soft`: the same, of the same structure and shapes, floating-point. If `hard` is a function, a
        function that is called with the same arguments.

    **Returns:** tensors of the type of `soft`: equal to `hard` (where `soft` is finite), with all
    derivatives of `soft` and none of `hard`. For a function, a function.

    **Raises:** TypeError if only one of the two is a function, if a leaf is not a tensor, or if
    `soft` is not floating-point; ValueError if structures or shapes differ.

    **Source:** Bengio, Leonard and Courville, "Estimating or propagating gradients through
    stochastic neurons for conditional computation", 2013 (arXiv:1308.3432).

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.4, 1.6], requires_grad=True)
    >>> y = ts.straight_through(x.round(), x)
    >>> torch.autograd.grad(y.sum(), x, retain_graph=True)
    (tensor([1., 1.]),)
    >>> @ts.straight_through(soft=lambda x: ts.soft.heaviside(x, ts.Logistic()))
    ... def step(x):
    ...     return (x > 0).float()
    >>> step(x)
    tensor([1., 1.], grad_fn=<AddBackward0>)
    """
    if soft is None:
        raise TypeError(
            "soft must be given, tensors or a function whose gradient is used, got None; pass the "
            "input itself for the gradient of the identity"
        )
    if hard is None and callable(soft):
        return functools.partial(straight_through, soft=soft)
    if callable(hard) != callable(soft):
        raise TypeError(
            "hard and soft must both be tensors or both be functions, got "
            f"{type(hard).__name__} and {type(soft).__name__}; call the function first"
        )
    if not callable(hard):
        return _combine(hard, soft)

    @functools.wraps(hard)
    def combined(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            value = hard(*args, **kwargs)
        return _combine(value, soft(*args, **kwargs))

    return combined


def _combine(hard: Any, soft: Any) -> Any:
    hard_leaves, hard_structure = pytree.tree_flatten(hard)
    soft_leaves, soft_structure = pytree.tree_flatten(soft)
    if hard_structure != soft_structure:
        raise ValueError(
            f"hard and soft must have the same structure, got {hard_structure} and "
            f"{soft_structure}; return the same tuples, lists or dicts from both"
        )
    leaves = [_combine_tensors(h, s) for h, s in zip(hard_leaves, soft_leaves, strict=True)]
    return pytree.tree_unflatten(leaves, soft_structure)


def _combine_tensors(hard: object, soft: object) -> Tensor:
    for leaf, name in ((hard, "hard"), (soft, "soft")):
        if not isinstance(leaf, Tensor):
            raise TypeError(
                f"{name} must consist of tensors, got {type(leaf).__name__}; convert it with "
                "torch.as_tensor"
            )
    assert isinstance(hard, Tensor) and isinstance(soft, Tensor)
    if not soft.is_floating_point():
        raise TypeError(
            f"soft must be a floating-point tensor, got {soft.dtype}; nothing else has a gradient"
        )
    if hard.shape != soft.shape:
        raise ValueError(
            f"hard and soft must have the same shape, got {tuple(hard.shape)} and "
            f"{tuple(soft.shape)}; expand one of them"
        )
    return hard.detach().to(soft.dtype) + (soft - soft.detach())
