"""Elementwise functions with a jump or a kink, smoothed exactly."""

import torch
from torch import Tensor

from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution
from ._operands import elementwise, pair


def heaviside(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns P(x + noise > 0), the smoothed step.

    It is 1 - F(-x) for the distribution function F of the noise, which is F(x) only for symmetric
    laws: 0.632 at 0 for Gumbel noise. Logistic noise gives the sigmoid.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. Its scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** TypeError if `x` is no floating-point tensor, ValueError if the distribution has a
    `scale_matrix`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.heaviside(torch.tensor([-1.0, 0.0, 1.0]), ts.Logistic(0.5))
    tensor([0.1192, 0.5000, 0.8808])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    return law.probability_positive(x).to(dtype)


def log_heaviside(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns log P(x + noise > 0), accurate where the probability itself underflows.

    **Arguments:** as for `heaviside`.

    **Returns:** a tensor of the broadcast shape; -inf, with derivative 0, where a law of compact
    support cannot reach the step.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.log_heaviside(torch.tensor([-40.0, 0.0]), ts.Gaussian())
    tensor([-8.0461e+02, -6.9315e-01])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    return law.log_probability_above(-x).to(dtype)


def sign(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E sign(x + noise) = 2 heaviside(x) - 1.

    **Arguments:** as for `heaviside`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.sign(torch.tensor([-1.0, 0.0, 1.0]), ts.Logistic(0.5))  # tanh(x)
    tensor([-0.7616,  0.0000,  0.7616])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    return (2 * law.probability_positive(x) - 1).to(dtype)


def abs(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E |x + noise|.

    **Arguments:** as for `heaviside`.

    **Raises:** also ValueError if the noise has no mean (Cauchy), because then the expectation does
    not exist, or if no closed form is known (`FromTorch`).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.abs(torch.tensor([-2.0, 0.0]), ts.Laplace())  # |x| + exp(-|x|)
    tensor([2.1353, 1.0000])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    gap = law.relu_gap(x)
    return (torch.where(x > 0, x, -x) + 2 * gap - law.mean()).to(dtype)


def relu(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E max(x + noise, 0), the integral of `heaviside`.

    Logistic noise gives the softplus.

    **Arguments:** as for `heaviside`.

    **Raises:** as `abs`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.relu(torch.tensor([-1.0, 0.0, 1.0]), ts.Logistic())
    tensor([0.3133, 0.6931, 1.3133])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    return (torch.where(x > 0, x, 0.0) + law.relu_gap(x)).to(dtype)


def clamp(
    x: Tensor, lo: float | Tensor, hi: float | Tensor, distribution: AbstractDistribution
) -> Tensor:
    """Returns E clamp(x + noise, lo, hi).

    **Arguments:**

    - `x`, `distribution`: as for `heaviside`.
    - `lo`, `hi`: numbers or floating-point tensors that broadcast against `x`, lo <= hi. They may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type. The expectation exists for
    every law, Cauchy included, as long as both bounds are finite.

    **Raises:** also ValueError if lo > hi, if a bound is infinite and the noise has no mean, or if
    no closed form is known (`FromTorch`).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.clamp(torch.tensor([-9.0, 0.5, 9.0]), 0.0, 1.0, ts.Gaussian(0.5))
    tensor([0.0000, 0.5000, 1.0000])
    """
    law, dtype, (x, low, high) = elementwise(x, distribution, lo=lo, hi=hi)
    if values_are_readable(low) and values_are_readable(high):
        if bool((low > high).any()):
            raise ValueError(
                f"lo must not be larger than hi, got lo={lo!r} and hi={hi!r}; exchange them"
            )
        if bool((low.isinf() | high.isinf()).any()):
            law.mean()  # raises if there is none
    return law.expected_clamp(x, low, high).to(dtype)


def maximum(a: Tensor | float, b: Tensor | float, distribution: AbstractDistribution) -> Tensor:
    """Returns E max(a + noise, b): the noise is on the difference a - b.

    With Logistic noise that is the logsumexp of the two, which is also what `amax` gives under
    Gumbel noise of the same scale on each (less Euler's constant times the scale).

    **Arguments:**

    - `a`, `b`: floating-point tensors that broadcast; one of them may be a number.
    - `distribution`: as for `heaviside`.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** as `abs`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.maximum(torch.tensor([-3.0, 0.0, 3.0]), 0.0, ts.Logistic())
    tensor([0.0486, 0.6931, 3.0486])
    """
    law, dtype, (a, b) = pair(a, b, distribution)
    difference = a - b
    return (torch.where(difference > 0, a, b) + law.relu_gap(difference)).to(dtype)


def minimum(a: Tensor | float, b: Tensor | float, distribution: AbstractDistribution) -> Tensor:
    """Returns E min(a + noise, b): the noise is on the difference a - b.

    `maximum(a, b) + minimum(a, b)` is a + b, plus the mean of the noise.

    **Arguments:** as for `maximum`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.minimum(torch.tensor([-3.0, 0.0, 3.0]), 0.0, ts.Logistic())
    tensor([-3.0486, -0.6931, -0.0486])
    """
    law, dtype, (a, b) = pair(a, b, distribution)
    difference = a - b
    gap = law.relu_gap(difference)
    return (torch.where(difference > 0, b, a) + law.mean() - gap).to(dtype)


def threshold(
    x: Tensor, threshold: float | Tensor, value: float | Tensor, distribution: AbstractDistribution
) -> Tensor:
    """Returns E of x + noise where that exceeds the threshold, of `value` elsewhere.

    Smooths `torch.nn.functional.threshold`, which is x if x > threshold, else value.

    **Arguments:**

    - `x`, `distribution`: as for `heaviside`.
    - `threshold`, `value`: numbers or floating-point tensors that broadcast against `x`.

    **Raises:** as `abs`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.threshold(torch.tensor([-5.0, 5.0]), 1.0, -1.0, ts.Gaussian(0.5))
    tensor([-1.,  5.])
    """
    law, dtype, operands = elementwise(x, distribution, threshold=threshold, value=value)
    x, limit, low = operands
    height = x - limit
    positive = torch.where(height > 0, height, 0.0) + law.relu_gap(height)
    return (low + positive + (limit - low) * law.probability_positive(height)).to(dtype)


def hardshrink(x: Tensor, lambd: float | Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E of x + noise where its size exceeds lambd, of 0 elsewhere.

    Smooths `torch.nn.functional.hardshrink`.

    **Arguments:**

    - `x`, `distribution`: as for `heaviside`.
    - `lambd`: number or floating-point tensor that broadcasts against `x`, >= 0.

    **Raises:** also ValueError if `lambd` is negative, and as `abs`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.hardshrink(torch.tensor([0.0, 5.0]), 1.0, ts.Gaussian(0.2))
    tensor([0., 5.])
    """
    law, dtype, (x, limit) = elementwise(x, distribution, lambd=lambd)
    if values_are_readable(limit) and bool((limit < 0).any()):
        raise ValueError(f"lambd must not be negative, got {lambd!r}; pass its absolute value")
    upper, lower = x - limit, x + limit
    # E max(upper + noise, 0) and E max(-lower - noise, 0).
    above = torch.where(upper > 0, upper, 0.0) + law.relu_gap(upper)
    below = torch.where(lower > 0, 0.0, -lower) + law.relu_gap(lower) - law.mean()
    steps = law.probability_positive(upper) - law.probability_negative(lower)
    return (above - below + limit * steps).to(dtype)
