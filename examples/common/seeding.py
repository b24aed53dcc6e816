"""Randomness as a function of (seed, step), so that a resumed run continues bit for bit.

No generator carries state from one step to the next: step t hashes the seed and t, and all random
choices of the step (images, noise) follow from this number.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor


_LOW_63_BITS = (1 << 63) - 1


def step_seed(seed: int, stream: str, step: int) -> int:
    """A 63-bit seed for `step` of `stream` ("train", "test", ...), unrelated to all others."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _LOW_63_BITS


def random_integers(
    seed: Tensor,  # [], int64
    high: int,
    shape: Sequence[int],
) -> Tensor:  # [*shape], int64
    """Uniform integers in [0, high): the SplitMix64 hash of a counter that starts at `seed`.

    A `torch.Generator` draws different numbers on different devices, and cannot be reseeded inside
    a CUDA graph. Integer arithmetic on a seed that is a tensor gives the same numbers everywhere
    and can be captured. (int64 products wrap modulo 2^64, as the hash requires.)
    """
    count = math.prod(shape)
    z = seed + _signed(0x9E3779B97F4A7C15) * torch.arange(1, count + 1, device=seed.device)
    z = (z ^ _shift_right(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift_right(z, 27)) * _signed(0x94D049BB133111EB)
    z = z ^ _shift_right(z, 31)
    return ((z & _LOW_63_BITS) % high).reshape(tuple(shape))


def _signed(constant: int) -> int:
    """The int64 with the bits of an unsigned 64-bit constant."""
    return constant - (1 << 64) if constant >> 63 else constant


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """The logical shift: torch shifts int64 arithmetically, copying the sign into the top bits."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
