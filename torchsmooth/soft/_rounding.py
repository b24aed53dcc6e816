"""Staircase functions, smoothed exactly."""

import numbers
from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_floating
from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution
from ._operands import elementwise


def round(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E round(x + noise).

    At halves torch rounds to the even neighbour; single points do not change the expectation.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale. For
    scales that are large against 1 it is x plus the mean of the noise, plus a wave that vanishes.

    **Raises:** TypeError if `x` is not a floating-point tensor; ValueError if the distribution has
    a `scale_matrix`, if the noise has no mean (Cauchy), because then the expectation does not
    exist, or if no closed form is known (`FromTorch`).

    **Source:** the Fourier series is that of Widrow, "A study of rough amplitude quantization by
    means of Nyquist sampling theory", IRE Transactions on Circuit Theory 3, 1956.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.4, 0.5, 1.0])
    >>> ts.soft.round(x, ts.Gaussian(0.1))
    tensor([0.1587, 0.5000, 1.0000])
    >>> ts.soft.round(x, ts.Gaussian(2.0))
    tensor([0.4000, 0.5000, 1.0000])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    nearest, offset = _nearest(x)
    return (nearest + law.expected_steps(0.5 + offset, 0.5 - offset)).to(dtype)


def floor(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E floor(x + noise).

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** as `round`.

    **Source:** the Fourier series is that of Widrow, "A study of rough amplitude quantization by
    means of Nyquist sampling theory", IRE Transactions on Circuit Theory 3, 1956.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.floor(torch.tensor([0.0, 0.1, 0.5]), ts.Gaussian(0.1))
    tensor([-0.5000, -0.1587,  0.0000])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    below, steps = _floor(x, law)
    return (below + steps).to(dtype)


def ceil(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E ceil(x + noise) = floor(x) + 1, because the noise never hits an integer.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** as `round`.

    **Source:** the Fourier series is that of Widrow, "A study of rough amplitude quantization by
    means of Nyquist sampling theory", IRE Transactions on Circuit Theory 3, 1956.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.ceil(torch.tensor([0.0, 0.1, 0.5]), ts.Gaussian(0.1))
    tensor([0.5000, 0.8413, 1.0000])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    below, steps = _floor(x, law)
    return ((below + 1) + steps).to(dtype)


def trunc(x: Tensor, distribution: AbstractDistribution) -> Tensor:
    """Returns E trunc(x + noise): the floor of positive numbers, the ceiling of negative ones.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale.

    **Raises:** as `round`.

    **Source:** the Fourier series is that of Widrow, "A study of rough amplitude quantization by
    means of Nyquist sampling theory", IRE Transactions on Circuit Theory 3, 1956.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.trunc(torch.tensor([0.0, 0.9, -1.5]), ts.Gaussian(0.1))
    tensor([ 0.0000,  0.1587, -1.0000])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    # Numbers below 0 are rounded up: this is the floor without its step at 0.
    central = (x > -0.5) & (x < 0.5)
    below, steps = _floor(x, law, central)
    rest = torch.where(central, steps, steps + law.probability_negative(x))
    return (torch.where(central, 0.0, below) + rest).to(dtype)


def quantize(
    x: Tensor, levels: Tensor | Sequence[float], distribution: AbstractDistribution
) -> Tensor:
    """Returns the expectation of the level that is nearest to x + noise.

    It exists for every law, Cauchy and `FromTorch` included.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32.
    - `levels`: floating-point tensor [k] or numbers, increasing, k >= 1. It may require grad: its
        gradient is that of the expectation, including the motion of the thresholds halfway between
        the levels.
    - `distribution`: the law of the noise, with a scale that broadcasts against `x`. The scale may
        require grad.

    **Returns:** a tensor of the broadcast shape and the promoted type of `x` and the scale. Memory
    grows with k.

    **Raises:** TypeError if `x` or `levels` is not floating-point; ValueError if `levels` is not
    one row of increasing, finite numbers, or if the distribution has a `scale_matrix`.

    >>> import torch, torchsmooth as ts
    >>> ts.soft.quantize(torch.tensor([-9.0, 0.0, 9.0]), [-1.0, 0.5, 2.0], ts.Logistic(0.1))
    tensor([-1.0000,  0.3862,  2.0000])
    """
    law, dtype, (x,) = elementwise(x, distribution)
    expected = "levels must be one row of increasing numbers, all of them finite"
    if not isinstance(levels, Tensor):
        if not isinstance(levels, Sequence) or not all(isinstance(v, numbers.Real) for v in levels):
            raise TypeError(f"{expected}, got {levels!r}; pass for example [0.0, 1.0]")
        levels = torch.tensor([float(level) for level in levels], dtype=x.dtype, device=x.device)
    levels = check_floating(levels, "levels").to(x.dtype)
    if levels.ndim != 1 or levels.numel() == 0:
        raise ValueError(
            f"{expected}, got shape {tuple(levels.shape)}; pass for example [0.0, 1.0]"
        )
    if values_are_readable(levels) and not bool(
        (levels.diff() > 0).all() & levels.isfinite().all()
    ):
        raise ValueError(f"{expected}, got {levels.tolist()}; sort them and leave out repetitions")
    # The levels get the first dimension, so that the scale broadcasts as it does against x.
    ndim = max(x.ndim, law.scale.ndim if isinstance(law.scale, Tensor) else 0)
    column = levels.reshape(-1, *(1 for _ in range(ndim)))
    thresholds = 0.5 * (column[1:] + column[:-1])
    climbed = column.diff(dim=0) * law.probability_positive(x - thresholds)
    return (column[0] + climbed.sum(0)).to(dtype)


def _nearest(x: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest integer and the offset from it, 0 for infinities."""
    nearest = x.round()
    return nearest, torch.where(x.isinf(), 0.0, x - nearest)


def _floor(
    x: Tensor, law: AbstractDistribution, missing: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The floor without noise, and the expected number of steps that the noise climbs.

    Steps are counted from the side of the nearest one: x - floor(x) would lose a small distance to
    the step above.
    """
    nearest, offset = _nearest(x)
    beyond = offset >= 0
    below = torch.where(beyond, offset, 1 + offset)
    above = torch.where(beyond, 1 - offset, -offset)
    return torch.where(beyond, nearest, nearest - 1), law.expected_steps(below, above, missing)
