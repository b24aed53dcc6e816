"""Images of a triangle mesh, their mean over perturbed poses, and its gradients.

In homogeneous coordinates (Olano and Greer, "Triangle scan conversion using 2D homogeneous
coordinates", 1997): the ray through a pixel meets a triangle if it lies on the inner side of the
three planes through the camera and an edge. Nothing is clipped, projected or interpolated.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ...distributions import AbstractDistribution
from .noise import accumulator, draw_weights, pick, sums_of_products, without_bad_rows
from .samplers import overlapped, words


LEAST_DISTANCE, LEAST_ANGLE, MOST_ANGLE = 0.05, 0.5, 85.0
NEAR = 0.01

# Elements of the largest intermediate tensor: 32 MB.
_CHUNK_ELEMENTS = 4 * 2**20


def _sine_and_cosine(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Exact at multiples of 90 degrees."""
    rest = torch.remainder(degrees, 360)
    quarter = (rest / 90).round()
    angle = torch.deg2rad(rest - 90 * quarter)
    s, c = angle.sin(), angle.cos()
    turned = quarter.remainder(4)
    sine = torch.where(
        turned == 0, s, torch.where(turned == 1, c, torch.where(turned == 2, -s, -c))
    )
    cosine = torch.where(
        turned == 0, c, torch.where(turned == 1, -s, torch.where(turned == 2, -c, s))
    )
    return sine, cosine


def _camera(pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # [R, 4] -> [R, 3, 3], [R], [R]
    """The axes (right, up, forward) of cameras, their distances, and tan(half field of view)."""
    distance = pose[:, 0].clamp(min=LEAST_DISTANCE)
    sin_e, cos_e = _sine_and_cosine(pose[:, 1])
    sin_a, cos_a = _sine_and_cosine(pose[:, 2])
    angle = pose[:, 3].clamp(LEAST_ANGLE, MOST_ANGLE)
    zero, side = torch.zeros_like(sin_e), torch.where(cos_e < 0, -1.0, 1.0).to(pose.dtype)
    right = torch.stack((side * cos_a, zero, side * sin_a), -1)
    forward = torch.stack((-cos_e * sin_a, -sin_e, cos_e * cos_a), -1)
    up = torch.linalg.cross(forward, right)
    sin_v, cos_v = _sine_and_cosine(angle)
    return torch.stack((right, up, forward), 1), distance, sin_v / cos_v


def _render_rows(
    pose: Tensor,  # [R, 4], finite
    triangles: Tensor,  # [F, 3, 3]
    size: int,
    output: str,
) -> Tensor:  # [R, size, size]
    axes, distance, tangent = _camera(pose)
    corners = torch.einsum("rij,fcj->rfci", axes, triangles)
    corners[..., 2] += distance.reshape(-1, 1, 1)
    centers = (2 * torch.arange(size, device=pose.device, dtype=pose.dtype) + 1 - size) / size
    ray_x = tangent.unsqueeze(-1) * centers  # [R, columns]
    ray_y = -tangent.unsqueeze(-1) * centers  # [R, rows]
    # Planes through the camera and an edge: their normals, of which the dot product with a ray is
    # positive on one side.
    a, b, c = corners.unbind(-2)
    planes = torch.stack(
        (torch.linalg.cross(a, b), torch.linalg.cross(b, c), torch.linalg.cross(c, a)), -2
    )
    volume = (planes[..., 0, :] * c).sum(-1)  # [R, F]
    planes = planes * torch.where(volume < 0, -1, 1)[..., None, None].to(planes.dtype)
    volume = volume.abs()
    px, py, pz = planes.unbind(-1)  # [R, F, 3]
    normals = torch.linalg.cross(
        triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    )
    normals = torch.nn.functional.normalize(normals, dim=-1, eps=0)
    shade = (normals @ axes[:, 2].mT).abs().mT.clamp(max=1)  # [R, F]
    image = pose.new_zeros((pose.shape[0], size, size))
    for row in range(size):
        side = px.unsqueeze(-1) * ray_x[:, None, None, :] + (
            py * ray_y[:, row, None, None] + pz
        ).unsqueeze(-1)  # [R, F, 3, columns]
        # On an edge, what lies just right of the pixel decides, or just below it.
        tie = torch.where(px != 0, px, -py).unsqueeze(-1)
        inside = (torch.where(side == 0, tie, side) > 0).all(2)
        nearness = side.sum(2) / volume.unsqueeze(-1)  # 1 / depth
        inside &= (nearness > 0) & (nearness <= 1 / NEAR)
        if output == "silhouette":
            image[:, row] = inside.any(1).to(image.dtype)
            continue
        nearness = torch.where(inside, nearness, 0)
        nearest, face = nearness.max(1)
        if output == "depth":
            image[:, row] = torch.where(nearest > 0, 1 / nearest, 0)
        else:
            # Of faces at the same depth the brightest.
            first = inside & (nearness == nearest.unsqueeze(1))
            image[:, row] = torch.where(first, shade.unsqueeze(-1), 0).amax(1)
    return image


def hard_render(
    pose: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    size: int,
    output: str,
) -> Tensor:  # [B, size, size]
    """Images of the mesh: of silhouettes, depths or shades; 0 where there is no surface.

    A pose with a NaN or an infinity has NaN for its image.
    """
    dtype = accumulator(pose)
    bad = ~pose.isfinite().all(-1)
    safe = torch.where(bad.unsqueeze(-1), 1, pose).to(dtype)
    images = pose.new_zeros((pose.shape[0], size, size))
    triangles = vertices.to(dtype)[faces.long()]
    if faces.shape[0] > 0:
        rows = max(1, _CHUNK_ELEMENTS // (3 * faces.shape[0] * size))
        for start in range(0, pose.shape[0], rows):
            chunk = _render_rows(safe[start : start + rows], triangles, size, output)
            images[start : start + rows] = chunk.to(pose.dtype)
    return torch.where(bad.reshape(-1, 1, 1), torch.nan, images)


class _Chunk(NamedTuple):
    start: int
    elements: slice  # the batch elements that the rows belong to
    element: Tensor  # [rows]
    image: Tensor  # [rows, pixels]
    score: Tensor  # [rows, 4]
    scale_weight: Tensor  # [rows, 4]


def _rendered_chunks(
    x: Tensor,
    vertices: Tensor,
    faces: Tensor,
    scale: Tensor,
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    size: int,
    output: str,
    pair_weight: float,
) -> Iterator[_Chunk]:
    """Perturbs and renders all samples, in chunks of rows."""
    batch, n = x.shape
    rows = max(1, _CHUNK_ELEMENTS // (size * size))
    for start in range(0, batch * num_samples, rows):
        stop = min(start + rows, batch * num_samples)
        word = words(seed, directions, sampler, antithetic, num_samples, n, start, stop)
        noise, score, scale_weight = draw_weights(law, word, x.dtype, pair_weight)
        element = torch.arange(start, stop, device=x.device) // num_samples
        pose = x.index_select(0, element) + pick(scale, element) * noise
        begin = start // num_samples
        yield _Chunk(
            start,
            slice(begin, begin + overlapped(num_samples, start, stop)),
            element,
            hard_render(pose, vertices, faces, size, output).flatten(1),
            score,
            scale_weight,
        )


def render(
    x: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    scale: Tensor,  # [1 or B, 1 or 4]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    size: int,
    output: str,
    baseline: str,
    factor: float,
    pair_weight: float,
    jacobian: str,
) -> tuple[Tensor, Tensor, Tensor]:  # [B, size, size], and twice [B, size, size, 4] or [0]
    """The mean image of perturbed poses, and its Jacobians.

    The Jacobian in x is J[b, row, column, j] = factor / scale_j * (sum over samples of (image -
    base)[b, row, column] * score_j), with base 0 for `baseline` "none", the image of the
    unperturbed pose for "fx", and the mean image for "mean"; that in the scale has score_j noise_j
    - 1 in place of score_j. `jacobian` says which are wanted: "none", "x" or "x_and_scale"; the
    others are empty. An element with a NaN or an infinity has NaN for its results.
    """
    batch, n = x.shape
    x, scale, bad = without_bad_rows(x, scale)
    dtype = accumulator(x)
    columns = {"none": 0, "x": n, "x_and_scale": 2 * n}[jacobian]
    # Sums over samples of the images, and of a pixel that is always 1, times (1, weights).
    table = x.new_zeros((batch, size * size + 1, 1 + columns), dtype=dtype)
    for chunk in _rendered_chunks(
        x,
        vertices,
        faces,
        scale,
        seed,
        directions,
        law,
        sampler,
        antithetic,
        num_samples,
        size,
        output,
        pair_weight,
    ):
        ones = chunk.image.new_ones((chunk.image.shape[0], 1))
        weights = torch.cat((ones, chunk.score, chunk.scale_weight), 1)[:, : 1 + columns]
        images = torch.cat((chunk.image, ones), 1)
        table[chunk.elements] += sums_of_products(images, weights, num_samples, chunk.start)

    products, totals = table[:, :-1], table[:, -1:]
    mean = products[..., :1] / num_samples
    center = {
        "none": torch.zeros_like(mean),
        "fx": hard_render(x, vertices, faces, size, output).to(dtype).reshape(mean.shape),
        "mean": mean,
    }[baseline]
    derivative = products[..., 1:] - center * totals[..., 1:]
    divisor = scale.to(dtype).expand(-1, n).unsqueeze(1)

    def finish(result: Tensor, *trailing: int) -> Tensor:
        result = torch.where(bad.reshape(-1, 1, 1), torch.nan, result).to(x.dtype)
        return result.reshape(batch, size, size, *trailing)

    absent = x.new_zeros(0)
    return (
        finish(mean),
        finish(factor / divisor * derivative[..., :n], n) if jacobian != "none" else absent,
        finish(factor / divisor * derivative[..., n:], n) if jacobian == "x_and_scale" else absent,
    )


def render_backward(
    grad: Tensor,  # [B, size, size]
    baseline: Tensor,  # [B]
    x: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    scale: Tensor,  # [1 or B, 1 or 4]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    size: int,
    output: str,
    factor: float,
    pair_weight: float,
    scale_gradient: bool,
) -> tuple[Tensor, Tensor]:  # [B, 4], [B, 4] or [B, 0]
    """The gradients in x and in the scale of sum(grad * mean image), from the samples.

    In x: factor / scale_j * (sum over samples of (sum(grad * image) - baseline) * score_j); in the
    scale with score_j noise_j - 1 in place of score_j.
    """
    batch, n = x.shape
    x, scale, bad = without_bad_rows(x, scale)
    dtype = accumulator(x)
    columns = 2 * n if scale_gradient else n
    sums = x.new_zeros((batch, columns), dtype=dtype)
    upstream = grad.reshape(batch, math.prod(grad.shape[1:])).to(dtype)
    for chunk in _rendered_chunks(
        x,
        vertices,
        faces,
        scale,
        seed,
        directions,
        law,
        sampler,
        antithetic,
        num_samples,
        size,
        output,
        pair_weight,
    ):
        value = (upstream[chunk.element] * chunk.image).sum(1) - baseline[chunk.element]
        weights = torch.cat((chunk.score, chunk.scale_weight), 1)[:, :columns]
        product = sums_of_products(value.unsqueeze(1), weights, num_samples, chunk.start)
        sums[chunk.elements] += product.squeeze(1)
    divisor = scale.to(dtype).expand(-1, n)
    in_x = factor / divisor * sums[:, :n]
    in_scale = factor / divisor * sums[:, n:] if scale_gradient else sums[:, n:]
    nan = bad.unsqueeze(1)
    return (
        torch.where(nan, torch.nan, in_x).to(x.dtype),
        torch.where(nan, torch.nan, in_scale).to(x.dtype),
    )
