"""Comparisons as probabilities. The noise is on the difference a - b."""

import torch
from torch import Tensor

from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution
from ._operands import elementwise, pair


def greater(a: Tensor | float, b: Tensor | float, distribution: AbstractDistribution) -> Tensor:
    """Returns P(a + noise > b).

    **Arguments:**

    - `a`, `b`: floating-point tensors that broadcast; one of them may be a number.
    - `distribution`: the law of the noise on a - b. If a and b each have Gumbel noise of a scale,
        the difference has Logistic noise of that scale; two Gaussians add up to one of sqrt(2)
        times the scale.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** TypeError if an operand is no floating-point tensor or number, ValueError if the
    distribution has a `scale_matrix`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.greater(torch.tensor([0.0, 1.0]), 0.0, ts.Logistic(0.5))
    tensor([0.5000, 0.8808])
    """
    law, dtype, (a, b) = pair(a, b, distribution)
    return law.probability_positive(a - b).to(dtype)


def less(a: Tensor | float, b: Tensor | float, distribution: AbstractDistribution) -> Tensor:
    """Returns P(a + noise < b) = 1 - greater(a, b), accurate where that is small.

    **Arguments:** as for `greater`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.less(torch.tensor([0.0, 1.0]), 0.0, ts.Logistic(0.5))
    tensor([0.5000, 0.1192])
    """
    law, dtype, (a, b) = pair(a, b, distribution)
    return law.probability_negative(a - b).to(dtype)


def equal(
    a: Tensor | float,
    b: Tensor | float,
    tolerance: float | Tensor,
    distribution: AbstractDistribution,
) -> Tensor:
    """Returns P(|a - b + noise| < tolerance).

    **Arguments:**

    - `a`, `b`, `distribution`: as for `greater`.
    - `tolerance`: number or floating-point tensor that broadcasts, >= 0. Without one, that is at 0,
        the probability would be 0.

    **Raises:** also ValueError if `tolerance` is negative.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.equal(torch.tensor([0.0, 1.0]), 0.0, 0.5, ts.Gaussian(0.1))
    tensor([1.0000e+00, 2.8665e-07])
    """
    law, dtype, (a, b) = pair(a, b, distribution)
    _, _, (_, width) = elementwise(a, distribution, tolerance=tolerance)
    if values_are_readable(width) and bool((width < 0).any()):
        raise ValueError(f"tolerance must not be negative, got {tolerance!r}; pass for example 0.5")
    largest = 1e-6 * torch.finfo(a.dtype).max
    middle = (b - a).clamp(-largest, largest)  # a finite one, so that both ends differ
    return law.probability_between(middle - width, middle + width).to(dtype)
