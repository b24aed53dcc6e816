"""Relaxed samples of categorical variables."""

import math
import numbers

import torch
from torch import Tensor

from .._checks import check_bool, check_dim, check_floating
from .._dtypes import compute_dtype
from .._straight_through import straight_through
from .._torch_internals import values_are_readable
from ..distributions import Gumbel
from ..samplers import MonteCarlo, seed_tensor


def gumbel_softmax(
    logits: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    dim: int = -1,
    hard: bool = False,
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns a sample of a categorical variable, relaxed so that it has a gradient.

    The sample is softmax((logits + Gumbel noise) / temperature), from the concrete law. Unlike the
    rest of this module it is random, not an expectation: its largest element is a sample of
    softmax(logits). The expectation is `argmax(logits, dim, Gumbel())`.

    **Arguments:**

    - `logits`: floating-point tensor of unnormalised log probabilities; -inf for impossible
        categories. Half types are computed in float32.
    - `temperature`: a positive number, or a floating-point tensor of one element, which may require
        grad. Towards 0 the samples become one-hot.
    - `dim`: the dimension of the categories.
    - `hard`: whether the value is the one-hot sample, with the gradient of the relaxed one
        (straight-through, biased).
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator. The
        same seed gives the same noise on every device.

    **Returns:** a tensor of the shape and type of `logits` that sums to 1 along `dim`.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", 2017
    (arXiv:1611.01144); Maddison, Mnih and Teh, "The concrete distribution", 2017
    (arXiv:1611.00712).

    >>> import torch, torchsmooth as ts
    >>> logits = torch.tensor([0.0, 5.0, -torch.inf])
    >>> ts.soft.gumbel_softmax(logits, 0.5, hard=True, seed=0)
    tensor([0., 1., 0.])
    """
    logits = check_floating(logits, "logits")
    dim = check_dim(dim, logits)
    check_bool(hard, "hard")
    temperature = _check_temperature(temperature)
    rows = logits.movedim(dim, -1).to(compute_dtype(logits.dtype))
    n = rows.shape[-1]
    noise, _ = Gumbel().draw(_words(math.prod(rows.shape[:-1]), n, seed, rows.device), rows.dtype)
    noisy = rows + noise.reshape(rows.shape)
    soft = torch.softmax(noisy / temperature, -1)
    if hard and n > 0:
        choice = noisy.detach().argmax(-1, keepdim=True)
        one_hot = torch.zeros_like(soft).scatter(-1, choice, 1.0)
        soft = straight_through(one_hot, soft)
    return soft.movedim(-1, dim).to(logits.dtype)


def _check_temperature(temperature: object) -> float | Tensor:
    expected = "temperature must be a positive number, or a tensor of one"
    if isinstance(temperature, Tensor):
        if temperature.numel() != 1 or not temperature.is_floating_point():
            raise ValueError(
                f"{expected}, got {temperature.dtype} of shape {tuple(temperature.shape)}; pass "
                "for example 1.0"
            )
        if values_are_readable(temperature) and not 0 < temperature.item() < math.inf:
            raise ValueError(f"{expected}, got {temperature.item()}; pass for example 1.0")
        return temperature.reshape(())
    if isinstance(temperature, bool) or not isinstance(temperature, numbers.Real):
        raise TypeError(f"{expected}, got {temperature!r}; pass for example 1.0")
    number = float(temperature)
    if not 0 < number < math.inf:
        raise ValueError(f"{expected}, got {temperature}; pass for example 1.0")
    return number


def _words(rows: int, n: int, seed: int | Tensor | None, device: torch.device) -> Tensor:
    """Words for independent noise, [rows, n]."""
    sampler = MonteCarlo()
    result: Tensor = torch.ops.torchsmooth.words(
        seed_tensor(seed, device),
        sampler.directions(n, device),
        sampler.name,
        False,
        max(rows, 1),
        n,
        0,
        rows,
    )
    return result
