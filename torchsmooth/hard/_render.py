"""Images of triangle meshes."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import check_floating, check_int
from .._dtypes import compute_dtype
from .._kernels.render import hard_render
from .._torch_internals import has_tangent, requires_grad, values_are_readable


OUTPUTS = ("silhouette", "depth", "lambert")
MOST_PIXELS = 4096


class View(NamedTuple):
    """The arguments of rendering, as the ops take them."""

    poses: Tensor  # [R, 4]
    vertices: Tensor  # [V, 3]
    faces: Tensor  # [F, 3], int32
    size: int
    output: str


def render(
    pose: Tensor,
    vertices: Tensor,
    faces: Tensor,
    *,
    image_size: int = 64,
    output: str = "silhouette",
) -> Tensor:
    """Returns the images that a pinhole camera sees of a triangle mesh.

    The camera is at d (cos e sin a, sin e, -cos e cos a) and looks at the origin; the second
    coordinate is its vertical. Rows are counted from the top, columns from the left.

    **Arguments:**

    - `pose`: floating-point tensor of shape [..., 4]: distance d, elevation e, azimuth a, and half
        the field of view v; angles in degrees. Any finite pose is valid: d is clamped to >= 0.05
        and v to [0.5, 85]; at the poles the horizon is the limit from below.
    - `vertices`: floating-point tensor of shape [V, 3], finite.
    - `faces`: integer tensor of shape [F, 3], indices of vertices. Meshes may be open: both sides
        of a face are visible.
    - `image_size`: N, rows and columns, 1 to 4096.
    - `output`: "silhouette": 1 where there is a surface; "depth": its distance along the camera's
        axis; "lambert": the absolute cosine between its normal and the camera's axis, which is the
        light that it reflects from a lamp far behind the camera. Pixels without a surface are 0.

    **Returns:** a tensor of shape [..., N, N] and the dtype of `pose`. A pixel shows the point at
    its center, which is (2 i + 1 - N) / N in [-1, 1] for pixel i. A center on an edge that two
    faces share belongs to one of them: to the right one, or to the lower one if the edge is level
    (the top-left rule). Surfaces nearer than 0.01 along the axis are cut off. Half types are
    computed in float32. A pose with a NaN or an infinity gives NaN. The result carries no gradient.

    **Raises:** TypeError or ValueError if an argument differs from this description. Where values
    cannot be read without waiting for a device, a mesh that is not finite, or that has faces beyond
    its vertices, gives NaN instead.

    >>> import torch, torchsmooth as ts
    >>> vertices = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    >>> faces = torch.tensor([[0, 1, 2]])
    >>> ts.hard.render(torch.tensor([2.0, 0.0, 0.0, 45.0]), vertices, faces, image_size=8)
    tensor([[0., 0., 0., 0., 0., 0., 0., 0.],
            [0., 0., 0., 0., 0., 0., 0., 0.],
            [0., 0., 0., 0., 0., 0., 0., 0.],
            [0., 0., 1., 0., 0., 0., 0., 0.],
            [0., 0., 1., 1., 0., 0., 0., 0.],
            [0., 0., 1., 1., 1., 0., 0., 0.],
            [0., 0., 0., 0., 0., 0., 0., 0.],
            [0., 0., 0., 0., 0., 0., 0., 0.]])
    """
    view = check_view(pose, vertices, faces, image_size, output)
    images = hard_render(*view)
    return images.reshape(*pose.shape[:-1], *images.shape[1:]).to(pose.dtype)


def check_view(
    pose: object, vertices: object, faces: object, image_size: object, output: object
) -> View:
    """The checked arguments, with the poses as rows."""
    poses = check_floating(pose, "pose")
    if poses.ndim == 0 or poses.shape[-1] != 4:
        raise ValueError(
            "pose must have shape [..., 4] (distance, elevation, azimuth, half field of view), got "
            f"{list(poses.shape)}; stack the four along the last dimension"
        )
    points = check_floating(vertices, "vertices")
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(
            f"vertices must have shape [V, 3], got {list(points.shape)}; all poses see one mesh"
        )
    in_reverse = requires_grad(points) and torch.is_grad_enabled()
    if in_reverse or has_tangent(points):
        raise ValueError(
            "vertices must not require grad, because rendering has no gradient in them, got a "
            "tensor that does, or one with a tangent; pass vertices.detach()"
        )
    if not isinstance(faces, Tensor):
        raise TypeError(
            f"faces must be a torch.Tensor, got {type(faces).__name__}; convert it with "
            "torch.as_tensor(faces)"
        )
    if faces.is_floating_point() or faces.is_complex() or faces.dtype == torch.bool:
        raise TypeError(
            f"faces must be an integer tensor, got {faces.dtype}; convert it with faces.long()"
        )
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(
            f"faces must have shape [F, 3], got {list(faces.shape)}; cut other polygons into "
            "triangles"
        )
    for mesh, name in ((points, "vertices"), (faces, "faces")):
        if mesh.device != poses.device:
            raise ValueError(
                f"{name} must be on the device of pose, {poses.device}, got {mesh.device}; move "
                f"it with {name}.to(pose.device)"
            )
    size = check_int(image_size, "image_size", 1, 64)
    if size > MOST_PIXELS:
        raise ValueError(
            f"image_size must be at most {MOST_PIXELS}, got {size}; pass for example 64"
        )
    if output not in OUTPUTS:
        raise ValueError(
            f"output must be one of {', '.join(map(repr, OUTPUTS))}, got {output!r}; pass "
            "'silhouette' for the outline only"
        )
    dtype = compute_dtype(poses.dtype)
    rows = poses.reshape(math.prod(poses.shape[:-1]), 4).to(dtype)
    points = points.detach().to(dtype).contiguous()
    # torch cannot compare unsigned integers other than bytes.
    faces = faces.long()
    count = points.shape[0]
    outside = ((faces < 0) | (faces >= count)).any()
    infinite = ~points.isfinite().all()
    if values_are_readable(points):
        if bool(outside):
            raise ValueError(
                f"faces must be indices of the {count} vertices, got some from {int(faces.min())} "
                f"to {int(faces.max())}; count them from 0"
            )
        if bool(infinite):
            raise ValueError(
                "vertices must be finite in the type of pose, got a NaN or an infinity; remove "
                "such vertices and their faces"
            )
    else:
        rows = torch.where(outside | infinite, torch.nan, rows)
        faces = faces.clamp(0, max(count - 1, 0))
    return View(rows.contiguous(), points, faces.to(torch.int32).contiguous(), size, str(output))
