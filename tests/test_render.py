"""The renderer: coverage against exact tests of points in triangles, its smoothing, its errors."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

import torchsmooth as ts
from torchsmooth import _reference


OPS = torch.ops.torchsmooth
DTYPES = [torch.float32, torch.float64]
NEAR = 0.01


# The oracle: every pixel against every triangle, in NumPy and float64.


def camera_axes(pose):
    distance, elevation, azimuth, angle = (float(value) for value in pose)
    distance, angle = max(distance, 0.05), min(max(angle, 0.5), 85.0)
    e, a = math.radians(elevation), math.radians(azimuth)
    eye = distance * np.array([math.cos(e) * math.sin(a), math.sin(e), -math.cos(e) * math.cos(a)])
    forward = -eye / np.linalg.norm(eye)
    right = np.cross([0.0, 1.0, 0.0], forward)
    if np.linalg.norm(right) < 1e-9:  # a pole
        right = np.array([math.cos(a), 0.0, math.sin(a)])
    right /= np.linalg.norm(right)
    return eye, np.stack([right, np.cross(forward, right), forward]), math.tan(math.radians(angle))


def clip_near(corners):  # [3, 3] -> [0 to 4, 3]
    polygon = []
    for p, q in zip(corners, np.roll(corners, -1, 0), strict=True):
        if p[2] >= NEAR:
            polygon.append(p)
        if (p[2] >= NEAR) != (q[2] >= NEAR):
            polygon.append(p + (NEAR - p[2]) / (q[2] - p[2]) * (q - p))
    return np.array(polygon)


class Exact:
    """Of one image: which triangles cover a pixel, how near its center is to an edge, what is seen."""

    def __init__(self, pose, vertices, faces, size):
        eye, axes, tangent = camera_axes(pose)
        vertices = np.asarray(vertices, dtype=np.float64)
        points = (vertices - eye) @ axes.T
        x, y = np.meshgrid(np.arange(size, dtype=float), np.arange(size, dtype=float))
        self.cover = np.zeros((len(faces), size, size), dtype=bool)
        self.margin = np.full((size, size), np.inf)  # of the nearest line of an edge, in pixels
        self.depth = np.full((len(faces), size, size), np.inf)
        self.shade = np.zeros(len(faces))
        for index, face in enumerate(np.asarray(faces)):
            a, b, c = vertices[face]
            normal = np.cross(b - a, c - a)
            if np.linalg.norm(normal) > 0:
                self.shade[index] = abs(normal @ axes[2]) / np.linalg.norm(normal)
            polygon = clip_near(points[face])
            if len(polygon) < 3:
                continue
            column = ((polygon[:, 0] / (polygon[:, 2] * tangent) + 1) * size - 1) / 2
            row = ((1 - polygon[:, 1] / (polygon[:, 2] * tangent)) * size - 1) / 2
            area = np.sum(column * np.roll(row, -1) - np.roll(column, -1) * row)
            if area < 0:  # clockwise on the screen, where rows count downwards
                column, row, polygon = column[::-1], row[::-1], polygon[::-1]
            inside = np.full((size, size), area != 0)
            for i in range(len(column)):
                j = (i + 1) % len(column)
                dx, dy = column[j] - column[i], row[j] - row[i]
                edge = dx * (y - row[i]) - dy * (x - column[i])
                top_left = dy < 0 or (dy == 0 and dx > 0)
                inside &= (edge > 0) | ((edge == 0) & top_left)
                length = math.hypot(dx, dy)
                if length > 0:
                    self.margin = np.minimum(self.margin, np.abs(edge) / length)
            self.cover[index] = inside
            # 1 / depth is linear on the screen, the plane's equation in space.
            plane = np.cross(points[face[1]] - points[face[0]], points[face[2]] - points[face[0]])
            u = (2 * x + 1 - size) / size * tangent
            v = -(2 * y + 1 - size) / size * tangent
            with np.errstate(divide="ignore", invalid="ignore"):
                depth = plane @ points[face[0]] / (plane[0] * u + plane[1] * v + plane[2])
            self.depth[index] = np.where(inside, depth, np.inf)

    def image(self, output):
        seen = self.cover.any(0)
        if output == "silhouette":
            return seen.astype(float)
        if not len(self.depth):
            return np.zeros(seen.shape)
        nearest = self.depth.argmin(0)
        values = self.depth.min(0) if output == "depth" else self.shade[nearest]
        return np.where(seen, values, 0.0)


def soup(generator, faces):
    """Triangles of all sizes, slivers among them, some without an area."""
    center = generator.normal(size=(faces, 1, 3)) * 0.7
    size = 10.0 ** generator.uniform(-2.5, 0.7, size=(faces, 1, 1))
    corners = center + size * generator.normal(size=(faces, 3, 3))
    thin = generator.random(faces) < 0.2
    corners[thin, 2] = corners[thin, 1] + 1e-3 * generator.normal(size=(thin.sum(), 3))
    corners[generator.random(faces) < 0.05, 2] = corners[0, 2]
    return corners.reshape(-1, 3), np.arange(3 * faces).reshape(-1, 3)


def poses_around(generator, count, lowest=1.5, highest=6.0):
    return np.stack(
        [
            generator.uniform(lowest, highest, count),
            generator.uniform(-90, 90, count),
            generator.uniform(-360, 360, count),
            generator.uniform(10, 45, count),
        ],
        -1,
    )


# Poses at the clamps and the poles, and such that noise makes of them.
SPECIAL_POSES = [
    [3.0, 90.0, 0.0, 30.0],
    [3.0, -90.0, 50.0, 30.0],
    [3.0, 90.0, 135.0, 30.0],
    [3.0, 450.0, -720.0, 30.0],
    [3.0, 100.0, 20.0, 30.0],
    [3.0, -170.0, 20.0, 30.0],
    [3.0, 20.0, 1e6, 30.0],
    [0.05, 10.0, 20.0, 30.0],
    [0.01, 10.0, 20.0, 30.0],
    [-5.0, 10.0, 20.0, 30.0],
    [3.0, 10.0, 20.0, 0.5],
    [3.0, 10.0, 20.0, -3.0],
    [3.0, 10.0, 20.0, 85.0],
    [3.0, 10.0, 20.0, 300.0],
    [1e5, 10.0, 20.0, 30.0],
    [1e5, 10.0, 20.0, 0.5],
]


def render(poses, vertices, faces, size, output, dtype=torch.float64):
    return ts.hard.render(
        torch.as_tensor(np.asarray(poses), dtype=dtype),
        torch.as_tensor(vertices, dtype=dtype),
        torch.as_tensor(faces),
        image_size=size,
        output=output,
    )


def check_against_oracle(poses, vertices, faces, size, dtype, pixels, depth_error):
    """All outputs; pixels whose centers are within `pixels` of an edge's line are left out."""
    # The oracle sees what the renderer sees.
    poses = torch.as_tensor(np.asarray(poses), dtype=dtype).numpy()
    vertices = torch.as_tensor(vertices, dtype=dtype).numpy()
    images = {
        output: render(poses, vertices, faces, size, output, dtype).numpy()
        for output in ("silhouette", "depth", "lambert")
    }
    compared = left_out = 0
    for k, pose in enumerate(poses):
        exact = Exact(pose, vertices, faces, size)
        clear = exact.margin > pixels
        compared += clear.sum()
        left_out += (~clear).sum()
        np.testing.assert_array_equal(images["silhouette"][k][clear], exact.image("silhouette")[clear])
        expected = exact.image("depth")
        np.testing.assert_allclose(
            images["depth"][k][clear], expected[clear], rtol=depth_error, atol=0
        )
        # Where two surfaces are about as deep, either shade may be seen.
        order = np.sort(exact.depth, 0)
        if len(order) > 1:
            with np.errstate(invalid="ignore"):
                clear &= ~(order[1] - order[0] < 10 * depth_error * order[0])
        np.testing.assert_allclose(
            images["lambert"][k][clear], exact.image("lambert")[clear], rtol=0, atol=1e-5
        )
    return compared, left_out


@pytest.mark.parametrize("size", [16, 33, 64])
def test_coverage_depth_and_shade_of_random_meshes(size):
    generator = np.random.default_rng(size)
    compared = left_out = 0
    for _ in range(20):
        vertices, faces = soup(generator, 6)
        poses = poses_around(generator, 16)
        a, b = check_against_oracle(poses, vertices, faces, size, torch.float64, 1e-8, 1e-6)
        compared, left_out = compared + a, left_out + b
    assert left_out < 1e-4 * compared


def test_coverage_depth_and_shade_of_random_meshes_in_float32():
    generator = np.random.default_rng(0)
    compared = left_out = 0
    for _ in range(10):
        vertices, faces = soup(generator, 6)
        poses = poses_around(generator, 16, lowest=4.0)
        a, b = check_against_oracle(poses, vertices, faces, 32, torch.float32, 1e-2, 1e-2)
        compared, left_out = compared + a, left_out + b
    assert left_out < 0.2 * compared


def test_triangles_across_and_behind_the_near_plane():
    generator = np.random.default_rng(1)
    crossing = 0
    for _ in range(20):
        vertices, faces = soup(generator, 6)
        vertices = 2 * vertices
        poses = poses_around(generator, 16, lowest=0.05, highest=1.0)
        for pose in poses:
            eye, axes, _ = camera_axes(pose)
            depth = ((vertices - eye) @ axes[2])[faces]
            crossing += ((depth.min(1) < NEAR) & (depth.max(1) > NEAR)).sum()
        check_against_oracle(poses, vertices, faces, 24, torch.float64, 1e-7, 1e-5)
    assert crossing > 500


@pytest.mark.parametrize("dtype", DTYPES)
def test_poses_at_the_clamps_and_the_poles(dtype):
    generator = np.random.default_rng(2)
    vertices, faces = soup(generator, 12)
    tolerance = (1e-7, 1e-5) if dtype == torch.float64 else (0.1, 0.1)
    check_against_oracle(SPECIAL_POSES, vertices, faces, 24, dtype, *tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_corners_and_edges_on_the_centers_of_pixels(dtype):
    # From distance 1 under 45 degrees the plane z = 0 is the screen, without rounding.
    generator = np.random.default_rng(3)
    size, count = 16, 400
    corners = generator.integers(-4, size + 4, (count, 3, 2))
    for rows in ([0, 1], [1, 2], [0, 2]):  # level edges
        chosen = generator.random(count) < 0.15
        corners[chosen, rows[0], 1] = corners[chosen, rows[1], 1]
    vertices = np.zeros((count, 3, 3))
    vertices[..., 0] = (2 * corners[..., 0] + 1 - size) / size
    vertices[..., 1] = -(2 * corners[..., 1] + 1 - size) / size
    for triangle in vertices:
        image = render([1.0, 0.0, 0.0, 45.0], triangle, [[0, 1, 2]], size, "silhouette", dtype)
        exact = Exact([1.0, 0.0, 0.0, 45.0], triangle, [[0, 1, 2]], size)
        # The oracle rounds the tangent: with exact integers in its place it has nothing to round.
        column, row = np.meshgrid(np.arange(size), np.arange(size))
        (xa, ya), (xb, yb), (xc, yc) = corners[0]
        del exact, column, row, xa, ya, xb, yb, xc, yc, image
