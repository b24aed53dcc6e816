"""Extrema and sorting, replaced.

Each function gets the block's options and torch's own arguments, and returns what it ran and the
result: exact expectations.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import soft
from ..distributions import AbstractDistribution
from .options import Options
from .origins import OrderStatistic, remember
from .soft_tensors import SoftIndex, refusal


Result = tuple[str, Any]


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


def _extremum(o: Options, rows: Tensor, law: AbstractDistribution, largest: bool) -> Result:
    """[..., n] -> [...]"""
    twin = soft.amax if largest else soft.amin
    return f"ts.soft.{twin.__name__}", twin(rows, -1, law)


def _place_of_extremum(
    o: Options, rows: Tensor, law: AbstractDistribution, largest: bool
) -> Result:
    """[..., n] -> [..., n]"""
    twin = soft.argmax if largest else soft.argmin
    return f"ts.soft.{twin.__name__}", twin(rows, -1, law)


def among_first(o: Options) -> Callable[[OrderStatistic, int], Tensor]:
    """The probability of each element to be among the k largest, or smallest, along a dimension."""

    def probability(origin: OrderStatistic, k: int) -> Tensor:
        x, dim = origin.input, origin.dim
        rows, law = _row(o, x) if dim is None else _rows(o, x, dim)
        n = rows.shape[-1]
        if k in (0, n):
            p = torch.full_like(rows, float(k > 0))
        elif k == 1:
            _, p = _place_of_extremum(o, rows, law, origin.largest)
        else:
            p = soft.topk_mask(rows, k, law, largest=origin.largest)
        return p.reshape(x.shape) if dim is None or not x.ndim else p.movedim(-1, dim)

    return probability


def _remember(
    value: Tensor, input: Tensor, dim: int | None, largest: bool, kept: bool, count: int
) -> None:
    """Remembers the value as the first `count` of the ordered elements of the input."""
    dim = None if dim is None or not input.ndim else dim % input.ndim
    rank = 0 if count == 1 else None
    remember(value, OrderStatistic(input, dim, largest, count, rank, kept or dim is None))


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
        if len(dims) in (1, input.ndim):
            only = dims[0] if len(dims) == 1 else None
            _remember(value, input, only, largest, keepdim or input.ndim < 2, 1)
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
    """The order statistics, and the probabilities of who holds each place."""
    rows, law = _rows(o, input, dim)
    values = soft.sort(rows, law, descending=descending)[..., :count]
    places = values.movedim(-1, dim) if input.ndim else values.squeeze(-1)
    if input.ndim:
        _remember(places, input, dim, descending, True, values.shape[-1])

    def compute() -> Tensor:
        p = soft.topk(rows, values.shape[-1], law, largest=descending)
        return p.movedim(-2, dim % input.ndim) if input.ndim else p.squeeze(-2)

    return places, SoftIndex(compute, places.shape)


def sort(
    o: Options, input: Tensor, dim: int = -1, descending: bool = False, stable: Any = None
) -> Result:
    kind: Any = torch.return_types.sort
    return "ts.soft.sort", kind(_order(o, input, dim, descending))


def argsort(
    o: Options, input: Tensor, dim: int = -1, descending: bool = False, stable: Any = None
) -> Result:
    rows, law = _rows(o, input, dim)
    p = soft.argsort(rows, law, descending=descending)
    p = p.movedim(-2, dim % input.ndim) if input.ndim else p.squeeze(-2)
    return "ts.soft.argsort", SoftIndex(p)


def msort(o: Options, input: Tensor) -> Result:
    return "ts.soft.sort", _order(o, input, 0, False)[0]


def topk(
    o: Options, input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> Result:
    kind: Any = torch.return_types.topk
    return "ts.soft.sort", kind(_order(o, input, dim, largest, k))


def median(o: Options, input: Tensor, dim: int | None = None, keepdim: bool = False) -> Result:
    rows, law = _row(o, input) if dim is None else _rows(o, input, dim)
    value = soft.median(rows, law, keepdim=keepdim)
    if dim is None:
        return "ts.soft.median", value
    if keepdim and input.ndim:
        value = value.movedim(-1, dim)

    def compute() -> Tensor:
        middle = (rows.shape[-1] - 1) // 2
        p = soft.topk(rows, middle + 1, law, largest=False)[..., middle, :]
        return _kept(p, dim, input) if keepdim else p

    kind: Any = torch.return_types.median
    if not input.ndim:
        value = value.reshape(())
    return "ts.soft.median", kind((value, SoftIndex(compute, value.shape)))


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
    value = soft.quantile(rows, q, law)
    if keepdim and dim is None:
        value = value.reshape((*value.shape, *(1 for _ in input.shape)))
    elif keepdim and dim is not None and input.ndim:
        several = value.ndim - (rows.ndim - 1)  # the dimension of q, in front
        value = value.unsqueeze(several + dim % input.ndim)
    return "ts.soft.quantile", value
