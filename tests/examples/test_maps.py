import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from common.errors import UserError
from maps import Generator, generator, layout, noise, read, terrain, tiles
from scipy import ndimage
from scipy.sparse import csgraph, csr_array
from sklearn.linear_model import LogisticRegression
from torch import nn


FEW = {"train": 130, "val": 3, "test": 2}  # the first split has more than a part


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A small cache, made once."""
    return Generator(size=12, **FEW).cached(tmp_path_factory.mktemp("data"), progress=False)


def arrays(count=3, height=4, width=5):
    """The three arrays of a split in the published layout, with numbers that tell them apart."""
    rng = np.random.default_rng(0)
    return {
        "maps": rng.integers(0, 256, (count, 8 * height, 8 * width, 3), dtype=np.uint8),
        "vertex_weights": rng.uniform(0.8, 9.2, (count, height, width)).astype(np.float16),
        "shortest_paths": rng.integers(0, 2, (count, height, width), dtype=np.uint8),
    }


def write(directory, split="train", **changed):
    directory.mkdir(exist_ok=True)
    for name, array in {**arrays(), **changed}.items():
        np.save(directory / f"{split}_{name}.npy", array)


def cheapest(weights):
    """The cost of the cheapest path from corner to corner, both ends included, by scipy."""
    height, width = weights.shape
    numbers = np.arange(weights.size).reshape(height, width)
    start, end, cost = [], [], []
    for (row, column), number in np.ndenumerate(numbers):
        around = numbers[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].ravel()
        for other in around[around != number]:
            start.append(number), end.append(other), cost.append(weights.flat[other])
    graph = csr_array((cost, (start, end)), shape=(weights.size, weights.size))
    return weights[0, 0] + csgraph.dijkstra(graph, indices=0)[-1]


# --- The published layout -------------------------------------------------------------------------


def test_the_published_layout_is_read(tmp_path):
    write(tmp_path, "val")
    maps, expected = read(tmp_path, "val"), arrays()
    assert len(maps) == 3 and maps.size == (4, 5)
    np.testing.assert_array_equal(maps.images, expected["maps"])
    np.testing.assert_array_equal(maps.weights, expected["vertex_weights"])
    np.testing.assert_array_equal(maps.paths, expected["shortest_paths"])


def test_what_is_read_stays_on_disk_and_cannot_be_written(tmp_path):
    write(tmp_path)
    maps = read(tmp_path, "train")
    for array in (maps.images, maps.weights, maps.paths, maps[1:].images):
        assert isinstance(array, np.memmap) and not array.flags.writeable


def test_some_of_the_maps(tmp_path):
    write(tmp_path)
    some = read(tmp_path, "train")[np.array([2, 0])]
    assert len(some) == 2
    for array, name in (
        (some.images, "maps"),
        (some.weights, "vertex_weights"),
        (some.paths, "shortest_paths"),
    ):
        np.testing.assert_array_equal(array, arrays()[name][[2, 0]])


@pytest.mark.parametrize("name", ["maps", "vertex_weights", "shortest_paths"])
def test_a_file_that_is_missing_is_named(tmp_path, name):
    write(tmp_path)
    (tmp_path / f"train_{name}.npy").unlink()
    with pytest.raises(UserError, match=rf"train_{name}.npy is missing.*train_maps.npy"):
        read(tmp_path, "train")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"maps": arrays()["maps"].astype(np.float32)}, r"train_maps.*uint8.*got float32"),
        ({"maps": arrays()["maps"][..., 0]}, r"train_maps.*\[m, H, W, 3\].*\[3, 32, 40\]"),
        ({"maps": arrays()["maps"][:, :-8]}, r"train_maps.*\[3, 32, 40, 3\].*\[3, 24, 40, 3\]"),
        ({"maps": arrays()["maps"][:2]}, r"train_maps.*\[3, 32, 40, 3\].*\[2, 32, 40, 3\]"),
        (
            {"vertex_weights": arrays()["vertex_weights"].astype(np.float64)},
            r"train_vertex_weights.*float16.*got float64",
        ),
        (
            {"vertex_weights": arrays()["vertex_weights"][:, 1:]},
            r"train_vertex_weights.*\[3, 4, 5\].*\[3, 3, 5\]",
        ),
        (
            {"shortest_paths": arrays()["shortest_paths"].astype(bool)},
            r"train_shortest_paths.*uint8.*got bool",
        ),
    ],
)
def test_another_type_or_shape_is_refused(tmp_path, changed, message):
    write(tmp_path, **changed)
    with pytest.raises(UserError, match=message):
        read(tmp_path, "train")


def test_a_pickle_is_not_opened(tmp_path):
    write(tmp_path)
    trap = tmp_path / "opened"
    objects = np.array([_Trap(trap)], dtype=object)
    np.save(tmp_path / "train_maps.npy", objects, allow_pickle=True)
    with pytest.raises(UserError, match="train_maps.npy cannot be read"):
        read(tmp_path, "train")
    assert not trap.exists()


class _Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("length", [0, 40, 500])
def test_half_a_file_is_refused(tmp_path, length):
    write(tmp_path)
    file = tmp_path / "train_maps.npy"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(UserError, match="train_maps.npy cannot be read"):
        read(tmp_path, "train")


# --- Generated maps: terrain and paths ------------------------------------------------------------


def test_generated_maps_have_the_published_layout(generated):
    for split, count in FEW.items():
        maps = read(generated, split)
        assert len(maps) == count and maps.size == (12, 12)
        costs = np.array([0.8, 1.2, 5.3, 7.7, 9.2], dtype=np.float16)
        assert set(np.unique(maps.weights)) <= set(costs)
        assert set(np.unique(maps.paths)) == {0, 1}


def test_generated_paths_are_the_cheapest(generated):
    maps = read(generated, "train")
    for weights, path in zip(maps.weights[90:120].astype(float), maps.paths[90:120], strict=True):
        assert (weights * path).sum() == pytest.approx(cheapest(weights), rel=1e-6)
        # Connected over edges and corners, from one corner to the other.
        assert path[0, 0] and path[-1, -1]
        assert ndimage.label(path, np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("size", [18, 24, 30])
def test_larger_maps(size):
    maps = Generator(size=size, train=2).part("train", 0)
    assert maps.images.shape == (2, 8 * size, 8 * size, 3)
    assert maps.weights.shape == maps.paths.shape == (2, size, size)
    weights = maps.weights[0].astype(float)
    assert (weights * maps.paths[0]).sum() == pytest.approx(cheapest(weights), rel=1e-6)


def test_all_classes_and_biomes_are_common():
    classes, biomes = terrain.grow(0, "train", 0, 500, 12)
    shares = np.bincount(classes.ravel(), minlength=5) / classes.size
    assert len(shares) == len(terrain.COSTS) and shares.min() > 0.12 and shares.max() < 0.32
    shares = np.bincount(biomes.ravel(), minlength=terrain.BIOMES) / biomes.size
    assert len(shares) == terrain.BIOMES and shares.min() > 0.2


def test_terrain_lies_in_patches():
    """Neighbours are of one class much more often than two cells of different maps."""
    classes, _ = terrain.grow(0, "train", 0, 500, 12)
    neighbours = (classes[:, :, 1:] == classes[:, :, :-1]).mean()
    strangers = (classes[1:] == classes[:-1]).mean()
    assert strangers < 0.3 and neighbours > 0.55


def test_smooth_fields_have_mean_0_and_variance_1_in_every_cell():
    field = noise.smooth_field(0, "any", 0, 3000, 12, period=5.0)
    np.testing.assert_allclose(field.mean(0), 0, atol=0.1)  # more than five sigmas
    np.testing.assert_allclose(field.var(0), 1, atol=0.25)


# --- Generated maps: pictures ---------------------------------------------------------------------


def pictured(count, split):
    """Tiles of 8x8 pixels from whole pictures, in [-1, 1], and their classes."""
    classes, biomes = terrain.grow(0, split, 0, count, 12)
    images = tiles.paint(classes, biomes, 0, split, 0)
    cut = images.reshape(count, 12, 8, 12, 8, 3).transpose(0, 1, 3, 5, 2, 4)
    return cut.reshape(-1, 3, 8, 8) / np.float32(127.5) - 1, classes.ravel()


def test_reading_a_tile_takes_more_than_its_mean_colour():
    """A linear probe on mean colours fails; a small convolutional network on the tile does not."""
    tiles_seen, classes_seen = pictured(60, "train")
    tiles_new, classes_new = pictured(20, "test")

    probe = LogisticRegression(max_iter=1000).fit(tiles_seen.mean((2, 3)), classes_seen)
    assert probe.score(tiles_new.mean((2, 3)), classes_new) < 0.45

    network = nn.Sequential(
        *(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5)),
    )
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    x, y = torch.from_numpy(tiles_seen), torch.from_numpy(classes_seen)
    for _ in range(5):
        for batch in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        answers = network(torch.from_numpy(tiles_new)).argmax(-1).numpy()
    assert (answers == classes_new).mean() > 0.8


def test_a_class_has_several_looks_and_a_colour_several_classes():
    """The mean colour of a biome's class is that of other classes in other biomes."""
    looks = {}
    for kind in range(5):
        for biome in range(terrain.BIOMES):
            cells = np.full((30, 12, 12), kind)
            image = tiles.paint(cells, np.full_like(cells, biome), 0, "looks", 0)
            looks[kind, biome] = image.mean((0, 1, 2))
    for (kind, biome), colour in looks.items():
        same_class = [looks[kind, other] for other in range(terrain.BIOMES) if other != biome]
        assert min(np.abs(colour - other).max() for other in same_class) > 25
        alike = {k for (k, _), other in looks.items() if np.abs(colour - other).max() < 6}
        assert len(alike - {kind}) == 2


def test_neighbours_blend_at_their_border():
    """Across a border of two classes, columns go from one mean colour to the other by steps."""
    cells = np.zeros((60, 4, 4), dtype=int)
    cells[:, :, 2:] = terrain.WATER
    picture = tiles.paint(cells, np.zeros_like(cells), 0, "border", 0)
    columns = picture.mean((0, 1))  # [32, 3]
    left, right = columns[:10].mean(0), columns[22:].mean(0)
    share = (columns - left) @ (right - left) / ((right - left) ** 2).sum()
    assert (np.diff(share[12:20]) > 0).all()
    assert np.abs(share[:10]).max() < 0.1 and np.abs(share[22:] - 1).max() < 0.1
    assert share[15] < 0.5 < share[16]
    assert np.abs(share[13:19] - np.round(share[13:19])).max() > 0.25


# --- Generated maps: seeds and the cache ----------------------------------------------------------


def test_maps_are_a_function_of_the_seed():
    one, same = (Generator(train=5).part("train", 0) for _ in range(2))
    for a, b in zip(vars(one).values(), vars(same).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (
        Generator(train=5, seed=1).part("train", 0),
        Generator(val=5).part("val", 0),
        Generator(train=105).part("train", 1),
    ):
        assert len(other) == 5
        assert (one.weights != other.weights).mean((1, 2)).min() > 0.3


def test_fewer_maps_are_the_first_of_more(generated):
    few = Generator(train=7).part("train", 0)
    many = read(generated, "train")
    for a, b in zip(vars(few).values(), vars(many[:7]).values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_cache_is_made_once(generated, monkeypatch):
    monkeypatch.setattr(Generator, "part", None)
    assert Generator(size=12, **FEW).cached(generated.parent.parent, progress=False) == generated


@pytest.mark.parametrize("change", [{"seed": 1}, {"size": 18}, {"train": 129}, {"test": 3}])
def test_other_settings_have_another_cache(change):
    assert Generator(**{**FEW, **change}).name != Generator(**FEW).name


def test_a_failure_leaves_no_cache(tmp_path, monkeypatch):
    original = Generator.part

    def failing(self, split, number):
        if split == "val":
            raise RuntimeError("in the middle")
        return original(self, split, number)

    monkeypatch.setattr(Generator, "part", failing)
    with pytest.raises(RuntimeError, match="in the middle"):
        Generator(size=4, train=2, val=2, test=2).cached(tmp_path, progress=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    directory = Generator(size=4, train=2, val=2, test=2).cached(tmp_path, progress=False)
    assert len(read(directory, "val")) == 2


@pytest.mark.processes
def test_a_killed_process_leaves_no_cache(tmp_path):
    program = (
        "import sys, pathlib, maps; "
        "maps.Generator().cached(pathlib.Path(sys.argv[1]), progress=False)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.npy")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / Generator().name).exists()


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--data-root"):
        Generator(size=4, train=1, val=1, test=1).cached(tmp_path / "file", progress=False)


def test_two_processes_may_make_one_cache(tmp_path, monkeypatch):
    """The second to finish leaves what the first has made."""
    settings = Generator(size=4, train=2, val=1, test=1)
    original = Generator._write

    def slow(self, directory, *, progress):
        monkeypatch.setattr(Generator, "_write", original)
        first = settings.cached(tmp_path, progress=False)
        (first / "mark").touch()
        original(self, directory, progress=progress)

    monkeypatch.setattr(Generator, "_write", slow)
    directory = settings.cached(tmp_path, progress=False)
    assert (directory / "mark").exists()
    assert os.listdir(directory.parent) == [directory.name]


def test_progress_is_shown(tmp_path, capsys):
    Generator(size=4, train=2, val=1, test=1).cached(tmp_path, progress=True)
    assert "4/4" in capsys.readouterr().err


def test_parts_follow_each_other_in_the_files(generated):
    second = Generator(size=12, **FEW).part("train", 1)
    assert len(second) == FEW["train"] - generator._PART
    np.testing.assert_array_equal(read(generated, "train").images[generator._PART :], second.images)
    assert layout.SPLITS == tuple(FEW)
