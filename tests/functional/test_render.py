"""The renderer: coverage against exact tests of points in triangles, its smoothing, its errors."""

import importlib
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo
from facts import assert_mean, replicate
from laws import SCIPY
from rasters import (
    NEAR,
    SPECIAL_POSES,
    camera_axes,
    check_against_oracle,
    check_shared_edges,
    covered,
    planar_mesh,
    poses_around,
    render,
    soup,
)

import torchsmooth as ts
from torchsmooth._kernels import reference as reference
from torchsmooth.distributions import LAWS


ROOT = Path(__file__).parents[2]
OPS = torch.ops.torchsmooth
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("size", [16, 33, 64])
def test_coverage_depth_and_shade_of_random_meshes(size):
    generator = np.random.default_rng(size)
    compared = left_out = 0
    for _ in range(20):
        vertices, faces = soup(generator, 6)
        poses = poses_around(generator, 16)
        a, b = check_against_oracle(poses, vertices, faces, size, torch.float64, 1e-9, 1e-9)
        compared, left_out = compared + a, left_out + b
    assert left_out < 1e-4 * compared


def test_coverage_depth_and_shade_of_random_meshes_in_float32():
    generator = np.random.default_rng(0)
    compared = left_out = 0
    for _ in range(10):
        vertices, faces = soup(generator, 6)
        poses = poses_around(generator, 16)
        a, b = check_against_oracle(poses, vertices, faces, 32, torch.float32, 1e-3, 1e-4)
        compared, left_out = compared + a, left_out + b
    assert left_out < 0.03 * compared


def test_triangles_across_and_behind_the_near_plane():
    generator = np.random.default_rng(1)
    crossing = 0
    for _ in range(16):
        vertices, faces = soup(generator, 10)
        vertices = 2 * vertices
        poses = poses_around(generator, 16, lowest=0.05, highest=1.0)
        for pose in poses:
            eye, axes, _ = camera_axes(pose)
            depth = ((vertices - eye) @ axes[2])[faces]
            crossing += ((depth.min(1) < NEAR) & (depth.max(1) > NEAR)).sum()
        check_against_oracle(poses, vertices, faces, 24, torch.float64, 1e-8, 1e-9)
    assert crossing > 500


@pytest.mark.parametrize("dtype", DTYPES)
def test_poses_at_the_clamps_and_the_poles(dtype):
    generator = np.random.default_rng(2)
    vertices, faces = soup(generator, 12)
    tolerance = (1e-8, 1e-9) if dtype == torch.float64 else (1e-2, 1e-4)
    check_against_oracle(SPECIAL_POSES, vertices, faces, 24, dtype, *tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_corners_and_edges_on_the_centers_of_pixels(dtype):
    # From distance 1 under 45 degrees the plane z = 0 is the screen, without rounding.
    generator = np.random.default_rng(3)
    size, count = 16, 300
    corners = generator.integers(-4, size + 4, (count, 3, 2))
    for pair in ([0, 1], [1, 2], [0, 2]):  # level edges
        level = generator.random(count) < 0.15
        corners[level, pair[0], 1] = corners[level, pair[1], 1]
    vertices = np.zeros((count, 3, 3))
    vertices[..., 0] = (2 * corners[..., 0] + 1 - size) / size
    vertices[..., 1] = (size - 1 - 2 * corners[..., 1]) / size
    on_edges = 0
    for triangle, corner in zip(vertices, corners.astype(float), strict=True):
        image = render([[1.0, 0.0, 0.0, 45.0]], triangle, [[0, 1, 2]], size, "silhouette", dtype)
        inside, margin = covered(corner[:, 0], corner[:, 1], size)
        on_edges += (margin == 0).sum()
        np.testing.assert_array_equal(image[0].numpy(), inside)
    assert on_edges > 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "pose, size",
    [
        ((1.0, 0.0, 0.0, 45.0), 64),  # lattice points on centers of pixels
        ((2.5, 20.0, 130.0, 25.0), 64),
        ((0.3, 4.0, 33.0, 60.0), 65),  # most triangles lie behind the camera or across its plane
        ((0.1, -1.0, 7.0, 80.0), 128),
    ],
)
def test_triangles_that_share_edges_leave_no_gap_and_share_no_pixel(pose, size, dtype):
    generator = np.random.default_rng(4)
    points, faces = planar_mesh(generator, 150)
    vertices = np.insert(points, 2, 0.0, 1) if pose[0] >= 1 else np.insert(3 * points, 1, -0.02, 1)
    compared, covered_pixels = check_shared_edges(pose, vertices, faces, size, dtype)
    assert covered_pixels > 500 and compared > 0.8 * size**2


def test_vertices_on_other_vertices_hide_nothing():
    # A fan of slivers around a point that is the center of a pixel.
    size, count = 16, 200
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    center = [(2 * 5 + 1 - size) / size, (2 * 9 + 1 - size) / size]
    ring = np.stack([center[0] + np.cos(angle), center[1] + np.sin(angle)], -1)
    vertices = np.insert(np.concatenate([[center], ring]), 2, 0.0, 1)
    faces = np.stack(
        [np.zeros(count), 1 + np.arange(count), 1 + (1 + np.arange(count)) % count], -1
    )
    faces = faces.astype(np.int64)
    pose = [[1.0, 0.0, 0.0, 45.0]]
    single = torch.cat([render(pose, vertices, f[None], size, "silhouette") for f in faces])
    x, y = np.meshgrid(np.arange(size), size - 1 - np.arange(size))
    distance = np.hypot(x - 5, y - 9) * 2 / size
    np.testing.assert_array_equal(single.sum(0).numpy(), distance < 0.9999)


def test_the_nearer_surface_is_seen_whatever_the_order():
    generator = np.random.default_rng(5)
    vertices, faces = soup(generator, 40)
    poses = poses_around(generator, 5)
    order = generator.permutation(40)
    for output in ("depth", "lambert"):
        one = render(poses, vertices, faces, 32, output)
        other = render(poses, vertices, faces[order][:, ::-1].copy(), 32, output)
        np.testing.assert_allclose(one, other, rtol=1e-9)
    # Two faces at the same place: what is drawn last does not hide what is as near.
    twice = np.concatenate([faces, faces + len(vertices)])
    tilted = vertices.reshape(-1, 3, 3)[:, [0, 2, 1]].reshape(-1, 3)
    images = render(poses, np.concatenate([vertices, tilted]), twice, 32, "lambert")
    np.testing.assert_allclose(images, render(poses, vertices, faces, 32, "lambert"), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("extent", [1e3, 1e9, 1e15])
def test_a_floor_ends_at_the_horizon(extent, dtype):
    # Corners behind the camera, and so far away that near to it their numbers say little.
    size, angle = 16, math.radians(40)
    corners = [[-3.0, 0, -1], [3, 0, -1], [0.1, 0, 2]]
    vertices = extent * np.array(corners) + [0, -2, 0]
    up = (size - 1 - 2 * np.arange(size)) / size * math.tan(angle)
    for elevation, azimuth in ((0, 0), (10, 30), (-10, 77), (25, 200), (5, 123), (-25, 310)):
        image = render(
            [[3.0, elevation, azimuth, 40.0]], vertices, [[0, 1, 2]], size, "silhouette", dtype
        )
        e = math.radians(elevation)
        below = up * math.cos(e) - math.sin(e) < 0  # of rays, those that go down
        np.testing.assert_array_equal(image[0].numpy(), np.tile(below[:, None], size))


def test_a_face_that_light_only_grazes_is_black():
    # Seen from above its level; the cosine is a sum of zeros with a sign.
    vertices = [[0.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [1.0, -1.0, 1.0]]
    pose = [[3.0, 0.0, 0.0, 30.0]]
    assert render(pose, vertices, [[0, 1, 2]], 16, "silhouette").any()
    image = render(pose, vertices, [[0, 1, 2]], 16, "lambert")
    assert (image == 0).all() and not image.signbit().any()


def test_where_the_camera_stands():
    # Small triangles around points that only one camera sees where they must be.
    def mark(point):
        offset = 1e-2 * np.array([[-1, -1, -1], [1, 1, -1], [1, -1, 1]])
        return np.asarray(point) + offset

    for point, pose, row, column in [
        ((0.5, 0, 0), (2, 0, 0, 45), 0.5, 0.625),  # in front: x to the right
        ((0, 0.5, 0), (2, 0, 0, 45), 0.375, 0.5),  # y up
        ((0, 0, -1.0), (2, 0, 0, 45), 0.5, 0.5),  # the camera stands at z = -2
        ((1.0, 0, 0), (2, 0, 90, 45), 0.5, 0.5),  # at x = 2
        ((0, 0, 0.5), (2, 0, 90, 45), 0.5, 0.625),
        ((0, 0, 0.5), (2, 90, 0, 45), 0.375, 0.5),  # above: forward becomes up
        ((0.5, 0, 0), (2, 90, 0, 45), 0.5, 0.625),
    ]:
        image = render([pose], mark(point), [[0, 1, 2]], 512, "silhouette")[0].numpy()
        assert image.any()
        rows, columns = np.nonzero(image)
        assert abs((rows.mean() + 0.5) / 512 - row) < 0.004, (point, pose)
        assert abs((columns.mean() + 0.5) / 512 - column) < 0.004, (point, pose)


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 128, 200])
def test_sizes(size):
    generator = np.random.default_rng(size)
    vertices, faces = soup(generator, 5)
    check_against_oracle(
        poses_around(generator, 3), vertices, faces, size, torch.float64, 1e-9, 1e-9
    )


# Smoothing


def scene(dtype=torch.float64):
    generator = np.random.default_rng(6)
    vertices, faces = soup(generator, 10)
    pose = torch.tensor([[3.0, 20.0, 40.0, 30.0], [2.5, -60.0, 200.0, 40.0]], dtype=dtype)
    return pose, torch.as_tensor(vertices, dtype=dtype), torch.as_tensor(faces)


SCALE = torch.tensor([0.1, 5.0, 5.0, 1.0], dtype=torch.float64)


@pytest.fixture(params=["one pass", "two passes"])
def passes(request, monkeypatch):
    """How gradients are computed: with the image, or by rendering all samples again."""
    if request.param == "two passes":
        monkeypatch.setattr(importlib.import_module("torchsmooth._kernels.render"), "ONE_PASS", 0)


def smoothed_both_ways(
    law, *, dtype=torch.float64, output="silhouette", size=16, scale=SCALE, **options
):
    """Image and gradients of the kernel, and of the generic road over the hard renderer."""
    shared = scale.to(dtype)
    results = []
    pose, vertices, faces = scene(dtype)
    cotangent = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    for fused in (True, False):
        x = pose.clone().requires_grad_()
        scale = shared.clone().requires_grad_()
        noise = law(scale=scale)
        if fused:
            image = ts.functional.render(
                x, vertices, faces, noise, image_size=size, output=output, seed=7, **options
            )
        else:
            image = ts.smooth(
                lambda p: ts.hard.render(p, vertices, faces, image_size=size, output=output),
                noise,
                seed=7,
                **options,
            )(x)
        results.append((image, *torch.autograd.grad((image * cotangent).sum(), (x, scale))))
    return results


@pytest.mark.parametrize("output", ["silhouette", "depth", "lambert"])
@pytest.mark.parametrize("covariate", ["none", "fx", "loo"])
@pytest.mark.parametrize("size", [16, 33, 67])  # rows of whole vectors, of none, and of two words
def test_smooths_the_hard_renderer(size, output, covariate, passes):
    options = {"num_samples": 75, "sampler": "mc", "covariate": covariate, "output": output}
    options["size"] = size
    for ours, generic in zip(*smoothed_both_ways(ts.Logistic, **options), strict=True):
        torch.testing.assert_close(ours, generic, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "law, sampler, antithetic, num_samples",
    [
        (ts.Gaussian, "sobol", False, 64),
        (ts.Gumbel, "mc", True, 36),
        (ts.Cauchy, "rqmc_latin", False, 33),
        (ts.Laplace, "qmc_latin", True, 40),
        (ts.Triangular, "rqmc_cartesian", False, 16),
        (ts.WignerSemicircle, "mc", False, 3),
    ],
)
def test_laws_and_samplers(law, sampler, antithetic, num_samples, passes):
    options = {"num_samples": num_samples, "sampler": sampler, "antithetic": antithetic}
    for ours, generic in zip(*smoothed_both_ways(law, **options), strict=True):
        torch.testing.assert_close(ours, generic, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "scale",
    [
        torch.tensor(0.3),
        SCALE,
        torch.tensor([[0.2], [0.4]]),
        torch.stack([SCALE, 0.7 * SCALE]),
    ],
)
@pytest.mark.parametrize("output", ["silhouette", "depth"])
def test_scales_of_any_shape(output, scale, passes):
    options = {"num_samples": 40, "sampler": "mc", "output": output, "scale": scale}
    for ours, generic in zip(*smoothed_both_ways(ts.Gaussian, **options), strict=True):
        torch.testing.assert_close(ours, generic, rtol=1e-9, atol=1e-9)


def test_smooths_in_float32(passes):
    options = {"num_samples": 64, "dtype": torch.float32, "output": "lambert"}
    (ours, *gradients), (generic, *others) = smoothed_both_ways(ts.Logistic, **options)
    torch.testing.assert_close(ours, generic, rtol=0, atol=1e-5)
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)


def test_a_scale_matrix_takes_the_generic_road():
    pose, vertices, faces = scene()
    matrix = torch.diag(SCALE).requires_grad_()
    x = pose.requires_grad_()
    options = {"num_samples": 32, "seed": 3}
    ours = ts.functional.render(
        x, vertices, faces, ts.Gaussian(scale_matrix=matrix), image_size=16, **options
    )
    diagonal = ts.functional.render(
        x, vertices, faces, ts.Gaussian(scale=SCALE), image_size=16, **options
    )
    torch.testing.assert_close(ours, diagonal)
    one, other = (
        torch.autograd.grad(i[:, :8].sum(), x, retain_graph=True)[0] for i in (ours, diagonal)
    )
    torch.testing.assert_close(one, other)
    assert torch.autograd.grad(ours[:, :8].sum(), matrix)[0].shape == (4, 4)


def test_a_law_of_torch_takes_the_generic_road():
    pose, vertices, faces = scene()
    law = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    noise = [ts.FromTorch(law, scale=SCALE), ts.Gaussian(scale=SCALE)]
    one, other = (
        ts.functional.render(pose, vertices, faces, law, image_size=16, num_samples=32, seed=3)
        for law in noise
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("law", ["gaussian", "logistic", "gumbel", "cauchy"])
def test_the_law_of_an_edge(law, passes):
    # A half-plane from x = 1 on. Its edge is seen at 1 / (d tan v): a pixel at u shows it if the
    # perturbed distance is above t = 1 / (u tan v).
    vertices = torch.tensor(
        [[1.0, -1e3, 0.0], [1e3, -1e3, 0.0], [1e3, 1e3, 0.0], [1.0, 1e3, 0.0]]
    ).double()
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    size, distance, gamma, angle = 32, 3.0, 0.2, 45.0
    pose = replicate(torch.tensor([distance, 0.0, 0.0, angle]).double(), 400)
    scale = torch.tensor([gamma, 1e-7, 1e-7, 1e-7]).double().repeat(400, 1).requires_grad_()
    image = ts.functional.render(
        pose,
        vertices,
        faces,
        LAWS[law](scale=scale),
        image_size=size,
        num_samples=64,
        sampler="mc",
        seed=0,
    )
    column = 21
    u = (2 * column + 1 - size) / size
    z = (1 / u - distance) / gamma
    assert_mean(image[:, 16, column], SCIPY[law].sf(z), resolution=0.05)
    in_pose, in_scale = torch.autograd.grad(image[:, 16, column].sum(), (pose, scale))
    density = SCIPY[law].pdf(z) / gamma
    assert_mean(in_pose[:, 0], density, resolution=0.5)
    assert_mean(in_scale[:, 0], density * z, resolution=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["silhouette", "depth", "lambert"])
def test_ops_are_the_twins(output):
    pose, vertices, faces = scene()
    pose = torch.cat([pose, torch.tensor(SPECIAL_POSES[:8]).double()])
    faces = faces.int()
    arguments = (pose, vertices, faces, 24, output)
    torch.testing.assert_close(
        OPS.hard_render(*arguments), reference.hard_render(*arguments), rtol=1e-6, atol=1e-6
    )
    elements = pose.shape[0]
    noise = (SCALE.repeat(elements, 1), torch.tensor(5), torch.empty(0, 32, dtype=torch.int32))
    options = ("logistic", "mc", True, 6, 24, output)
    for baseline, jacobian in itertools.product(
        ("none", "fx", "mean"), ("none", "x", "x_and_scale")
    ):
        estimator = (baseline, 0.1, 0.25, jacobian)
        for ours, twin in zip(
            OPS.render(pose, vertices, faces, *noise, *options, *estimator),
            reference.render(pose, vertices, faces, *noise, *options, *estimator),
            strict=True,
        ):
            torch.testing.assert_close(ours, twin, rtol=1e-6, atol=1e-6)
    grad, center = torch.randn(elements, 24, 24).double(), torch.randn(elements).double()
    backward = (grad, center, pose, vertices, faces, *noise, *options, 0.1, 0.25, True)
    for ours, twin in zip(
        OPS.render_backward(*backward), reference.render_backward(*backward), strict=True
    ):
        torch.testing.assert_close(ours, twin, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("output", ["silhouette", "depth", "lambert"])
def test_a_vertex_without_faces_changes_no_bit(output, passes):
    """In float32 the scratch of an odd number of vertices ends between two doubles."""
    _, vertices, faces = scene(torch.float32)
    assert len(vertices) % 2 == 0

    def value_and_gradients(vertices):
        pose = scene(torch.float32)[0].requires_grad_()
        scale = SCALE.float().requires_grad_()
        image = ts.functional.render(
            pose,
            vertices,
            faces,
            ts.Logistic(scale),
            image_size=17,
            output=output,
            num_samples=36,  # so few are one task, whose sums lie behind its scratch
            sampler="mc",
            seed=7,
        )
        return image, *torch.autograd.grad(image.square().sum(), (pose, scale))

    more = torch.cat([vertices, torch.ones(1, 3)])
    torch.testing.assert_close(
        value_and_gradients(more), value_and_gradients(vertices), rtol=0, atol=0
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["silhouette", "lambert"])
def test_what_all_samples_show_has_no_derivative(output, dtype):
    # A wall from edge to edge, straight ahead; its shade depends on the direction of view alone.
    vertices = 1e3 * torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=dtype)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    pose = torch.tensor([[3.0, 0.0, 0.0, 30.0]], dtype=dtype, requires_grad=True)
    scale = torch.tensor([0.1, 1e-30, 1e-30, 1.0], dtype=dtype, requires_grad=True)
    image = ts.functional.render(
        pose, vertices, faces, ts.Gaussian(scale), image_size=20, output=output, num_samples=333
    )
    assert (image == 1).all()
    for gradient in torch.autograd.grad(image.sum(), (pose, scale)):
        assert (gradient == 0).all()


def test_the_jacobian_of_many_large_images_is_not_kept():
    pose, vertices, faces = scene(torch.float32)
    saved = []
    for elements, size in ((1, 257), (513, 64), (512, 64)):
        x = pose[:1].repeat(elements, 1).requires_grad_()
        options = {"image_size": size, "num_samples": 1, "seed": 0, "covariate": "none"}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: saved.append(t.numel()) or t, lambda t: t
        ):
            ts.functional.render(x, vertices, faces, ts.Logistic(0.1), **options)
        assert (max(saved) > elements * size**2) == (elements == 512)
        saved.clear()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"baseline": "median"}, "baseline: no such value: 'median'"),
        ({"jacobian": "y"}, "jacobian: no such value: 'y'"),
        ({"scale": torch.ones(1, 4)}, "scale must have pose's dtype"),
    ],
)
def test_the_smoothing_op_checks_its_arguments(changes, message):
    pose, vertices, faces = scene()
    arguments = {"x": pose, "vertices": vertices, "faces": faces.int(), "scale": SCALE[None]}
    arguments |= {"seed": torch.tensor(0), "directions": torch.empty(0, 32, dtype=torch.int32)}
    arguments |= {"law": "logistic", "sampler": "mc", "antithetic": False, "num_samples": 4}
    arguments |= {"size": 8, "output": "silhouette", "factor": 1.0, "pair_weight": 0.0}
    with pytest.raises(RuntimeError, match=message):
        OPS.render(**{**arguments, "baseline": "mean", "jacobian": "x", **changes})


def test_threads_do_not_change_a_bit(passes):
    pose, vertices, faces = scene(torch.float32)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        x = pose.clone().requires_grad_()
        options = {"num_samples": 200, "seed": 1, "output": "depth"}
        image = ts.functional.render(x, vertices, faces, ts.Logistic(SCALE.float()), **options)
        results.append((image, *torch.autograd.grad(image[:, 20:].sum(), x)))
    torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.processes
@pytest.mark.parametrize("isa", ["baseline", "avx2"])
def test_instruction_sets_agree(isa, tmp_path):
    pose, vertices, faces = scene(torch.float32)
    poses = torch.cat([pose, torch.tensor(SPECIAL_POSES)])
    arguments = (poses, vertices, faces.int(), 64, "lambert")
    torch.save(arguments, tmp_path / "arguments.pt")
    code = (
        "import sys, torch, torchsmooth\n"
        "arguments = torch.load(sys.argv[1])\n"
        "torch.save(torch.ops.torchsmooth.hard_render(*arguments), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "arguments.pt"), str(tmp_path / "out.pt")]
    environment = {**os.environ, "TORCHSMOOTH_CPU": isa}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if "this machine has no" in done.stderr:
        pytest.skip(f"this machine has no {isa}")
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(
        torch.load(tmp_path / "out.pt"), OPS.hard_render(*arguments), rtol=0, atol=1e-6
    )


# Shapes, types and bad input


def test_shapes_and_types():
    pose, vertices, faces = scene()
    image = ts.hard.render(pose[0], vertices, faces, image_size=8)
    assert image.shape == (8, 8) and image.dtype == torch.float64
    batch = pose.reshape(2, 1, 4).expand(2, 3, 4)  # not contiguous
    images = ts.hard.render(batch, vertices, faces, image_size=8)
    assert images.shape == (2, 3, 8, 8) and torch.equal(images[0, 2], image)
    noise = ts.Logistic(0.1)
    for dtype in (torch.float16, torch.bfloat16):
        half = ts.functional.render(pose.to(dtype), vertices, faces.int(), noise, num_samples=4)
        assert half.shape == (2, 64, 64) and half.dtype == dtype
    # No poses, no faces, no mesh: nothing is seen, and nothing fails.
    for p, v, f in [
        (pose[:0], vertices, faces),
        (pose, vertices, faces[:0]),
        (pose, vertices[:0], faces[:0]),
    ]:
        p = p.clone().requires_grad_()
        image = ts.functional.render(p, v, f, noise, image_size=8, num_samples=4)
        assert torch.equal(image, torch.zeros(len(p), 8, 8, dtype=torch.float64))
        assert torch.equal(torch.autograd.grad(image.sum(), p)[0], torch.zeros_like(p))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64]
)
def test_faces_of_any_integers(dtype):
    pose, vertices, faces = scene()
    image = ts.hard.render(pose, vertices, faces.to(dtype), image_size=8)
    assert torch.equal(image, ts.hard.render(pose, vertices, faces, image_size=8))
    with pytest.raises(ValueError, match="of the 29 vertices"):
        ts.hard.render(pose, vertices[:29], faces.to(dtype), image_size=8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own derivatives
def test_vertices_have_no_derivative_of_any_kind():
    pose, vertices, faces = scene()

    def of_vertices(v):
        return ts.functional.render(pose, v, faces, ts.Logistic(SCALE), num_samples=8).sum()

    def hard(v):
        return ts.hard.render(pose, v, faces).sum()

    for function in (of_vertices, hard):
        with pytest.raises(ValueError, match="vertices must not require grad"):
            torch.func.jvp(function, (vertices,), (vertices,))
        with pytest.raises(ValueError, match="vertices must not require grad"):
            torch.func.grad(function)(vertices)

        def of_tangent(v, function=function):
            return torch.func.jvp(function, (v,), (v,))

        meshes = torch.stack([vertices, 2 * vertices])
        for nested in (of_tangent, torch.func.grad(function)):
            with pytest.raises(ValueError, match="vertices must not require grad"):
                torch.vmap(nested)(meshes)
        with pytest.raises(ValueError, match="vertices must not require grad"):
            torch.func.grad(lambda v, f=function: torch.vmap(f)(v).sum())(meshes)
        with pytest.raises(ValueError, match="vertices must not require grad"):
            torch.func.jvp(torch.vmap(function), (meshes,), (meshes,))
        with torch.no_grad():  # where nobody asks for one
            function(vertices.clone().requires_grad_())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_numbers_stay_apart(bad, passes):
    pose, vertices, faces = scene()
    x = torch.cat([pose, pose])
    x[1, 2] = bad
    x.requires_grad_()
    images = [
        ts.hard.render(x, vertices, faces, image_size=8),
        ts.functional.render(x, vertices, faces, ts.Logistic(SCALE), image_size=8, num_samples=4),
    ]
    for image in images:
        assert image[1].isnan().all() and not image[[0, 2, 3]].isnan().any()
    (grad,) = torch.autograd.grad(images[1][..., :4].sum(), x)
    assert grad[1].isnan().all() and not grad[[0, 2, 3]].isnan().any()


def test_extreme_poses_end():
    _, vertices, faces = scene(torch.float32)
    values = torch.tensor([-3e38, -1e30, -1e9, 0.0, 1e-30, 1e9, 1e30, 3e38])
    poses = torch.cartesian_prod(values, values, values[::3], values)
    image = ts.hard.render(poses, vertices, faces, image_size=4)
    assert ((image == 0) | (image == 1)).all()
    for extreme in (1e-30, 1e9, 1e30):
        for output in ("depth", "lambert"):
            ts.hard.render(poses[::17], extreme * vertices, faces, image_size=4, output=output)


BAD_INPUT = {
    "pose of three": ({"pose": torch.zeros(2, 3)}, ValueError, "pose must have shape"),
    "pose of integers": ({"pose": torch.zeros(2, 4).int()}, TypeError, "pose must be a floating"),
    "pose is a list": ({"pose": [1.0, 2.0, 3.0, 4.0]}, TypeError, "pose must be a torch.Tensor"),
    "vertices of two": ({"vertices": torch.zeros(5, 2)}, ValueError, "vertices must have shape"),
    "batch of meshes": ({"vertices": torch.zeros(2, 5, 3)}, ValueError, "vertices must have shape"),
    "vertices with grad": (
        {"vertices": torch.zeros(30, 3, requires_grad=True)},
        ValueError,
        "vertices must not require grad",
    ),
    "vertices with nan": (
        {"vertices": torch.full((30, 3), math.nan)},
        ValueError,
        "must be finite",
    ),
    "faces of floats": ({"faces": torch.zeros(2, 3)}, TypeError, "faces must be an integer tensor"),
    "faces is a list": ({"faces": [[0, 1, 2]]}, TypeError, "faces must be a torch.Tensor"),
    "quads": ({"faces": torch.zeros(2, 4).long()}, ValueError, "faces must have shape"),
    "face beyond": ({"faces": torch.tensor([[0, 1, 30]])}, ValueError, "of the 30 vertices"),
    "face before": ({"faces": torch.tensor([[0, 1, -1]])}, ValueError, "from -1 to 1"),
    "face far beyond": ({"faces": torch.tensor([[0, 1, 2**32]])}, ValueError, "faces must be"),
    "no pixels": ({"image_size": 0}, ValueError, "image_size must be at least 1"),
    "too many pixels": ({"image_size": 5000}, ValueError, "image_size must be at most 4096"),
    "two sizes": ({"image_size": (64, 64)}, TypeError, "image_size must be an int"),
    "no such output": ({"output": "color"}, ValueError, "output must be one of"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input(case):
    changes, error, message = BAD_INPUT[case]
    pose, vertices, faces = scene()
    arguments = {"pose": pose, "vertices": vertices, "faces": faces, **changes}
    with pytest.raises(error, match=message):
        ts.hard.render(**arguments)
    with pytest.raises(error, match=message):
        ts.functional.render(**arguments, distribution=ts.Logistic())
    if "pose" not in changes:
        with pytest.raises(error, match=message):
            del arguments["pose"]
            ts.nn.Render(distribution=ts.Logistic(), **arguments)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"faces": torch.tensor([[0, 1, 30]], dtype=torch.int32)}, "faces must be indices"),
        ({"faces": torch.tensor([[0, 1, 2]])}, "faces must be int32"),
        ({"vertices": torch.zeros(30, 3)}, "vertices must have pose's dtype"),
        ({"pose": torch.zeros(2, 5).double()}, r"pose must be contiguous of shape \[2, 4\]"),
        ({"size": 0}, "size must be in"),
        ({"output": "color"}, "no such value: 'color'"),
    ],
)
def test_the_op_checks_its_arguments(changes, message):
    pose, vertices, faces = scene()
    arguments = {"pose": pose, "vertices": vertices, "faces": faces.int(), "size": 8}
    with pytest.raises(RuntimeError, match=message):
        OPS.hard_render(**{**arguments, "output": "silhouette", **changes})


# Compiled, and as a layer


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_equals_eager(passes):
    pose, vertices, faces = scene(torch.float32)

    def image(x, scale):
        noise = ts.Logistic(scale)
        options = {"num_samples": 16, "image_size": 16, "seed": 3}
        return ts.functional.render(x, vertices, faces, noise, **options)

    torch._dynamo.reset()
    results = []
    for function in (image, torch.compile(image, fullgraph=True, backend="aot_eager")):
        x, scale = pose.clone().requires_grad_(), SCALE.float().requires_grad_()
        value = function(x, scale)
        results.append((value, *torch.autograd.grad(value[:, :8].sum(), (x, scale))))
    torch._dynamo.reset()
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_bad_meshes_give_nan_where_values_are_not_read():
    pose, vertices, faces = scene(torch.float32)

    def image(vertices, faces):
        return ts.hard.render(pose, vertices, faces, image_size=8)

    torch._dynamo.reset()
    compiled = torch.compile(image, fullgraph=True, backend="aot_eager")
    assert not compiled(vertices, faces).isnan().any()
    assert compiled(vertices.clone().fill_(math.inf), faces).isnan().all()
    assert compiled(vertices, faces + 1).isnan().all()
    torch._dynamo.reset()


def test_layer():
    pose, vertices, faces = scene(torch.float32)
    noise = ts.Logistic(SCALE.float())
    layer = ts.nn.Render(
        vertices, faces, noise, image_size=16, output="depth", num_samples=16, seed=2
    )
    options = {"image_size": 16, "output": "depth"}
    expected = ts.functional.render(pose, vertices, faces, noise, num_samples=16, seed=2, **options)
    assert torch.equal(layer(pose), expected)
    layer.eval_mode = "hard"
    assert torch.equal(layer.eval()(pose), ts.hard.render(pose, vertices, faces, **options))
    assert {"vertices", "faces"} <= layer.state_dict().keys()
    mesh = "vertices=<torch.float32 tensor of shape (30, 3)>"
    assert f"{mesh}, faces=<{faces.dtype} tensor of shape (10, 3)>, image_size=16" in repr(layer)
    assert "output='depth'" in repr(layer)


def test_descent_finds_a_pose():
    # A box with sides of its own, from 15 degrees away.
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3) * torch.tensor([0.9, 0.5, 0.3])
    faces = torch.tensor(
        [[0, 1, 3], [0, 3, 2], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4]]
        + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 3, 7], [1, 7, 5]]
    )
    target = torch.tensor([4.0, 25.0, 35.0, 20.0])
    image = ts.hard.render(target, corners, faces, image_size=32)
    pose = torch.tensor([4.5, 15.0, 50.0, 20.0], requires_grad=True)
    optimizer = torch.optim.Adam([pose], lr=0.5, betas=(0.5, 0.99))
    for step in range(150):
        scale = torch.tensor([0.1, 5.0, 5.0, 0.25]) * 10 ** (0.3 - 1.0 * step / 150)
        smooth = ts.functional.render(
            pose, corners, faces, ts.Logistic(scale), image_size=32, num_samples=64, seed=step
        )
        optimizer.zero_grad()
        (smooth - image).square().sum().backward()
        optimizer.step()
    assert (pose.detach() - target)[1:3].abs().max() < 3
