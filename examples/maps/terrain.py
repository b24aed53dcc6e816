"""Terrain of five classes, grown from smooth noise."""

import numpy as np

from .noise import smooth_field


GRASS, EARTH, FOREST, WATER, ROCK = range(5)
COSTS = np.array([0.8, 1.2, 5.3, 7.7, 9.2])  # those of the published maps
BIOMES = 3

# Quantiles of the fields, which have variance near 1.
_WATER_BELOW, _ROCK_ABOVE = -0.95, 0.95  # in height
_EARTH_BELOW, _FOREST_ABOVE = -0.4, 0.6  # in moisture
_BIOME_BOUNDARIES = (-0.43, 0.43)


def grow(seed: int, split: str, part: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The class and the biome of every cell, both [count, size, size] int64.

    Valleys hold water and summits are bare; in between, moisture decides. The biome says how a
    class looks there, and costs nothing.
    """
    height, moisture, biome = (
        smooth_field(seed, f"{split}/{name}", part, count, size, period=period)
        for name, period in (("height", 5.0), ("moisture", 5.0), ("biome", 9.0))
    )
    classes = np.full(height.shape, GRASS)
    classes[moisture < _EARTH_BELOW] = EARTH
    classes[moisture > _FOREST_ABOVE] = FOREST
    classes[height < _WATER_BELOW] = WATER
    classes[height > _ROCK_ABOVE] = ROCK
    return classes, np.searchsorted(_BIOME_BOUNDARIES, biome)
