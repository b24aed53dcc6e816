"""Extrema over a dimension in closed form, which only the Gumbel law has.

The maximum of Gumbel variables has a Gumbel law again. For other laws there are two roads:
`torchsmooth.functional`, which samples, and the functions named `..._quadrature`, which integrate
numerically.
"""

import torch
from torch import Tensor

from .._checks import check_bool, check_dim
from ..distributions import AbstractDistribution, Gumbel
from ._operands import elementwise


EULER = 0.57721566490153286

# exp(-REACH) is 0 in every type.
REACH = 1e3


def argmax(x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
    """Returns the probability of each element to be the largest, with Gumbel noise on all: softmax.

    **Arguments:**

    - `x`: floating-point tensor. Half types are computed in float32. Elements at -inf have
        probability 0.
    - `dim`: the dimension to reduce.
    - `distribution`: a `Gumbel`, whose scale broadcasts against `x` and is the same for all
        elements along `dim`. The scale may require grad.

    **Returns:** a tensor of the shape of `x` that sums to 1 along `dim`: the expected one-hot
    vector, softmax(x / scale).

    **Raises:** TypeError if an argument is of another type; ValueError for other laws, which have
    no closed form, or if the scale varies along `dim`.

    **Source:** Gumbel, "Statistical theory of extreme values and some practical applications",
    1954; Maddison, Tarlow and Minka, "A* sampling", 2014 (arXiv:1411.0030).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.argmax(torch.tensor([0.0, 1.0, 3.0]), 0, ts.Gumbel(1.0))
    tensor([0.0420, 0.1142, 0.8438])
    """
    return _argmax(x, dim, distribution, "argmax")


def argmin(x: Tensor, dim: int, distribution: AbstractDistribution, *, mirrored: bool) -> Tensor:
    """Returns the probability of each element to be the smallest, with mirrored Gumbel noise.

    The minimum has a closed form under the mirrored law, that of minus a Gumbel variable (whose
    upper tail is the thin one), and none under the law itself. `mirrored=True` confirms that the
    mirrored law is meant; the result is then softmax(-x / scale).

    **Arguments:**

    - `x`, `dim`, `distribution`: as for `argmax`.
    - `mirrored`: must be True.

    **Returns:** a tensor of the shape of `x` that sums to 1 along `dim`.

    **Raises:** as `argmax`; also ValueError if `mirrored` is False: `argmin_quadrature` uses the
    law itself.

    **Source:** Gumbel, "Statistical theory of extreme values and some practical applications",
    1954; Maddison, Tarlow and Minka, "A* sampling", 2014 (arXiv:1411.0030).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.argmin(torch.tensor([0.0, 1.0, 3.0]), 0, ts.Gumbel(1.0), mirrored=True)
    tensor([0.7054, 0.2595, 0.0351])
    """
    _check_mirrored(mirrored, "argmin")
    return _argmax(-x if isinstance(x, Tensor) else x, dim, distribution, "argmin")


def amax(
    x: Tensor, dim: int, distribution: AbstractDistribution, *, keepdim: bool = False
) -> Tensor:
    """Returns the expectation of the largest element, with Gumbel noise on all.

    **Arguments:**

    - `x`, `dim`, `distribution`: as for `argmax`.
    - `keepdim`: whether the reduced dimension is kept, with size 1.

    **Returns:** a tensor without the dimension: scale (logsumexp(x / scale) + Euler's constant).
    The constant is the mean of the noise.

    **Raises:** as `argmax`; also ValueError if there are no elements along `dim`.

    **Source:** Gumbel, "Statistical theory of extreme values and some practical applications",
    1954; Maddison, Tarlow and Minka, "A* sampling", 2014 (arXiv:1411.0030).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.amax(torch.tensor([0.0, 1.0, 3.0]), 0, ts.Gumbel(1e-3))
    tensor(3.0006)
    """
    return _amax(x, dim, distribution, keepdim, "amax")


def amin(
    x: Tensor,
    dim: int,
    distribution: AbstractDistribution,
    *,
    mirrored: bool,
    keepdim: bool = False,
) -> Tensor:
    """Returns the expectation of the smallest element, with mirrored Gumbel noise on all.

    **Arguments:**

    - `x`, `dim`, `distribution`, `mirrored`: as for `argmin`.
    - `keepdim`: whether the reduced dimension is kept, with size 1.

    **Returns:** a tensor without the dimension: -scale (logsumexp(-x / scale) + Euler's constant).

    **Raises:** as `argmin`; also ValueError if there are no elements along `dim`.

    **Source:** Gumbel, "Statistical theory of extreme values and some practical applications",
    1954; Maddison, Tarlow and Minka, "A* sampling", 2014 (arXiv:1411.0030).

    >>> import torch, torchsmooth as ts
    >>> ts.soft.amin(torch.tensor([0.0, 1.0, 3.0]), 0, ts.Gumbel(1e-3), mirrored=True)
    tensor(-0.0006)
    """
    _check_mirrored(mirrored, "amin")
    return -_amax(-x if isinstance(x, Tensor) else x, dim, distribution, keepdim, "amin")


def _argmax(x: Tensor, dim: int, distribution: AbstractDistribution, name: str) -> Tensor:
    _, dtype, (x,) = elementwise(x, distribution)
    dim = check_dim(dim, x)
    scale = _common_scale(distribution, x, dim, name)
    if x.shape[dim] == 0:
        return x.to(dtype)
    _, distance = _distances(x, dim, scale)
    return torch.softmax(-distance, dim).to(dtype)


def _amax(
    x: Tensor, dim: int, distribution: AbstractDistribution, keepdim: bool, name: str
) -> Tensor:
    _, dtype, (x,) = elementwise(x, distribution)
    dim = check_dim(dim, x)
    check_bool(keepdim, "keepdim")
    scale = _common_scale(distribution, x, dim, name)
    if x.shape[dim] == 0:
        raise ValueError(
            f"x must have at least one element along dim, got shape {tuple(x.shape)} and dim={dim};"
            " the maximum of nothing does not exist"
        )
    top, distance = _distances(x, dim, scale)
    result = top + scale * (torch.logsumexp(-distance, dim, keepdim=True) + EULER)
    return (result if keepdim else result.squeeze(dim)).to(dtype)


def _check_mirrored(mirrored: object, name: str) -> None:
    if check_bool(mirrored, "mirrored"):
        return
    raise ValueError(
        f"mirrored must be True, because {name} has a closed form under the mirrored law only, got "
        f"False; use ts.soft.{name}_quadrature for the noise itself"
    )


def _common_scale(law: AbstractDistribution, x: Tensor, dim: int, name: str) -> float | Tensor:
    if not isinstance(law, Gumbel):
        sampled = "ts.functional.argmax, which samples, or " if name == "argmax" else ""
        raise ValueError(
            f"distribution must be a Gumbel, the only law under which {name} has a closed form, "
            f"got {law!r}; use {sampled}ts.soft.{name}_quadrature, which integrates"
        )
    if not isinstance(law.scale, Tensor):
        assert law.scale is not None  # `elementwise` has looked
        return law.scale
    place = law.scale.ndim - (x.ndim - dim)
    if law.scale.ndim > x.ndim or (place >= 0 and law.scale.shape[place] != 1):
        raise ValueError(
            f"scale must be the same along dim {dim}, where the closed form needs one, got shape "
            f"{tuple(law.scale.shape)} for x of shape {tuple(x.shape)}; give it size 1 there, or "
            f"use ts.soft.{name}_quadrature"
        )
    return law.scale.to(x.dtype)


def _distances(x: Tensor, dim: int, scale: float | Tensor) -> tuple[Tensor, Tensor]:
    """The largest element, without its graph, and the distances below it, in scales."""
    top = x.detach().amax(dim, keepdim=True)
    distance = top - x
    beyond = distance > REACH * scale
    return top, torch.where(beyond, REACH, torch.where(beyond, 0.0, distance) / scale)
