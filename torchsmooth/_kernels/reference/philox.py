"""Arithmetic on 32-bit words in int64, and the generator."""

from torch import Tensor


MASK = 0xFFFFFFFF


def low_product(a: Tensor, b: Tensor | int) -> Tensor:
    """The low word of a * b. b is split, so that no product leaves int64."""
    return (a * (b & 0xFFFF) + ((a * (b >> 16) & 0xFFFF) << 16)) & MASK


def high_product(a: Tensor, b: Tensor | int) -> Tensor:
    """The high word of a * b."""
    return (a * (b >> 16) + (a * (b & 0xFFFF) >> 16)) >> 16


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox4x32-10: four words for the four words of a counter and the two of a key."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = high_product(c0, 0xD2511F53), low_product(c0, 0xD2511F53)
        high1, low1 = high_product(c2, 0xCD9E8D57), low_product(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = (k0 + 0x9E3779B9) & MASK
        k1 = (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def seed_key(seed: Tensor) -> tuple[Tensor, Tensor]:
    seed = seed.reshape(())
    return seed & MASK, (seed >> 32) & MASK


def mix(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = low_product(x, 0x85EBCA6B)
    x = x ^ (x >> 13)
    x = low_product(x, 0xC2B2AE35)
    return x ^ (x >> 16)


def reverse_bits(x: Tensor) -> Tensor:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        x = ((x >> shift) & mask) | ((x & mask) << shift)
    return (x >> 16) | ((x & 0xFFFF) << 16)
