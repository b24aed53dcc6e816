"""Maps like the published ones, made from a seed and kept on disk."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common.errors import UserError
from tqdm import tqdm

import torchsmooth as ts

from . import layout, terrain, tiles
from .layout import SPLITS, Maps


_VERSION = 1  # raise it with every change of the generated maps, so that no old cache is read
_PART = 100  # maps made at once, which bounds the memory


@dataclass(frozen=True)
class Generator:
    """Square maps of five classes of terrain, in three splits, as a function of a seed.

    - `size`: cells to a side.
    - `train`, `val`, `test`: how many maps. Those of a smaller number are the first of a larger.
    - `seed`: everything random follows from it.

    The cheapest path is that of `ts.hard.shortest_path` for the weights as they are stored:
    corner to corner, 8 neighbours.
    """

    size: int = 12
    train: int = 10_000
    val: int = 1_000
    test: int = 1_000
    seed: int = 0

    @property
    def name(self) -> str:
        """The directory of the cache, below its root. Other settings have another one."""
        counts = "-".join(str(getattr(self, split)) for split in SPLITS)
        return f"generated-v{_VERSION}-seed{self.seed}-{counts}/{self.size}x{self.size}"

    def part(self, split: str, number: int) -> Maps:
        """The maps of a split from 100 * number on, at most 100 of them."""
        count = min(_PART, getattr(self, split) - _PART * number)
        classes, biomes = terrain.grow(self.seed, split, number, count, self.size)
        images = tiles.paint(classes, biomes, self.seed, f"{split}/picture", number)
        weights = terrain.COSTS[classes].astype(np.float16)
        paths = ts.hard.shortest_path(torch.from_numpy(weights.astype(np.float32)))
        return Maps(images, weights, paths.numpy().astype(np.uint8))

    def cached(self, root: Path, *, progress: bool) -> Path:
        """The directory that holds the maps in the published layout; made if it is not there."""
        directory = root / self.name
        if not directory.is_dir():
            with _replacing(directory) as temporary:
                self._write(temporary, progress=progress)
        return directory

    def _write(self, directory: Path, *, progress: bool) -> None:
        total = sum(getattr(self, split) for split in SPLITS)
        with tqdm(total=total, desc="maps", unit="map", disable=not progress) as bar:
            for split in SPLITS:
                count = getattr(self, split)
                maps = layout.create(directory, split, count, (self.size, self.size))
                for number, first in enumerate(range(0, count, _PART)):
                    part, into = self.part(split, number), maps[first : first + _PART]
                    into.images[:], into.weights[:] = part.images, part.weights
                    into.paths[:] = part.paths
                    bar.update(len(part))


@contextmanager
def _replacing(directory: Path) -> Iterator[Path]:
    """A new directory that gets its name when it is complete, even if the process is killed."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=directory.name + ".", dir=directory.parent))
    except OSError as error:
        raise UserError(
            "--data-root: expected a directory that can be made or written, got "
            f"{directory.parent} ({error.strerror}); choose another one"
        ) from error
    try:
        yield temporary
        try:
            temporary.rename(directory)
        except OSError:
            if not directory.is_dir():  # else another process was first, with the same maps
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
