"""The teapot: counts, box, symmetry and edges of its patches; meshes of files; another teapot."""

import builtins
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import torchsmooth as ts
from torchsmooth.meshes._teapot import patches


def boundary(faces):
    """The edges that one face has; those of two faces must be passed in both directions."""
    edges = Counter()
    for a, b, c in faces.tolist():
        edges.update(((a, b), (b, c), (c, a)))
    assert max(edges.values()) == 1
    return [edge for edge in edges if edge[::-1] not in edges]


def test_patches_are_those_of_the_published_data():
    points = patches()
    assert points.shape == (32, 4, 4, 3)
    # The published list has 306 vertices: 4 that no patch uses, and 12 of the bottom's upper edge
    # that are those of the body's lower one.
    assert len(torch.unique(points.reshape(-1, 3), dim=0)) == 306 - 4 - 12


def test_neighbouring_patches_share_their_border():
    points = patches()
    for first in range(0, 24, 4):
        for quarter in range(4):
            a, b = points[first + quarter], points[first + (quarter + 1) % 4]
            assert torch.equal(a[:, 3], b[:, 0])
    for upper, lower in ((0, 4), (4, 8), (8, 20), (12, 16)):
        for quarter in range(4):
            assert torch.equal(points[upper + quarter, 3], points[lower + quarter, 0])
    for half in (24, 26, 28, 30):
        assert torch.equal(points[half, :, 3], points[half + 1, :, 0])
        assert torch.equal(points[half, :, 0], points[half + 1, :, 3])
    for upper, lower in ((24, 26), (25, 27), (28, 30), (29, 31)):
        assert torch.equal(points[upper, 3], points[lower, 0])


def test_box():
    mesh = ts.meshes.teapot(level=64)
    # The body, of radius 2, gives the width, the handle the least x, the spout's outer curve the
    # greatest.
    spout = np.array([3.3, 3.525, 3.45, 3.2])
    t = np.linspace(0, 1, 65)
    curve = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    low, high = mesh.vertices.amin(0).tolist(), mesh.vertices.amax(0).tolist()
    assert low == [-3.0, 0.0, -2.0]
    assert high == pytest.approx([(spout @ np.stack(curve)).max(), 3.15, 2.0], rel=1e-6)


@pytest.mark.parametrize("level", [1, 3, 6])
def test_symmetry(level):
    mesh = ts.meshes.teapot(level)
    vertices = mesh.vertices.double().numpy().round(5)
    everything = {tuple(v) for v in vertices + 0.0}
    assert everything == {tuple(v) for v in vertices * [1, 1, -1] + 0.0}
    # Without handle and spout, quarter turns change nothing.
    assert len(mesh.faces) == 64 * level**2 - 8 * level
    turned = {(-z + 0.0, y, x) for x, y, z in everything}
    revolved = everything & turned
    on_axis = sum(1 for x, _, z in revolved if x == z == 0)
    assert on_axis >= 2 and len(revolved) >= 4 * level * 6 * level * 0.9


@pytest.mark.parametrize("level", [2, 5, 8])
def test_is_closed_where_the_model_is(level):
    # (At level 1 the two halves of a tube are the same flat ribbon.)
    mesh = ts.meshes.teapot(level)
    assert mesh.faces.min() == 0 and mesh.faces.max() == len(mesh.vertices) - 1
    assert len(torch.unique(mesh.faces)) == len(mesh.vertices)
    open_edges = boundary(mesh.faces)
    ends = mesh.vertices[torch.tensor(open_edges)].double().numpy()  # [edges, 2, 3]
    radius, height = np.hypot(ends[..., 0], ends[..., 2]), ends[..., 1]
    level_with_rim = np.abs(height - 2.4) < 1e-6
    curves = {
        "rim": level_with_rim & (np.abs(radius - 1.4) < 0.02),
        "lid": level_with_rim & (np.abs(radius - 1.3) < 0.02),
        "upper end of the handle": (ends[..., 0] > -1.601)
        & (ends[..., 0] < -1.499)
        & (height >= 2.0249),
        "lower end of the handle": (ends[..., 0] > -2.001)
        & (ends[..., 0] < -1.899)
        & (height <= 0.9001),
        "spout's base": np.abs(ends[..., 0] - 1.7) < 1e-6,
        "spout's tip": level_with_rim & (ends[..., 0] > 2.79),
    }
    counts = {name: int(on.all(1).sum()) for name, on in curves.items()}
    assert counts == {name: (4 if name in ("rim", "lid") else 2) * level for name in curves}
    assert sum(counts.values()) == len(open_edges)


def test_points_lie_on_the_patches():
    # The middle of a quarter lies at (1 + 3 + 3 * 0.56) / 8 of the radius along both axes, by its
    # control points; this is 0.4 % farther out than a circle.
    mesh = ts.meshes.teapot(level=2)
    at_rim = mesh.vertices[(mesh.vertices[:, 1] - 2.4).abs() < 1e-6]
    radius = torch.hypot(at_rim[:, 0], at_rim[:, 2])
    middle = 1.4 * (4 + 3 * 0.56) / 8 * 2**0.5
    assert ((radius - middle).abs() < 1e-5).sum() == 4
    assert ((radius - 1.4).abs() < 1e-5).sum() == 4


def test_normalized():
    mesh = ts.meshes.teapot(3)
    vertices, faces = mesh.normalized()
    assert torch.equal(faces, mesh.faces)
    box = vertices.amin(0), vertices.amax(0)
    torch.testing.assert_close(box[0], -box[1])
    assert (box[1] - box[0]).max().item() == pytest.approx(2)
    for few in (mesh.vertices[:0], mesh.vertices[:1].expand(5, 3)):
        with pytest.raises(ValueError, match="at least two different ones"):
            ts.meshes.Mesh(few, mesh.faces[:0]).normalized()
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="vertices must be finite"):
            ts.meshes.Mesh(mesh.vertices * bad, mesh.faces).normalized()


@pytest.mark.parametrize(
    "level, error", [(0, ValueError), (-1, ValueError), (2.0, TypeError), (None, TypeError)]
)
def test_level(level, error):
    with pytest.raises(error, match="level must be"):
        ts.meshes.teapot(level)


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl"])
def test_files(suffix, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    mesh = ts.meshes.teapot(2)
    path = tmp_path / f"teapot.{suffix}"
    trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False).export(path)
    vertices, faces = ts.meshes.load(path)
    assert vertices.dtype == torch.float32 and faces.dtype == torch.int64
    torch.testing.assert_close(vertices[faces], mesh.vertices[mesh.faces])


def test_polygons_of_files_become_triangles(tmp_path):
    pytest.importorskip("trimesh")
    path = tmp_path / "quad.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n")
    vertices, faces = ts.meshes.load(str(path))
    assert len(vertices) == 4 and len(faces) == 2
    assert set(map(int, faces.flatten())) == {0, 1, 2, 3}


def test_files_without_a_mesh(tmp_path):
    pytest.importorskip("trimesh")
    with pytest.raises(FileNotFoundError, match="path must be an existing file with a mesh"):
        ts.meshes.load(tmp_path / "nothing.obj")
    points = tmp_path / "points.obj"
    points.write_text("v 0 0 0\nv 1 0 0\n")
    with pytest.raises(ValueError, match="path must be a file with triangles"):
        ts.meshes.load(points)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("beyond.obj", "v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 9\n", "that trimesh can read"),
        ("none.ply", "hello\n", "that trimesh can read"),
        ("mesh.unknown", "hello\n", "that trimesh can read"),
        ("mesh", "v 0 0 0\n", "that trimesh can read"),
        ("nan.obj", "v 0 0 0\nv nan 0 0\nv 1 1 0\nf 1 2 3\n", "with finite vertices"),
        ("far.obj", "v 0 0 0\nv 1e300 0 0\nv 1 1 0\nf 1 2 3\n", "with finite vertices"),
    ],
)
def test_files_that_cannot_be_read(name, content, message, tmp_path):
    pytest.importorskip("trimesh")
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"path must be a file {message}") as caught:
        ts.meshes.load(tmp_path / name)
    assert repr(str(tmp_path / name)) in str(caught.value)


@pytest.mark.parametrize("path", [None, 3, b"mesh.obj"])
def test_paths_are_text(path):
    pytest.importorskip("trimesh")
    with pytest.raises(TypeError, match="path must be a str or an os.PathLike"):
        ts.meshes.load(path)


def test_files_need_trimesh(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name == "trimesh":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install torchsmooth\[meshes\]"):
        ts.meshes.load("teapot.obj")


def test_looks_like_another_teapot():
    """A simplified teapot of 2464 triangles, as experiments on camera poses have used it."""
    pytest.importorskip("trimesh")
    root = os.environ.get("TORCHSMOOTH_DATA")
    if root is None or not (Path(root) / "teapot" / "teapot.obj").exists():
        pytest.skip("needs teapot/teapot.obj in the folder that TORCHSMOOTH_DATA names")
    other = ts.meshes.load(Path(root) / "teapot" / "teapot.obj").normalized()
    ours = ts.meshes.teapot().normalized()
    generator = torch.Generator().manual_seed(0)
    elevation = torch.rand(50, generator=generator) * 160 - 80
    azimuth = torch.rand(50, generator=generator) * 360
    pose = torch.stack((torch.full((50,), 4.0), elevation, azimuth, torch.full((50,), 20.0)), -1)
    a, b = (ts.hard.render(pose, *mesh, image_size=128) > 0 for mesh in (ours, other))
    overlap = (a & b).sum((1, 2)) / (a | b).sum((1, 2))
    assert overlap.min() > 0.98, overlap
