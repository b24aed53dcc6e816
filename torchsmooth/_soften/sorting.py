"""Extrema and sorting, replaced.

Each function gets the block's options and torch's own arguments, and returns what it ran and the
result. Extrema are exact under Gumbel noise and for short rows; everything else is sampled.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import functional, soft
from ..distributions import AbstractDistribution, Gumbel
from ..samplers import seed_tensor
from .options import Options
from .soft_tensors import SoftIndex, refusal


Result = tuple[str, Any]

# The exact integrals over a dimension cost the square of its size.
_LONGEST_INTEGRATED = 32


def _rows(o: Options, x: Tensor, dim: int) -> tuple[Tensor, AbstractDistribution]:
    """x and the law with the dimension at the end."""
    law = o.distribution
    if x.ndim == 0:
        x = x.reshape(1)
    if isinstance(law.scale, Tensor) and law.scale.numel() > 1:
        law = law.with_scale(law.scale.expand(x.shape).movedim(dim, -1))
    return x.movedim(dim, -1), law


def _row(o: Options, x: Tensor) -> tuple[Tensor, AbstractDistribution]:
    """x and the law as one row."""
    law = o.distribution
    if isinstance(law.scale, Tensor) and law.scale.numel() > 1:
        law = law.with_scale(law.scale.expand(x.shape).reshape(-1))
    return x.reshape(-1), law


def _kept(p: Tensor, dim: int, input: Tensor) -> Tensor:
    """[..., n] with the reduced dimension of the input at size 1."""
    return p.unsqueeze(dim % input.ndim) if input.ndim else p


def _common(law: AbstractDistribution) -> bool:
    """Whether the closed forms of the Gumbel law hold: one scale along the dimension."""
    scale = law.scale
    one = not isinstance(scale, Tensor) or scale.ndim == 0 or scale.shape[-1] == 1
    return isinstance(law, Gumbel) and one


def _sampling(o: Options, like: Tensor) -> dict[str, Any]:
    return {"num_samples": o.num_samples, "seed": seed_tensor(o.seed, like.device)}


def _extremum(o: Options, rows: Tensor, law: AbstractDistribution, largest: bool) -> Result:
    """[..., n] -> [...]"""
    if largest and _common(law):
        return "ts.soft.amax", soft.amax(rows, -1, law)
    if rows.shape[-1] <= _LONGEST_INTEGRATED:
        twin = soft.amax if largest else soft.amin
        return f"ts.soft.{twin.__name__}", twin(rows, -1, law)
    law.mean()  # raises if there is none
    value = functional.quantile(rows, 1.0 if largest else 0.0, law, **_sampling(o, rows))
    return "ts.functional.quantile", value


def _place_of_extremum(
    o: Options, rows: Tensor, law: AbstractDistribution, largest: bool
) -> Result:
    """[..., n] -> [..., n]"""
    if largest and _common(law):
        return "ts.soft.argmax", soft.argmax(rows, -1, law)
    if rows.shape[-1] <= _LONGEST_INTEGRATED:
        twin = soft.argmax if largest else soft.argmin
        return f"ts.soft.{twin.__name__}", twin(rows, -1, law)
    first = functional.topk(rows, 1, law, largest=largest, **_sampling(o, rows))
    return "ts.functional.topk", first.squeeze(-2)


def amax_or_amin(largest: bool) -> Callable[..., Result]:
    def apply(o: Options, input: Tensor, dim: Any = (), keepdim: bool = False) -> Result:
        dims = tuple(dim) if isinstance(dim, list | tuple) else (dim,)
        dims = tuple(d % max(input.ndim, 1) for d in dims) or tuple(range(input.ndim))
        if len(dims) == 1:
            rows, law = _rows(o, input, dims[0])
        elif len(dims) == input.ndim:
            rows, law = _row(o, input)
        else:
            kept = [d for d in range(input.ndim) if d not in dims]
            rows = input.permute(*kept, *dims).flatten(len(kept))
            law = o.distribution
            if isinstance(law.scale, Tensor) and law.scale.numel() > 1:
                scale = law.scale.expand(input.shape).permute(*kept, *dims)
                law = law.with_scale(scale.flatten(len(kept)))
        twin, value = _extremum(o, rows, law, largest)
        if keepdim:
            value = value.reshape([1 if d in dims else n for d, n in enumerate(input.shape)])
        return twin, value

    return apply


def max_or_min(largest: bool, pair: Callable[..., Result]) -> Callable[..., Result]:
    extremum = amax_or_amin(largest)
    kind: Any = torch.return_types.max if largest else torch.return_types.min

    def apply(
        o: Options, input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None
    ) -> Result:
        if other is not None or isinstance(dim, Tensor):
            return pair(o, input, dim if other is None else other)
        if dim is None:
            return extremum(o, input)
        twin, value = extremum(o, input, dim, keepdim)

        def compute() -> Tensor:
            _, p = _place_of_extremum(o, *_rows(o, input, dim), largest)
            return _kept(p, dim, input) if keepdim else p

        return twin, kind((value, SoftIndex(compute, value.shape)))

    return apply


def argmax_or_argmin(largest: bool) -> Callable[..., Result]:
    def apply(o: Options, input: Tensor, dim: int | None = None, keepdim: bool = False) -> Result:
        rows, law = _row(o, input) if dim is None else _rows(o, input, dim)
        twin, p = _place_of_extremum(o, rows, law, largest)
        if dim is None:
            p = p.reshape(*([1] * input.ndim if keepdim else []), p.shape[-1])
        elif keepdim:
            p = _kept(p, dim, input)
        return twin, SoftIndex(p)

    return apply


def _order(
    o: Options, input: Tensor, dim: int, descending: bool, count: int | None = None
) -> tuple[Tensor, SoftIndex]:
    """The order statistics and the law of who holds each place, from the same noise."""
    rows, law = _rows(o, input, dim)
    law.mean()  # raises if there is none: then the outermost have no expectation
    sampling = _sampling(o, input)
    values = functional.sort(rows, law, descending=descending, **sampling)[..., :count]
    places = values.movedim(-1, dim) if input.ndim else values.squeeze(-1)

    def compute() -> Tensor:
        p = functional.topk(rows, values.shape[-1], law, largest=descending, **sampling)
        return p.movedim(-2, dim % input.ndim) if input.ndim else p.squeeze(-2)

    return places, SoftIndex(compute, places.shape)


def sort(
    o: Options, input: Tensor, dim: int = -1, descending: bool = False, stable: Any = None
) -> Result:
    kind: Any = torch.return_types.sort
    return "ts.functional.sort", kind(_order(o, input, dim, descending))


def argsort(
    o: Options, input: Tensor, dim: int = -1, descending: bool = False, stable: Any = None
) -> Result:
    rows, law = _rows(o, input, dim)
    p = functional.argsort(rows, law, descending=descending, **_sampling(o, input))
    p = p.movedim(-2, dim % input.ndim) if input.ndim else p.squeeze(-2)
    return "ts.functional.argsort", SoftIndex(p)


def msort(o: Options, input: Tensor) -> Result:
    return "ts.functional.sort", _order(o, input, 0, False)[0]


def topk(
    o: Options, input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> Result:
    kind: Any = torch.return_types.topk
    return "ts.functional.sort", kind(_order(o, input, dim, largest, k))


def median(o: Options, input: Tensor, dim: int | None = None, keepdim: bool = False) -> Result:
    rows, law = _row(o, input) if dim is None else _rows(o, input, dim)
    sampling = _sampling(o, input)
    value = functional.median(rows, law, keepdim=keepdim, **sampling)
    if dim is None:
        return "ts.functional.median", value
    if keepdim and input.ndim:
        value = value.movedim(-1, dim)

    def compute() -> Tensor:
        middle = (rows.shape[-1] - 1) // 2
        p = functional.topk(rows, middle + 1, law, largest=False, **sampling)[..., middle, :]
        return _kept(p, dim, input) if keepdim else p

    kind: Any = torch.return_types.median
    if not input.ndim:
        value = value.reshape(())
    return "ts.functional.median", kind((value, SoftIndex(compute, value.shape)))


def quantile(
    o: Options,
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Result:
    if interpolation != "linear":
        raise refusal(
            f"quantile with interpolation={interpolation!r} has no smooth twin",
            'use interpolation="linear"',
        )
    rows, law = _row(o, input) if dim is None else _rows(o, input, dim)
    value = functional.quantile(rows, q, law, **_sampling(o, input))
    if keepdim and dim is None:
        value = value.reshape((*value.shape, *(1 for _ in input.shape)))
    elif keepdim and dim is not None and input.ndim:
        several = value.ndim - (rows.ndim - 1)  # the dimension of q, in front
        value = value.unsqueeze(several + dim % input.ndim)
    return "ts.functional.quantile", value
