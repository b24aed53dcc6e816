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
    - `distribution`: the law of the noise on a - b, with a scale that broadcasts against it. The
        scale may require grad. If a and b each have Gumbel noise of a scale, their difference has
        Logistic noise of that scale. The noise of two Gaussians of a scale is a Gaussian of sqrt(2)
        times the scale.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** TypeError if an operand is not a floating-point tensor or number; ValueError if the
    distribution has a `scale_matrix`.

    **Source:** for logistic noise, Petersen et al., "Learning with algorithmic supervision via
    continuous relaxations", 2021 (arXiv:2110.05651).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.greater(torch.tensor([0.0, 1.0]), 0.0, ts.Logistic(0.5))
    tensor([0.5000, 0.8808])
    """
    law, dtype, (a, b) = pair(a, b, distribution)
    return law.probability_positive(a - b).to(dtype)


def less(a: Tensor | float, b: Tensor | float, distribution: AbstractDistribution) -> Tensor:
    """Returns P(a + noise < b) = 1 - greater(a, b), accurate where this is small.

    **Arguments:**

    - `a`, `b`: floating-point tensors that broadcast; one of them may be a number.
    - `distribution`: the law of the noise on a - b, with a scale that broadcasts against it. The
        scale may require grad. If a and b each have Gumbel noise of a scale, their difference has
        Logistic noise of that scale. The noise of two Gaussians of a scale is a Gaussian of sqrt(2)
        times the scale.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** TypeError if an operand is not a floating-point tensor or number; ValueError if the
    distribution has a `scale_matrix`.

    **Source:** for logistic noise, Petersen et al., "Learning with algorithmic supervision via
    continuous relaxations", 2021 (arXiv:2110.05651).

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

    - `a`, `b`: floating-point tensors that broadcast; one of them may be a number.
    - `tolerance`: number or floating-point tensor that broadcasts, >= 0. At 0 the probability is 0.
    - `distribution`: the law of the noise on a - b, as for `greater`.

    **Returns:** a tensor of the broadcast shape and the promoted type.

    **Raises:** TypeError if an operand is not a floating-point tensor or number; ValueError if the
    distribution has a `scale_matrix`, or if `tolerance` is negative (checked on the CPU in eager
    mode only).

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
