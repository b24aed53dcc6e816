"""The Utah teapot.

The control points are those of Newell's published data set, with the bottom that was added to it
later.
"""

import torch
from torch import Tensor

from .._checks import check_int
from ._mesh import Mesh


# Bodies of revolution around the vertical, top to bottom: (radius, tangent, height) of circles, of
# which a quarter has the control points (radius, 0), (radius, tangent), (tangent, radius), (0,
# radius).
_REVOLVED = {
    "rim": (
        (1.4, 0.784, 2.4),
        (1.3375, 0.749, 2.53125),
        (1.4375, 0.805, 2.53125),
        (1.5, 0.84, 2.4),
    ),
    "upper body": (
        (1.5, 0.84, 2.4),
        (1.75, 0.98, 1.875),
        (2.0, 1.12, 1.35),
        (2.0, 1.12, 0.9),
    ),
    "lower body": (
        (2.0, 1.12, 0.9),
        (2.0, 1.12, 0.45),
        (1.5, 0.84, 0.225),
        (1.5, 0.84, 0.15),
    ),
    "knob": (
        (0.0, 0.0, 3.15),
        (0.8, 0.45, 3.15),
        (0.0, 0.0, 2.85),
        (0.2, 0.112, 2.7),
    ),
    "lid": (
        (0.2, 0.112, 2.7),
        (0.4, 0.224, 2.55),
        (1.3, 0.728, 2.55),
        (1.3, 0.728, 2.4),
    ),
    "bottom": (
        (1.5, 0.84, 0.15),
        (1.5, 0.84, 0.075),
        (1.425, 0.798, 0.0),
        (0.0, 0.0, 0.0),
    ),
}

# Tubes along the plane of symmetry: (x, height) on one side of the tube, (x, height) on the other,
# and half its width.
_TUBES = {
    "upper handle": (
        (-1.6, 2.025, -1.5, 2.25, 0.3),
        (-2.3, 2.025, -2.5, 2.25, 0.3),
        (-2.7, 2.025, -3.0, 2.25, 0.3),
        (-2.7, 1.8, -3.0, 1.8, 0.3),
    ),
    "lower handle": (
        (-2.7, 1.8, -3.0, 1.8, 0.3),
        (-2.7, 1.575, -3.0, 1.35, 0.3),
        (-2.5, 1.125, -2.65, 0.9375, 0.3),
        (-2.0, 0.9, -1.9, 0.6, 0.3),
    ),
    "lower spout": (
        (1.7, 1.425, 1.7, 0.6, 0.66),
        (2.6, 1.425, 3.1, 0.825, 0.66),
        (2.3, 2.1, 2.4, 2.025, 0.25),
        (2.7, 2.4, 3.3, 2.4, 0.25),
    ),
    "upper spout": (
        (2.7, 2.4, 3.3, 2.4, 0.25),
        (2.8, 2.475, 3.525, 2.49375, 0.25),
        (2.9, 2.475, 3.45, 2.5125, 0.15),
        (2.8, 2.4, 3.2, 2.4, 0.15),
    ),
}


def patches() -> Tensor:
    """The control points of the 32 bicubic Bezier patches, [32, 4, 4, 3] in float64."""
    result = []
    for profile in _REVOLVED.values():
        quarter = [
            [(r, height, 0.0), (r, height, t), (t, height, r), (0.0, height, r)]
            for r, t, height in profile
        ]
        points = torch.tensor(quarter, dtype=torch.float64)
        for _ in range(4):
            result.append(points)
            x, y, z = points.unbind(-1)
            points = torch.stack((-z, y, x), -1) + 0.0  # and no zeros with a sign
    for curve in _TUBES.values():
        near = [
            [(x0, y0, 0.0), (x0, y0, width), (x1, y1, width), (x1, y1, 0.0)]
            for x0, y0, x1, y1, width in curve
        ]
        points = torch.tensor(near, dtype=torch.float64)
        mirrored = points.flip(1) * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64) + 0.0
        result += [points, mirrored]
    return torch.stack(result)


def teapot(level: int = 8) -> Mesh:
    """Returns the Utah teapot, tessellated: 32 Bezier patches of level x level x 2 triangles.

    Handle, spout and lid are separate surfaces that meet the body or overhang it, as in the
    original: the mesh is open at their ends.

    **Arguments:**

    - `level`: the number of pieces of each side of a patch, at least 1.

    **Returns:** the mesh in float32, with one vertex where patches meet and without triangles of
    zero area: 64 level^2 - 8 level triangles. The teapot is on the plane y = 0 around the vertical
    axis, is 3.15 high, and its spout points along x.

    **Raises:** TypeError or ValueError if an argument differs from this description.

    **Source:** Newell, "The utilization of procedure models in digital image synthesis", University
    of Utah, 1975.

    >>> import torchsmooth as ts
    >>> mesh = ts.meshes.teapot(level=2)
    >>> len(mesh.faces)
    240
    """
    level = check_int(level, "level", 1, 8)
    t = torch.arange(level + 1, dtype=torch.float64) / level
    s = 1 - t
    basis = torch.stack((s**3, 3 * s * s * t, 3 * s * t * t, t**3), -1)  # [level + 1, 4]
    points = torch.einsum("ui,pijk,vj->puvk", basis, patches(), basis)
    index = torch.arange(points[..., 0].numel()).reshape(points.shape[:-1])
    a, b = index[:, :-1, :-1], index[:, :-1, 1:]
    c, d = index[:, 1:, :-1], index[:, 1:, 1:]
    faces = torch.stack((a, c, b, b, c, d), -1).reshape(-1, 3)
    # Points that differ by rounding are one. Cells of a grid whose planes are not round numbers.
    cells = (points.reshape(-1, 3) * 2**20 + 0.31415926).floor()
    _, same = torch.unique(cells, dim=0, return_inverse=True)
    vertices = torch.zeros(int(same.max()) + 1, 3, dtype=torch.float64)
    vertices[same] = points.reshape(-1, 3)
    faces = same[faces]
    twice = (faces == faces.roll(1, 1)).any(1)
    return Mesh(vertices.float(), faces[~twice])
