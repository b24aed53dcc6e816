"""Sums over the samples, for the mean: nothing of their number is kept."""

from typing import NamedTuple, final

import torch
from torch import Tensor

from .._kernels.noise import scale_score_size
from .._torch_internals import has_tangent, requires_grad
from .._typing import ScaleScore
from ..statistics import Mean
from .accumulator import AbstractAccumulator
from .jacobian_rule import Jacobians
from .noise import Noise
from .process_group import Ranks
from .samples import Samples


class _Sums(NamedTuple):
    """Over the samples that have come, of each batch element."""

    total: Tensor  # [B, M], of the outputs
    # Subtracted from f before it is multiplied with the scores, so that their products do not
    # cancel: f(x), or an element's first output.
    pivot: Tensor  # [B, M]
    in_x: Tensor  # [B, M + 1, n], of the products with the scores; the last row is the scores' own
    in_scale: Tensor  # [B, M + 1, 0 or n or n * n]


@final
class Sums(AbstractAccumulator):
    """The mean of f's outputs and, if it is wanted, its Jacobian.

    Outputs that have derivatives of their own are not for it, because the Jacobian would be cut off
    them: where derivatives are wanted, they go to `Samples`.

    With `omits`, samples with NaN are left out. A last column of outputs is then 1 for the others,
    and 0 for these.
    """

    def __init__(
        self,
        noise: Noise,
        elements: int,
        unperturbed: Tensor | None,  # [B, M], f(x) if it is the baseline
        pair_weight: float,
        scale_score: ScaleScore,
        wanted: bool,
        omits: bool,
    ):
        self.noise = noise
        self.elements = elements
        self.unperturbed = unperturbed
        self.pair_weight = pair_weight
        self.scale_score = scale_score
        self.wanted = wanted
        self.omits = omits
        self.sums: _Sums | None = None
        self.count: Tensor  # [B, 1], of the samples that are there, after `value` with `omits`

    def add(self, chunk: Tensor, start: int, stop: int) -> AbstractAccumulator:
        s = self.noise.source.num_samples
        first, last = start // s, -(-stop // s)
        fresh = -(-start // s)  # the first element that begins in this chunk
        if self.omits:
            chunk = _with_column(chunk)
        outputs = chunk.detach()
        if self.sums is None:
            if self.wanted and _has_derivatives(chunk):
                return Samples(Mean(), self.elements, s).add(chunk, start, stop)
            self.sums = self._zeros(outputs)
            if self.unperturbed is None and first < fresh:  # this rank begins within an element
                self.sums.pivot[first] = outputs[0]
        total, pivot, in_x, in_scale = self.sums
        total[first:last] += _sum_by_element(chunk, start, stop, s)
        if not self.wanted or start == stop:
            return self
        if self.unperturbed is None and fresh < last:
            pivot[fresh:last] = outputs[fresh * s - start :: s]
        if self.omits:
            pivot[:, -1] = 0
            element = torch.arange(start, stop, device=outputs.device) // s
            outputs = torch.where(outputs[:, -1:] > 0, outputs, pivot.index_select(0, element))
        products = self.noise.reduce(
            outputs.contiguous(), pivot, self.pair_weight, self.scale_score, start, stop
        )
        in_x[first:last] += products[0]
        in_scale[first:last] += products[1]
        return self

    def _zeros(self, like: Tensor) -> _Sums:
        columns, n = like.shape[1], self.noise.source.n
        total = like.new_zeros(self.elements, columns)
        sizes = (n, scale_score_size(self.scale_score, n)) if self.wanted else (0, 0)
        return _Sums(
            total,
            total.clone() if self.unperturbed is None else self._unperturbed_pivot(columns),
            *(like.new_zeros(self.elements, columns + 1, size) for size in sizes),
        )

    def value(self, ranks: Ranks | None) -> Tensor:  # [B, M]
        assert self.sums is not None  # some chunk has come
        total = self.sums.total if ranks is None else ranks.sum(self.sums.total)
        if self.omits:
            self.count = total[:, -1:]
            return total[:, :-1] / self.count
        return total / self.noise.source.num_samples

    def saved(
        self, value: Tensor, baseline: Tensor, factor: float, ranks: Ranks | None
    ) -> Jacobians:
        assert self.sums is not None
        _, pivot, *products = self.sums
        if self.omits:
            return self._saved_of_some(value, baseline, factor, ranks)
        shift = (pivot - baseline).unsqueeze(-1)
        in_x, in_scale = (factor * (sums[:, :-1] + shift * sums[:, -1:]) for sums in products)
        if ranks is not None:
            in_x, in_scale = ranks.sum(in_x), ranks.sum(in_scale)
        return Jacobians(in_x, in_scale, baseline)

    def _saved_of_some(
        self, value: Tensor, baseline: Tensor, factor: float, ranks: Ranks | None
    ) -> Jacobians:
        """Of the mean of those samples that are there: a ratio of two sums.

        Its derivative is that of the numerator where all are compared with the mean.
        """
        assert self.sums is not None
        _, pivot, *products = self.sums
        baseline = torch.where(self.count < self.noise.source.num_samples, value, baseline)
        shift = (pivot[:, :-1] - baseline).unsqueeze(-1)
        share = (self.noise.source.num_samples / self.count).unsqueeze(-1)
        in_x, in_scale = (
            factor * share * (sums[:, :-2] + shift * sums[:, -2:-1]) for sums in products
        )
        if ranks is not None:
            in_x, in_scale = ranks.sum(in_x), ranks.sum(in_scale)
        return Jacobians(in_x, in_scale, baseline)

    def _unperturbed_pivot(self, columns: int) -> Tensor:
        assert self.unperturbed is not None
        if self.unperturbed.shape[1] == columns:
            return self.unperturbed
        known = self.unperturbed.nan_to_num()
        return torch.cat((known, known.new_zeros(known.shape[0], 1)), 1)


def _with_column(chunk: Tensor) -> Tensor:
    if requires_grad(chunk):
        raise ValueError(
            "f must return tensors without a graph with nan_policy='omit', got one that requires "
            "grad; detach what f returns, or define f wherever noise leads"
        )
    there = ~chunk.isnan().any(1, keepdim=True)
    return torch.cat((torch.where(there, chunk, 0), there.to(chunk.dtype)), 1)


def _has_derivatives(outputs: Tensor) -> bool:
    """Whether f's outputs depend on parameters or arguments that someone differentiates in."""
    return requires_grad(outputs) or has_tangent(outputs)


def _sum_by_element(chunk: Tensor, start: int, stop: int, s: int) -> Tensor:
    """Sums over the rows [start, stop) of each of the elements that they belong to."""
    columns = chunk.shape[1]
    head = min(-start % s, stop - start)  # rows of an element that began before
    whole = (stop - start - head) // s
    parts = []
    if head:
        parts.append(chunk[:head].sum(0, keepdim=True))
    if whole:
        parts.append(chunk[head : head + whole * s].reshape(whole, s, columns).sum(1))
    if head + whole * s < stop - start:
        parts.append(chunk[head + whole * s :].sum(0, keepdim=True))
    return torch.cat(parts) if parts else chunk.new_zeros(0, columns)
