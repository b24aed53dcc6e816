"""The samplers: from seed, batch element, sample and dimension to a 32-bit word."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ...samplers import floor_root
from .philox import MASK, high_product, low_product, mix, philox, reverse_bits, seed_key


_CENTRE = 0x80000000

# Counter streams: the last word of a Philox counter.
_POINTS, _PERMUTATION, _JITTER, _SCRAMBLE = range(4)


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
        element = (self.first_element + self.element) & MASK
        zeros = torch.zeros_like(element + self.dimension())
        counter = (
            (self.point >> 2) + zeros,
            self.dimension() + zeros,
            element + zeros,
            stream + zeros,
        )
        words = philox(counter, seed_key(self.seed))
        c = self.point & 3
        even = torch.where(c == 0, words[0], words[2])
        odd = torch.where(c == 1, words[1], words[3])
        return torch.where((c & 1) == 0, even, odd)

    def element_keys(self, stream: int) -> tuple[Tensor, ...]:  # 4 x [elements, n]
        """The four words of a batch element and dimension."""
        element = torch.arange(self.elements, device=self.point.device).unsqueeze(1)
        element = (self.first_element + element) & MASK
        zeros = torch.zeros_like(element + self.dimension())
        counter = (zeros, self.dimension() + zeros, element + zeros, stream + zeros)
        return philox(counter, seed_key(self.seed))

    def spread(self, per_element: Tensor) -> Tensor:  # [elements, n] -> [rows, n]
        return per_element.index_select(0, self.element.squeeze(1))


def _permute(rows: _Rows, x: Tensor) -> Tensor:
    """A random permutation of the points, by swap-or-not: see csrc/core/permutation.h."""
    size = rows.points
    key = rows.element_keys(_PERMUTATION)
    for r in range(16):
        a = mix((key[r & 3] + r * 0x9E3779B9) & MASK)
        coin = rows.spread(mix(a ^ key[(r + 1) & 3]))
        difference = rows.spread(high_product(a, size)) - x
        partner = torch.where(difference < 0, difference + size, difference)
        hashed = low_product(torch.maximum(x, partner) ^ coin, 0x7FEB352D)
        hashed = low_product(hashed ^ (hashed >> 15), 0x846CA68B)
        x = torch.where((hashed >> 31) != 0, partner, x)
    return x


def cell_edge(cell: Tensor, cells: int) -> Tensor:
    """The first word of a cell: (cell * step + 2^30) >> 31 without leaving int64."""
    step = 2**63 // cells
    return cell * (step >> 31) + ((cell * (step & (2**31 - 1)) + 2**30) >> 31)


def word_in_cell(cell: Tensor, cells: int, jitter: Tensor) -> Tensor:
    if cells == 1:
        return jitter
    low, high = cell_edge(cell, cells), cell_edge(cell + 1, cells)
    return low + high_product(jitter, high - low)


def _place(rows: _Rows, cell: Tensor, cells: int, randomized: bool) -> Tensor:
    jitter = rows.point_words(_JITTER) if randomized else torch.full_like(cell, _CENTRE)
    return word_in_cell(cell, cells, jitter)


def _monte_carlo(rows: _Rows, directions: Tensor) -> Tensor:
    return rows.point_words(_POINTS)


def _latin(rows: _Rows, directions: Tensor, *, randomized: bool) -> Tensor:
    cell = _permute(rows, rows.point.expand(-1, rows.n))
    return _place(rows, cell, rows.points, randomized)


def _cartesian(rows: _Rows, directions: Tensor, *, randomized: bool) -> Tensor:
    side = floor_root(rows.points, max(rows.n, 1))
    strides = [min(side**j, rows.points) for j in range(rows.n)]
    stride = torch.tensor(strides, dtype=torch.int64).to(rows.point.device)
    return _place(rows, rows.point // stride % side, side, randomized)


def _sobol(rows: _Rows, directions: Tensor) -> Tensor:
    x = torch.zeros_like(rows.point + rows.dimension())
    for bit in range((rows.points - 1).bit_length()):
        direction = directions[: rows.n, bit].to(torch.int64) & MASK
        x = x ^ (((rows.point >> bit) & 1) * direction)
    # Nested uniform scrambling by a hash, in reversed bits: see csrc/core/samplers.h.
    k0, k1, k2, k3 = (rows.spread(key) for key in rows.element_keys(_SCRAMBLE))
    octant = x & 7
    flips = ((k0 >> 1) & 1) | ((k0 >> (2 | (x & 1))) & 1) << 1 | ((k0 >> (4 | (x & 3))) & 1) << 2
    addend = low_product(octant ^ k1, 0x9E3779B1)
    addend = low_product(addend ^ (addend >> 15), 0x846CA68B)
    x = (x + (addend ^ (addend >> 16))) & MASK
    x = low_product(x, k2 | 1)
    x = x ^ low_product(x, k3 & ~1)
    x = (x + k0) & MASK
    x = x ^ low_product(x, k1 & ~1)
    x = (x & ~7) | (octant ^ flips)
    return reverse_bits(x)


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
    if (stop - 1) // num_samples > MASK:
        raise ValueError(
            f"rows must be of batch elements 0 to 2^32 - 1, got [{start}, {stop}) of {num_samples} "
            "samples each; more would repeat the noise of the first"
        )
    row = torch.arange(start, stop, device=seed.device).unsqueeze(1)
    sample = row % num_samples
    first_element = start // num_samples
    rows = _Rows(
        element=row // num_samples - first_element,
        point=sample >> 1 if antithetic else sample,
        first_element=first_element,
        elements=overlapped(num_samples, start, stop),
        points=num_samples // 2 if antithetic else num_samples,
        n=n,
        seed=seed,
    )
    out = _SAMPLERS[sampler](rows, directions)
    return torch.where((sample & 1) != 0, out ^ MASK, out) if antithetic else out


def overlapped(num_samples: int, start: int, stop: int) -> int:
    """The number of batch elements that rows start to stop belong to."""
    return (stop - 1) // num_samples - start // num_samples + 1 if stop > start else 0
