"""Images of meshes."""

import itertools
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .comparison import (
    DTYPES,
    Case,
    Kernels,
    assert_close,
    assert_equal,
    assert_same_nan,
    inputs,
    noise,
    require,
)


OUTPUTS = ["silhouette", "depth", "lambert"]
POSES = torch.tensor([[3.0, 20.0, 40.0, 25.0], [2.0, -70.0, 200.0, 40.0], [0.3, 95.0, 3.0, 80.0]])
SCALE = torch.tensor([[0.1, 5.0, 5.0, 0.25]])


def torus(rings: int) -> tuple[Tensor, Tensor]:
    """2 rings^2 triangles."""
    turn = torch.arange(rings) * (2 * torch.pi / rings)
    a, b = torch.meshgrid(turn, turn, indexing="ij")
    radius = 0.7 + 0.3 * b.cos()
    vertices = torch.stack((radius * a.cos(), 0.3 * b.sin(), radius * a.sin()), -1).reshape(-1, 3)
    index = torch.arange(rings * rings, dtype=torch.int32).reshape(rings, rings)
    right, below = index.roll(-1, 1), index.roll(-1, 0)
    opposite = right.roll(-1, 0)
    faces = torch.stack((index, right, below, right, opposite, below), -1).reshape(-1, 3)
    return vertices, faces.contiguous()


def mesh(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """ "torus": small triangles; "soup", "around": large ones that reach behind the camera."""
    if name == "torus":
        vertices, index = torus(12)
        return vertices.to(dtype), index
    faces, spread, seed = {"soup": (40, 0.7, 7), "around": (30, 3.0, 8)}[name]
    generator = torch.Generator().manual_seed(seed)
    center = spread * torch.randn(faces, 1, 3, generator=generator)
    vertices = center + torch.randn(faces, 3, 3, generator=generator)
    index = torch.arange(3 * faces, dtype=torch.int32).reshape(faces, 3)
    return vertices.reshape(-1, 3).to(dtype), index


MESHES = ["torus", "soup", "around"]


def assert_images(what: str, expected: Tensor, got: Tensor, samples: int) -> None:
    """Equal but for single pixels that an edge's rounding could give to its other side."""
    assert_same_nan(what, [expected], [got])
    different = (expected - got).nan_to_num().abs() > 1e-4 * (1 + expected.nan_to_num().abs())
    allowed = max(1, 1e-5 * samples * expected.numel())
    count = int(different.sum())
    require(count <= allowed, f"{what}: {count} of {expected.numel()} pixels differ")


def images(
    name: str, dtype: torch.dtype, size: int, output: str, law: str, sampler: str, s: int,
    poses: Tensor, kernels: Kernels,
) -> None:  # fmt: skip
    scene = (poses.to(dtype), *mesh(name, dtype))
    [expected], [got] = kernels.both("hard_render", *scene, size, output)
    assert_images("hard_render", expected, got, 1)
    batch = len(poses)
    scale = SCALE.repeat(batch, 1).to(dtype)
    arguments = (*scene, scale, *noise(sampler, 4), law, sampler, False, s, size, output)
    [expected, *_], [got, *_] = kernels.both("render", *arguments, "mean", 1 / s, 0.1, "none")
    assert_images("render", expected, got, s)
    grad = inputs(batch, size * size, dtype).reshape(batch, size, size)
    center = (grad * expected.nan_to_num()).flatten(1).sum(1)
    results = kernels.both("render_backward", grad, center, *arguments, 1 / s, 0.1, True)
    for e, g in zip(*results, strict=True):
        assert_close("render_backward", e, g, 1e-3)


def bad_scene(which: str, output: str, dtype: torch.dtype, size: int, kernels: Kernels) -> None:
    """Poses and vertices with NaN, infinities, 0 and huge values."""
    nan, inf = float("nan"), float("inf")
    pose = POSES[:1].repeat(8, 1).to(dtype)
    pose[0, 0], pose[1, 1], pose[2, 2] = nan, inf, -inf
    pose[3, 3], pose[4, 3], pose[5, 0], pose[6, 0], pose[7, 3] = 0.0, 1e-20, 0.0, -1e30, 1e30
    vertices, faces = torus(5)
    vertices = vertices.to(dtype).clone()
    if which == "nan":
        vertices[3, 0] = nan
    elif which == "infinite":
        vertices[3, 0], vertices[7, 1] = inf, -1e30
    [expected], [got] = kernels.both("hard_render", pose, vertices, faces, size, output)
    assert_images("hard_render", expected, got, 1)
    scale = SCALE.to(dtype)
    options = (*noise("mc", 4), "cauchy", "mc", False, 3, size, output)
    arguments = (pose, vertices, faces, scale, *options)
    [expected, *_], [got, *_] = kernels.both("render", *arguments, "mean", 1 / 3, 0.0, "none")
    assert_images("render", expected, got, 3)
    upstream = (torch.ones_like(expected), torch.zeros(8, dtype=dtype))
    results = kernels.both("render_backward", *upstream, *arguments, 1 / 3, 0.0, True)
    assert_same_nan("render_backward", *results)


def unknown_vertices(output: str, dtype: torch.dtype, size: int, kernels: Kernels) -> None:
    """Faces of no vertices, which the CPU refuses and a GPU leaves out."""
    vertices, faces = torus(5)
    broken = faces.clone()
    broken[3, 0], broken[4, 1] = -1, 10**6
    known = torch.cat([faces[:3], faces[5:]])
    pose, vertices = POSES.to(dtype), vertices.to(dtype)
    [without] = kernels.call("hard_render", pose, vertices, known, size, output)
    [got] = kernels.call("hard_render", pose, vertices, broken, size, output)
    assert_equal("faces of no vertices", without, got)


def nothing(rows: int, kernels: Kernels) -> None:
    empty = torch.zeros(3, 3), torch.zeros(rows, 3, dtype=torch.int32)
    [expected], [got] = kernels.both("hard_render", POSES[:rows], *empty, 16, "lambert")
    assert_equal("images of nothing", expected, got)


def cases() -> Iterator[Case]:
    bad = torch.tensor([[3.0, float("nan"), 40.0, 25.0]])
    samplings = [("logistic", "mc", 37), ("gaussian", "sobol", 8)]
    # Images of 78 and 110 pixels take just less than the 48 KB that a block has without asking.
    sizes = [1, 2, 16, 31, 32, 33, 64, 78, 110, 128, 300]
    for dtype, size, output, name, sampling in itertools.product(
        DTYPES, sizes, OUTPUTS, MESHES, samplings
    ):
        poses = torch.cat([POSES, bad])
        law, sampler, s = sampling
        call = partial(images, name, dtype, size, output, law, sampler, s, poses)
        yield Case("images", f"{name} {dtype} {size=} {output} {law} {sampler} {s=}", call)
    for output, dtype, size in itertools.product(OUTPUTS, DTYPES, (33, 200)):
        for which in ("poses", "nan", "infinite"):
            run = partial(bad_scene, which, output, dtype, size)
            yield Case("bad scenes", f"{which} {output} {dtype} {size=}", run)
        run = partial(unknown_vertices, output, dtype, size)
        yield Case("bad scenes", f"unknown vertices {output} {dtype} {size=}", run)
    for rows in (0, 2):
        yield Case("images of nothing", f"{rows} rows", partial(nothing, rows))


def small_cases() -> Iterator[Case]:
    for output, dtype, name in itertools.product(OUTPUTS, DTYPES, MESHES):
        call = partial(images, name, dtype, 33, output, "logistic", "mc", 6, POSES[[0, 2]])
        yield Case("images", f"{name} {dtype} {output}", call)
