"""Elementwise functions with a jump or a kink, smoothed exactly."""

import torch
from torch import Tensor

from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution
from ._operands import elementwise, pair


def heaviside(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns P(x + noise > 0), the smoothed step.

    It is 1 - F(-x), where F is the distribution function of the noise. This equals F(x) only for
    symmetric laws: Gumbel noise gives 0.632 at 0. Logistic noise gives the sigmoid.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`.

    **Source:** for logistic noise, Petersen et al., "Learning with algorithmic supervision via
    continuous relaxations", 2021 (arXiv:2110.05651).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.heaviside(torch.tensor([-1.0, 0.0, 1.0]), ts.Logistic(0.5))
    tensor([0.1192, 0.5000, 0.8808])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    return law.probability_positive(x).to(dtype)


def log_heaviside(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns log P(x + noise > 0), accurate where the probability itself underflows.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale. It is
    -inf, with derivative 0, where a law of compact support cannot reach the step.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.log_heaviside(torch.tensor([-40.0, 0.0]), ts.Gaussian())
    tensor([-8.0461e+02, -6.9315e-01])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    return law.log_probability_above(-x).to(dtype)


def sign(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E sign(x + noise) = 2 heaviside(x) - 1.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.sign(torch.tensor([-1.0, 0.0, 1.0]), ts.Logistic(0.5))  # tanh(x)
    tensor([-0.7616,  0.0000,  0.7616])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    return (2 * law.probability_positive(x) - 1).to(dtype)


def abs(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E |x + noise|.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`, if the noise has no mean (Cauchy), because then the expectation does not
    exist, or if no closed form is known (`FromTorch`).

    **Source:** for Gaussian noise, Leone, Nelson and Nottingham, "The folded normal distribution",
    Technometrics 3, 1961.

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

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`, if the noise has no mean (Cauchy), because then the expectation does not
    exist, or if no closed form is known (`FromTorch`).

    **Source:** for logistic noise, Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating
    second-order functional knowledge for better option pricing", NIPS 2000.

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

    - `x`: floating-point tensor. Half types are computed in float32.
    - `lo`, `hi`: numbers or floating-point tensors that broadcast against `x`, lo <= hi. They may
        require grad.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale. The
    expectation exists for every law, Cauchy included, if both bounds are finite.

    **Raises:** TypeError if an operand is not a floating-point tensor or number; ValueError if lo >
    hi (checked on the CPU in eager mode only), if a bound is infinite and the noise has no mean, if
    no closed form is known (`FromTorch`), or if the distribution has a `scale_matrix`.

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

    Logistic noise gives the logsumexp of both. `amax` gives the same under Gumbel noise of the same
    scale on each of them, plus Euler's constant times the scale.

    **Arguments:**

    - `a`, `b`: floating-point tensors that broadcast; one of them may be a number.
    - `distribution`: the law of the noise on a - b, with a scale that broadcasts against it. The
        scale may require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** TypeError if an operand is not a floating-point tensor or number; ValueError if the
    distribution has a `scale_matrix`, if the noise has no mean (Cauchy), or if no closed form is
    known (`FromTorch`).

    **Source:** for Gaussian noise, Clark, "The greatest of a finite set of random variables",
    Operations Research 9, 1961.

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

    **Arguments:**

    - `a`, `b`: floating-point tensors that broadcast; one of them may be a number.
    - `distribution`: the law of the noise on a - b, with a scale that broadcasts against it. The
        scale may require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** as `maximum`.

    **Source:** for Gaussian noise, Clark, "The greatest of a finite set of random variables",
    Operations Research 9, 1961.

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
    """Returns the expectation of x + noise where that exceeds the threshold, else of `value`.

    Smooths `torch.nn.functional.threshold`, which is x if x > threshold, else value.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `threshold`, `value`: numbers or floating-point tensors that broadcast against `x`. They may
        require grad.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`, if the noise has no mean (Cauchy), because then the expectation does not
    exist, or if no closed form is known (`FromTorch`).

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
    """Returns the expectation of x + noise where its absolute value exceeds lambd, else of 0.

    Smooths `torch.nn.functional.hardshrink`.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `lambd`: number or floating-point tensor that broadcasts against `x`, >= 0. It may require
        grad.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`, if the noise has no mean (Cauchy), because then the expectation does not
    exist, or if no closed form is known (`FromTorch`). Also ValueError if `lambd` is negative
    (checked on the CPU in eager mode only).

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
