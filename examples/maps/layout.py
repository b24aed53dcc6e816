"""Maps on disk, in the layout of the published ones (Vlastelica et al., ICLR 2020).

A directory has, for each split of "train", "val" and "test", three files of m maps each:

    train_maps.npy              [m, H, W, 3] uint8: RGB pictures, 8 pixels to a cell
    train_vertex_weights.npy    [m, h, w] float16: the cost of entering a cell
    train_shortest_paths.npy    [m, h, w] uint8: 1 where the cheapest path passes
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common.errors import UserError


SPLITS = ("train", "val", "test")
PIXELS_PER_CELL = 8


@dataclass(frozen=True)
class Maps:
    """The maps of a split; indexing selects maps. Data read from disk stays memory-mapped."""

    images: np.ndarray  # [m, H, W, 3], uint8
    weights: np.ndarray  # [m, h, w], float16
    paths: np.ndarray  # [m, h, w], uint8

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: slice | np.ndarray) -> "Maps":
        return Maps(self.images[indices], self.weights[indices], self.paths[indices])

    @property
    def size(self) -> tuple[int, int]:
        """Cells: height and width."""
        height, width = self.weights.shape[1:]
        return height, width


def files(directory: Path, split: str) -> tuple[Path, Path, Path]:
    """The files of the pictures, the weights and the paths of a split."""
    names = ("maps", "vertex_weights", "shortest_paths")
    images, weights, paths = (directory / f"{split}_{name}.npy" for name in names)
    return images, weights, paths


def read(directory: Path, split: str) -> Maps:
    """Map the files of a split into memory; data is read on access."""
    images, weights, paths = files(directory, split)
    maps = Maps(
        _read(images, np.uint8, "[m, H, W, 3]"),
        _read(weights, np.float16, "[m, h, w]"),
        _read(paths, np.uint8, "[m, h, w]"),
    )
    expected = (*maps.paths.shape[:1], *(PIXELS_PER_CELL * n for n in maps.paths.shape[1:]), 3)
    _require(maps.images.shape == expected, images, f"the shape {list(expected)}", maps.images)
    same = maps.weights.shape == maps.paths.shape
    _require(same, weights, f"the shape {list(maps.paths.shape)} of {paths.name}", maps.weights)
    return maps


def create(directory: Path, split: str, count: int, size: tuple[int, int]) -> Maps:
    """Make the files of a split, to be filled through the result."""
    height, width = size
    pixels = (PIXELS_PER_CELL * height, PIXELS_PER_CELL * width, 3)
    images, weights, paths = files(directory, split)
    return Maps(
        np.lib.format.open_memmap(images, "w+", np.uint8, (count, *pixels)),
        np.lib.format.open_memmap(weights, "w+", np.float16, (count, height, width)),
        np.lib.format.open_memmap(paths, "w+", np.uint8, (count, height, width)),
    )


def _read(file: Path, dtype: type[np.generic], shape: str) -> np.ndarray:
    try:
        # Pickles are refused: those of a foreign file could run code.
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        names = ", ".join(path.name for path in files(Path(), file.name.split("_")[0]))
        raise UserError(
            f"--data-root: {file} is missing; expected a directory with {names}"
        ) from error
    except (OSError, ValueError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"--data-root: {file} cannot be read as an array ({reason}); fetch it again"
        ) from error
    right = array.dtype == dtype and array.ndim == shape.count(",") + 1
    _require(right, file, f"{np.dtype(dtype)} of shape {shape}", array)
    result: np.ndarray = array
    return result


def _require(right: bool, file: Path, expected: str, got: np.ndarray) -> None:
    if not right:
        raise UserError(
            f"--data-root: expected {file} to have {expected}, got {got.dtype} of shape "
            f"{list(got.shape)}; fetch or generate the maps again"
        )
