"""Uniform numbers that are a function of a seed, and smooth fields grown from them."""

import numpy as np
import torch
from common.seeding import random_integers, step_seed


_RESOLUTION = 1 << 24


def uniform(seed: int, stream: str, part: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [0, 1), float64. An array that is longer begins with those of a shorter one."""
    integers = random_integers(
        torch.tensor(step_seed(seed, stream, part)), _RESOLUTION, shape
    ).numpy()
    return integers / _RESOLUTION


def smooth_field(
    seed: int, stream: str, part: int, count: int, size: int, *, period: float
) -> np.ndarray:  # [count, size, size]
    """Value noise of mean 0 and variance near 1, in two octaves.

    Random values are on a lattice, `period` cells apart and half as many, and are interpolated in
    between. Nothing is summed in an order that a library chooses, so that all machines agree.
    """
    coarse, fine = (
        _octave(seed, f"{stream}/{octave}", part, count, size, period / octave) for octave in (1, 2)
    )
    return 1.17 * coarse + 0.67 * fine


def _octave(
    seed: int, stream: str, part: int, count: int, size: int, period: float
) -> np.ndarray:  # [count, size, size]
    nodes = int(size / period) + 3
    # The sum of four uniform numbers is near to normal, with variance 4 / 12.
    values = uniform(seed, stream, part, (count, nodes, nodes, 4))
    values = (values[..., 0] + values[..., 1] + values[..., 2] + values[..., 3] - 2) * 3**0.5
    # Each map has a lattice at another place, or borders would prefer certain cells.
    offsets = uniform(seed, f"{stream}/offset", part, (count, 2))
    for axis in (1, 2):
        position = offsets[:, axis - 1, None] + np.arange(size) / period  # [count, size]
        node = position.astype(np.int64)
        blend = _smoothstep(position - node)
        shape = (count, size, 1) if axis == 1 else (count, 1, size)
        node, blend = node.reshape(shape), blend.reshape(shape)
        low = np.take_along_axis(values, node, axis)
        high = np.take_along_axis(values, node + 1, axis)
        values = low + blend * (high - low)
    result: np.ndarray = values
    return result


def _smoothstep(t: np.ndarray) -> np.ndarray:
    result: np.ndarray = t * t * (3 - 2 * t)
    return result
