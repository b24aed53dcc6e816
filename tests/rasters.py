"""What is known exactly about images: every pixel against every triangle, in NumPy and float64."""

import math

import numpy as np
import torch
from scipy.spatial import Delaunay

import torchsmooth as ts


NEAR = 0.01


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


def covered(column, row, size):
    """The centers in a convex polygon by the top-left rule, and their distance from its lines."""
    x, y = np.meshgrid(np.arange(size, dtype=float), np.arange(size, dtype=float))
    following = np.roll(column, -1), np.roll(row, -1)
    area = np.sum(column * following[1] - following[0] * row)
    if area < 0:  # counterclockwise on the screen, where rows count downwards
        column, row = column[::-1], row[::-1]
    inside = np.full((size, size), area != 0)
    margin = np.full((size, size), np.inf)
    for i in range(len(column)):
        j = (i + 1) % len(column)
        dx, dy = column[j] - column[i], row[j] - row[i]
        edge = dx * (y - row[i]) - dy * (x - column[i])
        top_left = dy < 0 or (dy == 0 and dx > 0)
        inside &= (edge > 0) | ((edge == 0) & top_left)
        if math.hypot(dx, dy) > 0:
            margin = np.minimum(margin, np.abs(edge) / math.hypot(dx, dy))
    return inside, margin


class Exact:
    """Of one image: what covers a pixel, how far it is from the edges, and what it shows."""

    def __init__(self, pose, vertices, faces, size):
        eye, axes, tangent = camera_axes(pose)
        vertices = np.asarray(vertices, dtype=np.float64)
        points = (vertices - eye) @ axes.T
        x, y = np.meshgrid(np.arange(size, dtype=float), np.arange(size, dtype=float))
        u, v = (2 * x + 1 - size) / size * tangent, (size - 1 - 2 * y) / size * tangent
        self.cover = np.zeros((len(faces), size, size), dtype=bool)
        self.margin = np.full((size, size), np.inf)
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
            self.cover[index], margin = covered(column, row, size)
            self.margin = np.minimum(self.margin, margin)
            # Where the ray through the pixel meets the plane of the triangle.
            a, b, c = points[face]
            normal = np.cross(b - a, c - a)
            with np.errstate(divide="ignore", invalid="ignore"):
                depth = normal @ a / (normal[0] * u + normal[1] * v + normal[2])
            self.depth[index] = np.where(self.cover[index], depth, np.inf)

    def image(self, output):
        seen = self.cover.any(0)
        if output == "silhouette":
            return seen.astype(float)
        values = self.depth.min(0) if output == "depth" else self.shade[self.depth.argmin(0)]
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
        np.testing.assert_array_equal(
            images["silhouette"][k][clear], exact.image("silhouette")[clear]
        )
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


def planar_mesh(generator, count):
    """A square in a plane, cut into triangles: vertices at random, and some on a lattice."""
    lattice = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 2), -1).reshape(-1, 2)
    points = np.concatenate([lattice, generator.uniform(-1, 1, (count, 2))])
    return points, Delaunay(points).simplices


def check_shared_edges(pose, vertices, faces, size, dtype):
    """Of a square in a plane, cut by `planar_mesh`: no pixel has two triangles, and none has none.

    Returns how many pixels were compared with those of the square, and how many it covers.
    """
    images = torch.stack(
        [render([pose], vertices, face[None], size, "silhouette", dtype)[0] for face in faces]
    )
    together = render([pose], vertices, faces, size, "silhouette", dtype)[0]
    assert images.sum(0).max() <= 1
    assert torch.equal(images.amax(0), together)
    corners = vertices[[0, 8, 80, 72]]
    exact = Exact(pose, corners, [[0, 1, 2], [0, 2, 3]], size)
    outline = Exact(pose, corners, [[0, 1, 2], [0, 2, 3], [0, 1, 3], [1, 2, 3]], size)
    clear = outline.margin > 0.02
    expected = exact.cover.any(0)
    np.testing.assert_array_equal(together.numpy()[clear], expected[clear])
    return clear.sum(), expected[clear].sum()
