"""Shortest paths on grids, their mean over perturbed grids, and its gradients."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .noise import accumulator, draw_weights, pick, sums_of_products, without_bad_rows
from .samplers import overlapped, words


# Elements of the largest intermediate tensor of the ops that choose their own chunks: 32 MB.
_CHUNK_ELEMENTS = 4 * 2**20

# Row-major, which is the order that decides between equals.
_STEPS = {
    4: ((-1, 0), (0, -1), (0, 1), (1, 0)),
    8: ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)),
}


def hard_shortest_path(
    weights: Tensor,  # [R, H, W]
    neighbors: int,
    source: int,
    target: int,
    min_weight: float,
) -> Tensor:  # [R, H, W]
    """The cells of the cheapest paths as 0/1 indicators, from cell `source` to cell `target`.

    By relaxation of all cells at once (Bellman, "On a routing problem", 1958), see
    `torchsmooth.hard.shortest_path`. A grid with a NaN or an infinity is NaN.
    """
    rows, height, width = weights.shape
    if weights.numel() == 0:
        return torch.zeros_like(weights)
    bad = ~weights.isfinite().flatten(1).all(1).reshape(-1, 1, 1)
    info = torch.finfo(weights.dtype)
    weights = torch.where(bad, 1, weights).clamp(min_weight, info.max / (4 * height * width))
    # With a border that no path crosses. The source costs the smallest number that is not denormal.
    cost = weights.new_full((rows, height + 2, width + 2), torch.inf)
    inner = cost[:, 1:-1, 1:-1]
    steps = _STEPS[neighbors]
    while True:
        before = inner.clone()
        around = [cost[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width] for i, j in steps]
        cheapest = torch.stack(around).amin(0)
        higher = torch.nextafter(cheapest, cheapest.new_full((), torch.inf))
        inner.copy_(torch.maximum(cheapest + weights, higher))
        inner[:, source // width, source % width] = info.tiny
        if torch.equal(inner, before):
            break
    # Costs fall with every step back, so that no cell is met twice.
    flat, stride = cost.flatten(1), width + 2

    def place(cell: int) -> int:
        return (cell // width + 1) * stride + cell % width + 1

    offsets = torch.tensor([i * stride + j for i, j in steps], device=weights.device)
    at = torch.full((rows, 1), place(target), device=weights.device)
    goal = place(source)
    path = torch.zeros_like(flat).scatter_(1, at, 1)
    while not bool((at == goal).all()):
        candidates = at + offsets
        cheapest = flat.gather(1, candidates).argmin(1, keepdim=True)  # the first of equal ones
        at = torch.where(at == goal, at, candidates.gather(1, cheapest))
        path.scatter_(1, at, 1)
    return torch.where(bad, torch.nan, path.reshape(cost.shape)[:, 1:-1, 1:-1]).contiguous()


def hard_shortest_path_graph(
    weights: Tensor,  # [R, E]
    indptr: Tensor,  # [V + 1]
    indices: Tensor,  # [E]
    source: int,
    target: int,
    min_weight: float,
) -> Tensor:  # [R, E]
    """The edges of the cheapest paths as 0/1 indicators, from node `source` to node `target`.

    By relaxation of all edges at once, see `torchsmooth.hard.shortest_path_graph`. A row with a NaN
    or an infinity is NaN, and so are all where the target cannot be reached.
    """
    rows, edges = weights.shape
    nodes = indptr.shape[0] - 1
    bad = ~weights.isfinite().all(1, keepdim=True)
    info = torch.finfo(weights.dtype)
    weights = torch.where(bad, 1, weights).clamp(min_weight, info.max / (4 * nodes))
    cost = weights.new_full((rows, nodes), torch.inf)
    cost[:, source] = info.tiny
    tails = torch.arange(nodes, device=weights.device).repeat_interleave(indptr.diff())
    heads = indices.expand(rows, edges)
    while True:
        before = cost[:, tails]
        through = torch.maximum(
            before + weights, torch.nextafter(before, before.new_tensor(torch.inf))
        )
        cheaper = cost.scatter_reduce(1, heads, through, "amin")
        if torch.equal(cheaper, cost):
            break
        cost = cheaper
    # Each node is entered by the first of the edges that cost the least.
    edge = torch.arange(edges, device=weights.device).expand(rows, edges)
    candidates = torch.where(through == cost.gather(1, heads), edge, edges)
    entry = candidates.new_full((rows, nodes), edges).scatter_reduce(1, heads, candidates, "amin")
    path = torch.zeros((rows, edges + 1), dtype=weights.dtype, device=weights.device)
    ends = torch.cat((tails, tails.new_tensor([source])))  # one more, where a way has ended
    at = torch.full((rows, 1), target, device=weights.device)
    bad = bad | cost[:, target : target + 1].isinf()
    at = torch.where(bad, source, at)
    while not bool((at == source).all()):
        step = torch.where(at == source, edges, entry.gather(1, at))
        path.scatter_(1, step, 1)
        at = ends[step]
    return torch.where(bad, torch.nan, path[:, :edges])


class _Chunk(NamedTuple):
    start: int
    elements: slice  # the batch elements that the rows belong to
    element: Tensor  # [rows]
    path: Tensor  # [rows, n]
    score: Tensor  # [rows, n]
    scale_weight: Tensor  # [rows, n]


def _paths(
    x: Tensor,
    scale: Tensor,
    seed: Tensor,
    directions: Tensor,
    law: str,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    neighbors: int,
    source: int,
    target: int,
    min_weight: float,
    pair_weight: float,
) -> Iterator[_Chunk]:
    """Perturbs all samples and finds their paths, in chunks of rows."""
    batch, height, width = x.shape
    n = height * width
    rows = max(1, _CHUNK_ELEMENTS // max(1, neighbors * n))
    for start in range(0, batch * num_samples, rows):
        stop = min(start + rows, batch * num_samples)
        word = words(seed, directions, sampler, antithetic, num_samples, n, start, stop)
        noise, score, scale_weight = draw_weights(law, word, x.dtype, pair_weight)
        element = torch.arange(start, stop, device=x.device) // num_samples
        y = x.flatten(1).index_select(0, element) + pick(scale, element) * noise
        # Sums beyond the largest number are weights like any others that are too large.
        largest = torch.finfo(x.dtype).max
        grids = y.clamp(-largest, largest).reshape(-1, height, width)
        begin = start // num_samples
        yield _Chunk(
            start,
            slice(begin, begin + overlapped(num_samples, start, stop)),
            element,
            hard_shortest_path(grids, neighbors, source, target, min_weight).flatten(1),
            score,
            scale_weight,
        )


def shortest_path(
    x: Tensor,  # [B, H, W]
    scale: Tensor,  # [1 or B, 1 or H * W]
    seed: Tensor,
    directions: Tensor,
    law: str,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    neighbors: int,
    source: int,
    target: int,
    min_weight: float,
) -> Tensor:  # [B, H, W]
    """The mean indicator of the cheapest paths through perturbed grids.

    An element of the batch with a NaN or an infinity has NaN for its results.
    """
    safe, scale, bad = without_bad_rows(x.flatten(1), scale)
    mean = torch.zeros_like(safe, dtype=accumulator(x))
    for chunk in _paths(
        safe.reshape(x.shape),
        scale,
        seed,
        directions,
        law,
        sampler,
        antithetic,
        num_samples,
        neighbors,
        source,
        target,
        min_weight,
        0.0,
    ):
        ones = chunk.path.new_ones((chunk.path.shape[0], 1))
        sums = sums_of_products(ones, chunk.path, num_samples, chunk.start)
        mean[chunk.elements] += sums.squeeze(1) / num_samples
    return torch.where(bad.unsqueeze(1), torch.nan, mean).to(x.dtype).reshape(x.shape)


def shortest_path_backward(
    grad: Tensor,  # [B, H, W]
    baseline: Tensor,  # [B]
    x: Tensor,  # [B, H, W]
    scale: Tensor,  # [1 or B, 1 or H * W]
    seed: Tensor,
    directions: Tensor,
    law: str,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    neighbors: int,
    source: int,
    target: int,
    min_weight: float,
    factor: float,
    pair_weight: float,
    scale_gradient: bool,
) -> tuple[Tensor, Tensor]:  # [B, H, W], [B, H * W] or [B, 0]
    """The gradients in x and in the scale of sum(grad * mean indicator), from the samples.

    In x: factor / scale_j * (sum over samples of (sum(grad * path) - baseline) * score_j); in the
    scale with score_j noise_j - 1 in place of score_j.
    """
    safe, scale, bad = without_bad_rows(x.flatten(1), scale)
    batch, n = safe.shape
    dtype = accumulator(x)
    sums = x.new_zeros((batch, 2 * n if scale_gradient else n), dtype=dtype)
    upstream = grad.flatten(1).to(dtype)
    for chunk in _paths(
        safe.reshape(x.shape),
        scale,
        seed,
        directions,
        law,
        sampler,
        antithetic,
        num_samples,
        neighbors,
        source,
        target,
        min_weight,
        pair_weight,
    ):
        value = (upstream[chunk.element] * chunk.path).sum(1) - baseline[chunk.element]
        weights = torch.cat((chunk.score, chunk.scale_weight), 1)[:, : sums.shape[1]]
        product = sums_of_products(value.unsqueeze(1), weights, num_samples, chunk.start)
        sums[chunk.elements] += product.squeeze(1)
    divisor = scale.to(dtype).expand(-1, n)
    nan = bad.unsqueeze(1)

    def finish(sums: Tensor) -> Tensor:
        return torch.where(nan, torch.nan, factor / divisor * sums).to(x.dtype)

    absent = x.new_zeros((batch, 0))
    in_scale = finish(sums[:, n:]) if scale_gradient else absent
    return finish(sums[:, :n]).reshape(x.shape), in_scale
