"""Bisection: the derivative of the smoothed algorithm, and that of the root."""

import math
import numbers
from collections.abc import Callable

import torch
from torch import Tensor

from .._checks import check_floating, check_int
from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution
from ._elementwise import heaviside


def bisect(
    g: Callable[..., Tensor],
    lo: float | Tensor,
    hi: float | Tensor,
    *params: Tensor,
    num_steps: int,
    distribution: AbstractDistribution,
) -> Tensor:
    """Returns the end point of bisection with noisy decisions, and the algorithm's derivative.

    Bisection keeps the half of the bracket [a, b] in which g changes its sign. With the midpoint m,
    it continues with [m, b] if g(a) g(m) > 0, else with [a, m]. Here both halves are blended after
    every step,

        p = P(g(a) g(m) + noise > 0),    [a, b]  <-  p [m, b] + (1 - p) [a, m],

    and the next step starts from the blend.

    The derivative is that of the *algorithm*, not of the root. As the scale goes to 0, the result
    goes to that of hard bisection, which is a staircase in the parameters. The derivative goes to 0
    nearly everywhere, and is large, of either sign, near the parameters at which a midpoint is a
    root. Its average over many stairs is the derivative of the root. `implicit_bisect` returns that
    derivative at every point, for any g that is smooth at its root.

    The result also differs from the expectation of bisection under noise, because every decision
    after the first is taken at the blended bracket and not at each of the possible brackets. The
    noise is on a product of two values of g, both of which go to 0. Brackets narrower than about
    the root of the scale, over |dg/dx|, are therefore decided by chance and shrink around their
    middle.

    **Arguments:**

    - `g`: maps a tensor x, and `params`, to a floating-point tensor, element by element: one
        equation for each element of x, all solved at once.
    - `lo`, `hi`: the ends of the bracket, numbers or floating-point tensors, which broadcast
        against each other and against the values of g. They may require grad.
    - `params`: passed to g. Tensors in g's closure get their derivatives too.
    - `num_steps`: how often the bracket is halved, at least 0.
    - `distribution`: the law of the noise on g(a) g(m), in units of g squared. `ts.Logistic(1 / k)`
        gives the sigmoid of steepness k.

    **Returns:** the midpoint of the last bracket, of the broadcast shape and the type of g's
    values. Half types lose the bracket after few steps: use float32 or float64.

    **Raises:** TypeError if an argument or a value of g is of another type; ValueError if lo > hi
    (checked on the CPU in eager mode only), if g does not keep the shape of x, or if `num_steps` is
    negative.

    **Source:** A. Kovalov, "Smooth relaxation of discrete structure-induced discontinuities", 2025.

    >>> import torch, torchsmooth as ts
    >>> theta = torch.tensor(0.3, requires_grad=True)
    >>> root = ts.soft.bisect(
    ...     lambda x, theta: x - theta, 0.0, 1.0, theta, num_steps=8, distribution=ts.Logistic(1e-8)
    ... )
    >>> root
    tensor(0.2988, grad_fn=<AddBackward0>)
    """
    num_steps = check_int(num_steps, "num_steps", 0, 20)
    a, b = bracket(g, lo, hi, params)
    # Both ends move by the same p, so that blended brackets are halved exactly, too.
    width = 0.5 * (b - a)
    for _ in range(num_steps):
        p = heaviside(evaluate(g, a, params) * evaluate(g, a + width, params), distribution)
        a = a + p * width
        width = 0.5 * width
    return a + width


def implicit_bisect(
    g: Callable[..., Tensor],
    lo: float | Tensor,
    hi: float | Tensor,
    *params: Tensor,
    num_steps: int | None = None,
) -> Tensor:
    """Returns the root that bisection finds, with the derivative of the root.

    The value is that of hard bisection. The derivative is that of the implicit function theorem:
    from g(x, theta) = 0 follows dx/dtheta = -(dg/dtheta) / (dg/dx). There is no noise and no scale.
    The derivatives in the ends of the bracket are 0. Derivatives up to the third are exact.

    **Arguments:**

    - `g`: as for `bisect`; differentiable in x near the root, by `torch.func.grad`.
    - `lo`, `hi`: as for `bisect`; g has different signs there, or is 0.
    - `params`: passed to g. Tensors in g's closure get their derivatives too.
    - `num_steps`: how often the bracket is halved, at least 0. None for as often as the type of g's
        values resolves (26 times in float32, 55 times in float64), that is to a width of (hi - lo)
        / 2^num_steps. A compiled graph grows with it.

    **Returns:** the root, of the broadcast shape and the type of g's values. If the bracket holds
    several roots, it is the one at which bisection ends, with the derivative of this root. The
    derivative does not include that other parameters may lead to another root. Where dg/dx is 0,
    the root may have no derivative, and the derivative is NaN.

    **Raises:** TypeError if an argument or a value of g is of another type; ValueError if lo > hi,
    if g has the same sign at both ends, if g does not keep the shape of x, or if `num_steps` is
    negative. Values are checked on the CPU in eager mode only; elsewhere, elements without a change
    of sign, or with NaN, are NaN.

    **Source:** Blondel et al., "Efficient and modular implicit differentiation", 2022
    (arXiv:2105.15183).

    >>> import torch, torchsmooth as ts
    >>> theta = torch.tensor(2.0, requires_grad=True)
    >>> root = ts.soft.implicit_bisect(lambda x, theta: x**2 - theta, 0.0, 2.0, theta)
    >>> root, torch.autograd.grad(root, theta)  # sqrt(2), 1 / (2 sqrt(2))
    (tensor(1.4142, grad_fn=<SubBackward0>), (tensor(0.3536),))
    """
    a, b = (end.detach() for end in bracket(g, lo, hi, params))
    if num_steps is None:
        num_steps = 3 - int(math.log2(torch.finfo(a.dtype).eps))
    num_steps = check_int(num_steps, "num_steps", 0, 55)
    with torch.no_grad():
        start, end = (evaluate(g, x, params).sign() for x in (a, b))
        crossing = start * end <= 0  # NaN is no crossing
        if values_are_readable(crossing) and bool((start * end > 0).any()):
            raise ValueError(
                "g must have different signs at lo and hi, or be 0 at one of them, got the same "
                f"sign at {int((start * end > 0).sum())} of {crossing.numel()} elements; choose a "
                "bracket with a root"
            )
        # The moving end is used as rarely as possible: compilers repeat its computation, which is
        # that of all steps before, at every use.
        width = 0.5 * (b - a)
        for _ in range(num_steps):
            beyond = start * evaluate(g, a + width, params) > 0
            a = a + torch.where(beyond, width, 0.0)
            width = 0.5 * width
        root = torch.where(crossing, a + width, math.nan)
    return _attach(g, root, params)


def _attach(g: Callable[..., Tensor], root: Tensor, params: tuple[Tensor, ...]) -> Tensor:
    """The root, with the derivatives of the root of g - (g at the root).

    Newton steps that start at a root do not move, but every step doubles the order up to which the
    derivatives in the parameters of g are exact. Two steps make it 3, and the step is built from
    differentiable operations.
    """
    residual = evaluate(g, root, params).detach()  # the remainder of bisection

    def total(x: Tensor) -> Tensor:
        return evaluate(g, x, params).sum()

    x = root
    for _ in range(2):
        slope = torch.func.grad(total)(x)
        flat = slope == 0
        height = evaluate(g, x, params) - residual
        step = height / torch.where(flat, 1.0, slope)
        # 0, with a derivative of NaN; elsewhere its argument is 1, whose derivative is harmless.
        undefined = torch.where(flat, height, 1.0).abs().sqrt()
        x = x - torch.where(flat, undefined, step)
    return x


def evaluate(g: Callable[..., Tensor], x: Tensor, params: tuple[Tensor, ...]) -> Tensor:
    value = g(x, *params)
    if value.shape != x.shape:
        raise ValueError(
            "g must work element by element, got values of shape "
            f"{tuple(value.shape)} for x of shape {tuple(x.shape)}; expand lo and hi to the shape "
            "of the equations"
        )
    return value


def bracket(
    g: Callable[..., Tensor], lo: object, hi: object, params: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Both ends, of the shape and the type of g's values."""
    if not callable(g):
        raise TypeError(
            f"g must be a function, got {type(g).__name__}; pass the function whose root is sought"
        )
    given = [x for x in (lo, hi, *params) if isinstance(x, Tensor) and x.is_floating_point()]
    like = given[0] if given else torch.empty(())
    value = check_floating(g(_end(lo, "lo", like), *params), "the value of g")
    a, b = _end(lo, "lo", value).to(value.dtype), _end(hi, "hi", value).to(value.dtype)
    a, b, _ = torch.broadcast_tensors(a, b, value)
    if values_are_readable(a) and values_are_readable(b) and bool((a > b).any()):
        raise ValueError(
            f"lo must not be larger than hi, got lo={lo!r} and hi={hi!r}; exchange them"
        )
    return a, b


def _end(value: object, name: str, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return check_floating(value, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be a number or a floating-point tensor, got {value!r}; pass for example "
            "0.0"
        )
    return torch.full((), float(value), dtype=like.dtype, device=like.device)
