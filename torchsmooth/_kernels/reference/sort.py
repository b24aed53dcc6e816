"""The mean outcome of sorting perturbed rows, and its gradients."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ...distributions import AbstractDistribution
from .noise import accumulator, draw_weights, pick, sums_of_products, without_bad_rows
from .samplers import overlapped, words


# Elements of the largest intermediate tensor of the ops that choose their own chunks: 32 MB.
_CHUNK_ELEMENTS = 4 * 2**20


def sort_outcome(
    y: Tensor,  # [..., n]
    descending: bool,
    output: str,
    first: int,
    last: int,
) -> Tensor:  # [..., last - first, n] for a matrix, else [..., last - first]
    """A property of a sorted row; ties go to the lower index.

    `output` "matrix": the rows `first` to `last` of the permutation matrix; "values": the elements
    at these positions; "ranks" (of all positions): the position of each element, from 1.
    """
    n = y.shape[-1]
    order = torch.argsort(y, dim=-1, descending=descending, stable=True)
    if output == "ranks":
        rank = torch.arange(1, n + 1, device=y.device, dtype=y.dtype).expand_as(y)
        return torch.empty_like(y).scatter_(-1, order, rank)
    order = order[..., first:last]
    if output == "values":
        return y.gather(-1, order)
    return (order.unsqueeze(-1) == torch.arange(n, device=y.device)).to(y.dtype)


class _Chunk(NamedTuple):
    start: int
    elements: slice  # the batch elements that the rows belong to
    element: Tensor  # [rows]
    outcome: Tensor  # [rows, m]
    score: Tensor  # [rows, n]
    scale_weight: Tensor  # [rows, n]


def _sorted_chunks(
    x: Tensor,
    scale: Tensor,
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    descending: bool,
    output: str,
    first: int,
    last: int,
    pair_weight: float,
) -> Iterator[_Chunk]:
    """Perturbs and sorts all samples, in chunks of rows."""
    batch, n = x.shape
    rows = max(1, _CHUNK_ELEMENTS // max(1, n * n))
    for start in range(0, batch * num_samples, rows):
        stop = min(start + rows, batch * num_samples)
        word = words(seed, directions, sampler, antithetic, num_samples, n, start, stop)
        noise, score, scale_weight = draw_weights(law, word, x.dtype, pair_weight)
        element = torch.arange(start, stop, device=x.device) // num_samples
        y = x.index_select(0, element) + pick(scale, element) * noise
        outcome = sort_outcome(y, descending, output, first, last)
        begin = start // num_samples
        yield _Chunk(
            start,
            slice(begin, begin + overlapped(num_samples, start, stop)),
            element,
            outcome.reshape(stop - start, math.prod(outcome.shape[1:])),
            score,
            scale_weight,
        )


def sort(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    descending: bool,
    output: str,
    first: int,
    last: int,
    baseline: str,
    factor: float,
    pair_weight: float,
    jacobian: str,
) -> tuple[Tensor, Tensor, Tensor]:  # [B, *outcome], and twice [B, *outcome, n] or [0]
    """The mean outcome of sorting perturbed rows, and its Jacobians.

    The outcome is, for `output` "matrix", the rows `first` to `last` of the permutation matrix; for
    "values" the elements at these positions; for "ranks" (then of all positions) the rank of each
    element, from 1. The Jacobian in x is J[b, ..., j] = factor / scale_j * (sum over samples of
    (outcome - base)[b, ...] * score_j), with base 0 for `baseline` "none", the unperturbed outcome
    for "fx", and the mean outcome for "mean"; that in the scale has score_j noise_j - 1 in place of
    score_j. `jacobian` says which are wanted: "none", "x" or "x_and_scale"; the others are empty.
    An element of the batch with a NaN or an infinity has NaN for its results.
    """
    batch, n = x.shape
    x, scale, bad = without_bad_rows(x, scale)
    columns = {"none": 0, "x": n, "x_and_scale": 2 * n}[jacobian]
    dtype = accumulator(x)
    hard = sort_outcome(x, descending, output, first, last)
    shape = hard.shape[1:]
    # Values and ranks are counted from the unperturbed ones: differences keep their digits.
    pivot = torch.zeros_like(hard) if output == "matrix" else hard
    pivot = pivot.reshape(batch, math.prod(shape))
    # Sums over samples of (outcome - pivot) * (1, weights), and of (1, weights).
    table = x.new_zeros((batch, pivot.shape[1] + 1, 1 + columns), dtype=dtype)
    for chunk in _sorted_chunks(
        x,
        scale,
        seed,
        directions,
        law,
        sampler,
        antithetic,
        num_samples,
        descending,
        output,
        first,
        last,
        pair_weight,
    ):
        ones = chunk.score.new_ones((chunk.score.shape[0], 1))
        weights = torch.cat((chunk.score, chunk.scale_weight), 1)[:, :columns]
        centred = chunk.outcome - pivot.index_select(0, chunk.element)
        table[chunk.elements] += sums_of_products(
            torch.cat((centred, ones), 1), torch.cat((ones, weights), 1), num_samples, chunk.start
        )

    products, totals = table[:, :-1], table[:, -1:]
    mean = products[..., :1] / num_samples  # counted from the pivot
    center = {
        "none": -pivot.to(dtype).unsqueeze(-1),
        "fx": (hard.reshape(pivot.shape) - pivot).to(dtype).unsqueeze(-1),
        "mean": mean,
    }[baseline]
    derivative = products[..., 1:] - center * totals[..., 1:]
    divisor = scale.to(dtype).expand(-1, n).unsqueeze(1)

    def finish(result: Tensor, *trailing: int) -> Tensor:
        nan = bad.reshape(-1, 1, 1)
        result = torch.where(nan, torch.nan, result).to(x.dtype)
        return result.reshape(batch, *shape, *trailing)

    absent = x.new_zeros(0)
    return (
        finish(pivot.unsqueeze(-1) + mean),
        finish(factor / divisor * derivative[..., :n], n) if jacobian != "none" else absent,
        finish(factor / divisor * derivative[..., n:], n) if jacobian == "x_and_scale" else absent,
    )


def sort_backward(
    grad: Tensor,  # [B, *outcome]
    baseline: Tensor,  # [B]
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    descending: bool,
    output: str,
    first: int,
    last: int,
    factor: float,
    pair_weight: float,
    scale_gradient: bool,
) -> tuple[Tensor, Tensor]:  # [B, n], [B, n] or [B, 0]
    """The gradients in x and in the scale of sum(grad * mean outcome), from the samples.

    In x: factor / scale_j * (sum over samples of (sum(grad * outcome) - baseline) * score_j); in
    the scale with score_j noise_j - 1 in place of score_j.
    """
    batch, n = x.shape
    x, scale, bad = without_bad_rows(x, scale)
    columns = 2 * n if scale_gradient else n
    dtype = accumulator(x)
    sums = x.new_zeros((batch, columns), dtype=dtype)
    upstream = grad.reshape(batch, math.prod(grad.shape[1:])).to(dtype)
    for chunk in _sorted_chunks(
        x,
        scale,
        seed,
        directions,
        law,
        sampler,
        antithetic,
        num_samples,
        descending,
        output,
        first,
        last,
        pair_weight,
    ):
        value = (upstream[chunk.element] * chunk.outcome).sum(1) - baseline[chunk.element]
        weights = torch.cat((chunk.score, chunk.scale_weight), 1)[:, :columns]
        product = sums_of_products(value.unsqueeze(1), weights, num_samples, chunk.start)
        sums[chunk.elements] += product.squeeze(1)
    divisor = scale.to(sums.dtype).expand(-1, n)
    in_x = factor / divisor * sums[:, :n]
    in_scale = factor / divisor * sums[:, n:] if scale_gradient else sums[:, n:]
    nan = bad.unsqueeze(1)
    return (
        torch.where(nan, torch.nan, in_x).to(x.dtype),
        torch.where(nan, torch.nan, in_scale).to(x.dtype),
    )
