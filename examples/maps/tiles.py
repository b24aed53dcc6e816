"""How terrain looks: textures, and pictures painted with them.

A class is known by its texture: blades of grass, specks of earth, crowns of trees, waves, cracked
rock. Colours do not tell it: each biome has the same five, and gives them to other classes.
"""

import functools

import numpy as np

from .layout import PIXELS_PER_CELL
from .noise import uniform
from .terrain import BIOMES, EARTH, FOREST, GRASS, ROCK, WATER


_PERIOD = 64  # pixels, after which a texture repeats

_GREEN, _BROWN, _PINE, _SLATE, _STRAW = (
    (104, 142, 62),
    (134, 98, 66),
    (58, 92, 62),
    (98, 114, 134),
    (180, 160, 98),
)
# Every colour is that of three classes, and every class has three colours.
_COLOURS = {
    GRASS: (_GREEN, _STRAW, _PINE),
    EARTH: (_BROWN, _SLATE, _STRAW),
    FOREST: (_PINE, _GREEN, _BROWN),
    WATER: (_SLATE, _PINE, _GREEN),
    ROCK: (_STRAW, _BROWN, _SLATE),
}
_CONTRAST = {GRASS: 0.13, EARTH: 0.07, FOREST: 0.28, WATER: 0.13, ROCK: 0.22}

_BORDER = 3.0  # pixels over which neighbours blend
_WOBBLE = 2.5  # pixels by which a border strays from its straight line
_BRIGHTNESS = 0.15  # maps are lighter or darker by at most this


def paint(
    classes: np.ndarray,  # [m, h, w]
    biomes: np.ndarray,  # [m, h, w]
    seed: int,
    stream: str,
    part: int,
) -> np.ndarray:  # [m, 8 h, 8 w, 3], uint8
    """A picture of each map, with a random brightness and a random part of the textures."""
    count, height, width = classes.shape
    draws = uniform(seed, stream, part, (count, 5))
    shifts = (draws[:, :4] * _PERIOD).astype(np.int64)
    y, x = np.ix_(np.arange(PIXELS_PER_CELL * height), np.arange(PIXELS_PER_CELL * width))

    def place(first: int) -> np.ndarray:  # [m, 8 h, 8 w]
        """The index of each pixel in a repeating texture, from a corner of each map's own."""
        down, right = (shifts[:, i, None, None] for i in (first, first + 1))
        return (y + down) % _PERIOD * _PERIOD + (x + right) % _PERIOD

    here, wobble = place(0), _wobble()[place(2)]
    above, below, blend_down = _neighbours(y + wobble[..., 0], height)
    left, right, blend_right = _neighbours(x + wobble[..., 1], width)

    looks = (classes * BIOMES + biomes).reshape(count, -1)
    textures = _textures()

    def colour(row: np.ndarray, column: np.ndarray) -> np.ndarray:  # [m, 8 h, 8 w, 3]
        cells = (row * width + column).reshape(count, -1)
        look = np.take_along_axis(looks, cells, 1).reshape(row.shape)
        result: np.ndarray = textures[look * _PERIOD**2 + here]
        return result

    def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
        result: np.ndarray = a + share[..., None] * (b - a)
        return result

    upper = mix(colour(above, left), colour(above, right), blend_right)
    lower = mix(colour(below, left), colour(below, right), blend_right)
    brightness = (1 + _BRIGHTNESS * (2 * draws[:, 4] - 1)).astype(np.float32)
    picture = mix(upper, lower, blend_down) * brightness[:, None, None, None]
    result: np.ndarray = np.rint(picture.clip(0, 255)).astype(np.uint8)
    return result


def _neighbours(
    position: np.ndarray,  # [m, 8 h, 8 w], of pixels along one axis
    cells: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cells whose centres are before and behind each pixel, and the share of the second."""
    between = (position + 0.5) / PIXELS_PER_CELL - 0.5
    before = np.floor(between)
    past_border = (between - before - 0.5) * (PIXELS_PER_CELL / _BORDER)
    share = (past_border + 0.5).clip(0, 1).astype(np.float32)
    before = before.astype(np.int64)
    return before.clip(0, cells - 1), (before + 1).clip(0, cells - 1), share


@functools.cache
def _textures() -> np.ndarray:  # [5 * BIOMES * _PERIOD^2, 3], float32
    """The colours of all looks, by class, biome and pixel."""
    drawings = {
        GRASS: _grass(),
        EARTH: _earth(),
        FOREST: _forest(),
        WATER: _water(),
        ROCK: _rock(),
    }
    looks = []
    for kind, drawing in drawings.items():
        shade = 1 + _CONTRAST[kind] * _standardised(drawing).reshape(-1, 1)
        looks += [shade * np.array(colour) for colour in _COLOURS[kind]]
    return np.concatenate(looks).astype(np.float32)


@functools.cache
def _wobble() -> np.ndarray:  # [_PERIOD^2, 2], pixels
    fields = [_standardised(_blur(_white(name), 5, 5)) for name in ("wobble/y", "wobble/x")]
    return (_WOBBLE / 2 * np.stack(fields, -1)).clip(-_WOBBLE, _WOBBLE).reshape(-1, 2)


def _white(name: str) -> np.ndarray:  # [_PERIOD, _PERIOD]
    # Not of the seed of the maps: all of them are drawn with one set of tiles, like published ones.
    return uniform(0, f"texture/{name}", 0, (_PERIOD, _PERIOD))


def _blur(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mean of a box around each pixel; what leaves on one side comes back on the other."""
    for axis, length in ((0, height), (1, width)):
        field = np.mean([np.roll(field, k - length // 2, axis) for k in range(length)], axis=0)
    return field


def _standardised(field: np.ndarray) -> np.ndarray:
    result: np.ndarray = (field - field.mean()) / field.std()
    return result


def _grass() -> np.ndarray:
    """Blades: upright strokes, a pixel wide."""
    return _blur(_white("grass"), 4, 1)


def _earth() -> np.ndarray:
    """Specks without direction, and a few pebbles."""
    pebbles = _blur(_white("pebbles") > 0.985, 2, 2)
    result: np.ndarray = _standardised(_white("earth")) + 6 * pebbles
    return result


def _forest() -> np.ndarray:
    """Round crowns, staggered like bricks, lit from the upper left."""
    spacing, radius = 4, 2.6
    strays = uniform(0, "texture/forest", 0, (_PERIOD // spacing, _PERIOD // spacing, 3))
    y, x = np.ix_(np.arange(_PERIOD), np.arange(_PERIOD))
    light = np.full((_PERIOD, _PERIOD), -1.2)
    for row, column in np.ndindex(*strays.shape[:2]):
        stray_y, stray_x, tone = strays[row, column] - 0.5
        down = _around(y - spacing * row - 2 * stray_y)
        right = _around(x - spacing * (column + row % 2 / 2) - 2 * stray_x)
        crown = 1 - (down**2 + right**2) / radius**2 - 0.25 * (down + right) + 0.6 * tone
        light = np.where(down**2 + right**2 < radius**2, np.maximum(light, crown), light)
    return light


def _water() -> np.ndarray:
    """Waves: level lines four pixels apart, that rise and fall a little."""
    y = np.arange(_PERIOD)[:, None] + 1.2 * _standardised(_blur(_white("water"), 5, 9))
    crest = np.abs(y / 4 % 1 - 0.5)
    return (crest - 0.25).clip(0, None) + 0.02 * _standardised(_white("foam"))


def _rock() -> np.ndarray:
    """Facets of random shade, with dark cracks between them."""
    centres = _PERIOD * uniform(0, "texture/rock", 0, (240, 2))
    shades = uniform(0, "texture/facets", 0, (len(centres),))
    y, x = np.ix_(np.arange(_PERIOD), np.arange(_PERIOD))
    distance = np.sqrt(
        _around(y[..., None] - centres[:, 0]) ** 2 + _around(x[..., None] - centres[:, 1]) ** 2
    )
    order = np.argsort(distance, -1)[..., :2]
    near, next_near = np.moveaxis(np.take_along_axis(distance, order, -1), -1, 0)
    return np.where(next_near - near < 0.9, -0.6, shades[order[..., 0]])


def _around(difference: np.ndarray) -> np.ndarray:
    """A difference of places in a texture that repeats: the one that is nearest to 0."""
    return (difference + _PERIOD / 2) % _PERIOD - _PERIOD / 2
