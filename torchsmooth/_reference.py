"""Plain PyTorch twins of the ops.

They are the specification of the ops in readable form, the oracle of their tests, and the road for
devices without a kernel. `words` is equal to the ops bit for bit; what follows from it agrees to
rounding. Integer arithmetic is that of the headers in `csrc/core`, on 32-bit words in int64.

A flat row r of an op is sample r % num_samples of batch element r // num_samples.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .distributions import LAWS, AbstractDistribution
from .hard import sort_outcome
from .samplers import _floor_root


_MASK = 0xFFFFFFFF
_CENTRE = 0x80000000

# Counter streams: the last word of a Philox counter.
_POINTS, _PERMUTATION, _JITTER, _SCRAMBLE = range(4)

# Elements of the largest intermediate tensor of the ops that choose their own chunks: 32 MB.
_CHUNK_ELEMENTS = 4 * 2**20


# --- 32-bit arithmetic -----------------------------------------------------------------------


def _low_product(a: Tensor, b: Tensor | int) -> Tensor:
    """The low word of a * b. b is split, so that no product leaves int64."""
    return (a * (b & 0xFFFF) + ((a * (b >> 16) & 0xFFFF) << 16)) & _MASK


def _high_product(a: Tensor, b: Tensor | int) -> Tensor:
    """The high word of a * b."""
    return (a * (b >> 16) + (a * (b & 0xFFFF) >> 16)) >> 16


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox4x32-10: four words for the four words of a counter and the two of a key."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _high_product(c0, 0xD2511F53), _low_product(c0, 0xD2511F53)
        high1, low1 = _high_product(c2, 0xCD9E8D57), _low_product(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = (k0 + 0x9E3779B9) & _MASK
        k1 = (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def _seed_key(seed: Tensor) -> tuple[Tensor, Tensor]:
    seed = seed.reshape(())
    return seed & _MASK, (seed >> 32) & _MASK


def _mix(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = _low_product(x, 0x85EBCA6B)
    x = x ^ (x >> 13)
    x = _low_product(x, 0xC2B2AE35)
    return x ^ (x >> 16)


def _reverse_bits(x: Tensor) -> Tensor:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        x = ((x >> shift) & mask) | ((x & mask) << shift)
    return (x >> 16) | ((x & 0xFFFF) << 16)


# --- samplers --------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """The points that a range of rows asks for, and what their words depend on."""

    element: Tensor  # [rows, 1], counted from first_element
    point: Tensor  # [rows, 1]
    first_element: int
    elements: int
    points: int  # of a batch element
    n: int
    seed: Tensor

    def dimension(self) -> Tensor:  # [1, n]
        return torch.arange(self.n, device=self.point.device).unsqueeze(0)

    def point_words(self, stream: int) -> Tensor:  # [rows, n]
        """A word for every point: one counter makes those of four consecutive points."""
        element = (self.first_element + self.element) & _MASK
        zeros = torch.zeros_like(element + self.dimension())
        counter = (
            (self.point >> 2) + zeros,
            self.dimension() + zeros,
            element + zeros,
            stream + zeros,
        )
        words = philox(counter, _seed_key(self.seed))
        c = self.point & 3
        even = torch.where(c == 0, words[0], words[2])
        odd = torch.where(c == 1, words[1], words[3])
        return torch.where((c & 1) == 0, even, odd)

    def element_keys(self, stream: int) -> tuple[Tensor, ...]:  # 4 x [elements, n]
        """The four words of a batch element and dimension."""
        element = torch.arange(self.elements, device=self.point.device).unsqueeze(1)
        element = (self.first_element + element) & _MASK
        zeros = torch.zeros_like(element + self.dimension())
        counter = (zeros, self.dimension() + zeros, element + zeros, stream + zeros)
        return philox(counter, _seed_key(self.seed))

    def spread(self, per_element: Tensor) -> Tensor:  # [elements, n] -> [rows, n]
        return per_element.index_select(0, self.element.squeeze(1))


def _permute(rows: _Rows, x: Tensor) -> Tensor:
    """A random permutation of the points, by swap-or-not: see csrc/core/permutation.h."""
    size = rows.points
    key = rows.element_keys(_PERMUTATION)
    for r in range(16):
        a = _mix((key[r & 3] + r * 0x9E3779B9) & _MASK)
        coin = rows.spread(_mix(a ^ key[(r + 1) & 3]))
        difference = rows.spread(_high_product(a, size)) - x
        partner = torch.where(difference < 0, difference + size, difference)
        hashed = _low_product(torch.maximum(x, partner) ^ coin, 0x7FEB352D)
        hashed = _low_product(hashed ^ (hashed >> 15), 0x846CA68B)
        x = torch.where((hashed >> 31) != 0, partner, x)
    return x


def _cell_edge(cell: Tensor, cells: int) -> Tensor:
    """The first word of a cell: (cell * step + 2^30) >> 31 without leaving int64."""
    step = 2**63 // cells
    return cell * (step >> 31) + ((cell * (step & (2**31 - 1)) + 2**30) >> 31)


def _word_in_cell(cell: Tensor, cells: int, jitter: Tensor) -> Tensor:
    if cells == 1:
        return jitter
    low, high = _cell_edge(cell, cells), _cell_edge(cell + 1, cells)
    return low + _high_product(jitter, high - low)


def _place(rows: _Rows, cell: Tensor, cells: int, randomized: bool) -> Tensor:
    jitter = rows.point_words(_JITTER) if randomized else torch.full_like(cell, _CENTRE)
    return _word_in_cell(cell, cells, jitter)


def _monte_carlo(rows: _Rows, directions: Tensor) -> Tensor:
    return rows.point_words(_POINTS)


def _latin(rows: _Rows, directions: Tensor, *, randomized: bool) -> Tensor:
    cell = _permute(rows, rows.point.expand(-1, rows.n))
    return _place(rows, cell, rows.points, randomized)


def _cartesian(rows: _Rows, directions: Tensor, *, randomized: bool) -> Tensor:
    side = _floor_root(rows.points, max(rows.n, 1))
    strides = [min(side**j, rows.points) for j in range(rows.n)]
    stride = torch.tensor(strides, dtype=torch.int64).to(rows.point.device)
    return _place(rows, rows.point // stride % side, side, randomized)


def _sobol(rows: _Rows, directions: Tensor) -> Tensor:
    x = torch.zeros_like(rows.point + rows.dimension())
    for bit in range((rows.points - 1).bit_length()):
        direction = directions[: rows.n, bit].to(torch.int64) & _MASK
        x = x ^ (((rows.point >> bit) & 1) * direction)
    # Nested uniform scrambling by a hash, in reversed bits: see csrc/core/samplers.h.
    k0, k1, k2, k3 = (rows.spread(key) for key in rows.element_keys(_SCRAMBLE))
    octant = x & 7
    flips = ((k0 >> 1) & 1) | ((k0 >> (2 | (x & 1))) & 1) << 1 | ((k0 >> (4 | (x & 3))) & 1) << 2
    addend = _low_product(octant ^ k1, 0x9E3779B1)
    addend = _low_product(addend ^ (addend >> 15), 0x846CA68B)
    x = (x + (addend ^ (addend >> 16))) & _MASK
    x = _low_product(x, k2 | 1)
    x = x ^ _low_product(x, k3 & ~1)
    x = (x + k0) & _MASK
    x = x ^ _low_product(x, k1 & ~1)
    x = (x & ~7) | (octant ^ flips)
    return _reverse_bits(x)


_SAMPLERS: dict[str, Callable[[_Rows, Tensor], Tensor]] = {
    "mc": _monte_carlo,
    "qmc_latin": functools.partial(_latin, randomized=False),
    "rqmc_latin": functools.partial(_latin, randomized=True),
    "qmc_cartesian": functools.partial(_cartesian, randomized=False),
    "rqmc_cartesian": functools.partial(_cartesian, randomized=True),
    "sobol": _sobol,
}


def words(
    seed: Tensor,  # one int64
    directions: Tensor,  # [>= n, 32], int32, for sobol
    sampler: str,
    antithetic: bool,
    num_samples: int,
    n: int,
    start: int,
    stop: int,
) -> Tensor:  # [stop - start, n], int64
    """The words of rows start to stop: 32-bit w that stand for u = (w + 1/2) / 2^32."""
    row = torch.arange(start, stop, device=seed.device).unsqueeze(1)
    sample = row % num_samples
    first_element = start // num_samples
    rows = _Rows(
        element=row // num_samples - first_element,
        point=sample >> 1 if antithetic else sample,
        first_element=first_element,
        elements=_overlapped(num_samples, start, stop),
        points=num_samples // 2 if antithetic else num_samples,
        n=n,
        seed=seed,
    )
    out = _SAMPLERS[sampler](rows, directions)
    return torch.where((sample & 1) != 0, out ^ _MASK, out) if antithetic else out


# --- noise -----------------------------------------------------------------------------------


def _resolve_law(law: str | AbstractDistribution) -> AbstractDistribution:
    return LAWS[law]() if isinstance(law, str) else law


def evaluate_law(x: Tensor, law: str, function: str) -> Tensor:
    """One function ("icdf", "cdf", "log_prob", "score") of a law of scale 1, elementwise."""
    standard = LAWS[law]()
    functions = {
        "icdf": standard.icdf,
        "cdf": standard.cdf,
        "log_prob": standard.log_prob,
        "score": standard.score,
    }
    return functions[function](x)


def draw_weights(
    law: str | AbstractDistribution,
    words: Tensor,  # [..., n], int64
    dtype: torch.dtype,
    pair_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:  # 3 x [..., n]
    """Noise of scale 1, and what f is multiplied with for the gradients in x and in the scale.

    These weights are the score and score * noise - 1. With `pair_weight` w, the weight h of a
    sample becomes h + w (h + h'), h' that of its mirror image: leave one pair out.
    """
    law = _resolve_law(law)
    noise, score = law.draw(words, dtype)
    scale = score * noise - 1
    if pair_weight != 0:
        mirror_noise, mirror_score = law.draw(words ^ _MASK, dtype)
        mirror_scale = mirror_score * mirror_noise - 1
        score = score + pair_weight * (score + mirror_score)
        scale = scale + pair_weight * (scale + mirror_scale)
    return noise, score, scale


def perturb(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n], or the matrix L: [1 or B, n, n]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    start: int,
    stop: int,
) -> Tensor:  # [stop - start, n]
    """The perturbed points of rows start to stop: x + scale * noise, or x + L noise."""
    n = x.shape[1]
    word = words(seed, directions, sampler, antithetic, num_samples, n, start, stop)
    noise, _ = _resolve_law(law).draw(word, x.dtype)
    element = torch.arange(start, stop, device=x.device) // num_samples
    center = x.index_select(0, element)
    if scale.ndim == 2:
        return center + _pick(scale, element) * noise
    if scale.shape[0] == 1:
        return center + noise @ scale[0].mT
    # Column by column: no [rows, n, n] is stored.
    for k in range(n):
        center = center + scale[:, :, k].index_select(0, element) * noise[:, k : k + 1]
    return center


def _pick(per_element: Tensor, element: Tensor) -> Tensor:
    return per_element if per_element.shape[0] == 1 else per_element.index_select(0, element)


# --- sums over samples -----------------------------------------------------------------------


def _overlapped(num_samples: int, start: int, stop: int) -> int:
    """The number of batch elements that rows start to stop belong to."""
    return (stop - 1) // num_samples - start // num_samples + 1 if stop > start else 0


def _sums_of_products(
    a: Tensor,  # [rows, p]
    b: Tensor,  # [rows, q]
    num_samples: int,
    start: int,
) -> Tensor:  # [elements, p, q]
    """The sum of outer(a_r, b_r) over the rows of each batch element, in double precision."""
    a, b = a.to(_accumulator(a)), b.to(_accumulator(b))
    rows = a.shape[0]
    # An element that is cut at the front, whole elements, an element that is cut at the end.
    head = min(-start % num_samples, rows)
    body = (rows - head) // num_samples * num_samples
    sums = []
    for begin, end, length in (
        (0, head, head),
        (head, head + body, num_samples),
        (head + body, rows, rows - head - body),
    ):
        if end > begin:
            shape = ((end - begin) // length, length)
            left = a[begin:end].reshape(*shape, a.shape[1])
            right = b[begin:end].reshape(*shape, b.shape[1])
            sums.append(left.mT @ right)
    return torch.cat(sums) if sums else a.new_zeros((0, a.shape[1], b.shape[1]))


def _accumulator(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64  # mps has no doubles


def reduce(
    values: Tensor,  # [stop - start, M]
    pivot: Tensor,  # [B, M]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    n: int,
    pair_weight: float,
    moment: str,
    start: int,
    stop: int,
) -> tuple[Tensor, Tensor]:  # [elements, M + 1, n], [elements, M + 1, 0 or n or n * n]
    """Sums of (value - pivot) * weight over the rows start to stop of each batch element.

    The weights are the scores and, for `moment` "diagonal", score_j noise_j - 1, or for "outer",
    score_i noise_j - [i == j]. The last row of each result has 1 in place of the value.
    """
    word = words(seed, directions, sampler, antithetic, num_samples, n, start, stop)
    _, score, scale = draw_weights(law, word, values.dtype, pair_weight)
    element = torch.arange(start, stop, device=values.device) // num_samples
    centered = values - pivot.index_select(0, element)
    centered = torch.cat((centered, values.new_ones((values.shape[0], 1))), 1)

    def sums(weight: Tensor) -> Tensor:
        return _sums_of_products(centered, weight, num_samples, start).to(values.dtype)

    if moment == "none":
        return sums(score), sums(score[:, :0])
    if moment == "diagonal":
        return sums(score), sums(scale)
    # Row by row of the matrix: no [rows, n, n] is stored.
    law = _resolve_law(law)
    noise, score_i = law.draw(word, values.dtype)
    mirror_noise, mirror_score_i = law.draw(word ^ _MASK, values.dtype)
    moments = []
    for i in range(n):
        identity = torch.zeros_like(noise)
        identity[:, i] = 1
        weight = score_i[:, i : i + 1] * noise - identity
        if pair_weight != 0:
            mirror = mirror_score_i[:, i : i + 1] * mirror_noise - identity
            weight = weight + pair_weight * (weight + mirror)
        moments.append(sums(weight))
    return sums(score), torch.cat(moments, -1) if moments else sums(score[:, :0])


# --- sorting ---------------------------------------------------------------------------------


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
        y = x.index_select(0, element) + _pick(scale, element) * noise
        outcome = sort_outcome(y, descending, output, first, last)
        begin = start // num_samples
        yield _Chunk(
            start,
            slice(begin, begin + _overlapped(num_samples, start, stop)),
            element,
            outcome.reshape(stop - start, math.prod(outcome.shape[1:])),
            score,
            scale_weight,
        )


def _without_bad_rows(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x and scale with numbers in place of NaN and infinities, and the batch elements with any."""
    bad_scale = ~(scale.isfinite() & (scale != 0))
    bad = ~x.isfinite().all(-1) | bad_scale.expand(-1, x.shape[1]).any(-1)
    safe_x = torch.where(bad.unsqueeze(-1), 0, x)
    return safe_x, torch.where(bad_scale, 1, scale), bad


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
    x, scale, bad = _without_bad_rows(x, scale)
    columns = {"none": 0, "x": n, "x_and_scale": 2 * n}[jacobian]
    dtype = _accumulator(x)
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
        table[chunk.elements] += _sums_of_products(
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
    x, scale, bad = _without_bad_rows(x, scale)
    columns = 2 * n if scale_gradient else n
    dtype = _accumulator(x)
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
        product = _sums_of_products(value.unsqueeze(1), weights, num_samples, chunk.start)
        sums[chunk.elements] += product.squeeze(1)
    divisor = scale.to(sums.dtype).expand(-1, n)
    in_x = factor / divisor * sums[:, :n]
    in_scale = factor / divisor * sums[:, n:] if scale_gradient else sums[:, n:]
    nan = bad.unsqueeze(1)
    return (
        torch.where(nan, torch.nan, in_x).to(x.dtype),
        torch.where(nan, torch.nan, in_scale).to(x.dtype),
    )
