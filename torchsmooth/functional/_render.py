"""The expected image of a mesh under noise of the camera's pose."""

from torch import Tensor

from .. import hard
from .._kernels.render import RenderOp, View
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..hard._render import check_view
from ..samplers import AbstractSampler
from ._fused import SamplingOptions, smooth_fused


def render(
    pose: Tensor,
    vertices: Tensor,
    faces: Tensor,
    distribution: AbstractDistribution,
    *,
    image_size: int = 64,
    output: str = "silhouette",
    num_samples: int = 1024,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected image of a triangle mesh from perturbed `pose`.

    Smooths `torchsmooth.hard.render`, which describes the camera. The image is differentiable in
    the pose, and not in the mesh.

    **Arguments:**

    - `pose`: floating-point tensor of shape [..., 4]: distance, elevation, azimuth, and half the
        field of view; angles in degrees.
    - `vertices`: floating-point tensor of shape [V, 3].
    - `faces`: integer tensor of shape [F, 3], indices of vertices.
    - `distribution`: the law of the noise. The four numbers of a pose have different units: pass
        `scale` as a tensor of four, or a `scale_matrix`.
    - `image_size`: N, rows and columns, 1 to 4096.
    - `output`: "silhouette", "depth" or "lambert". In the expected depth, samples without a surface
        count as 0.
    - `num_samples`, `sampler`, `antithetic`, `covariate`, `seed`: see `torchsmooth.functional`.

    **Returns:** a tensor of shape [..., N, N] and the dtype of `pose`.

    **Raises:** TypeError or ValueError if an argument differs from this description. For values
    that cannot be read without waiting for a device see `torchsmooth.hard.render`.

    **Source:** Petersen et al., arXiv 2410.08125, corollary 2 and section 4.4.

    >>> import torch, torchsmooth as ts
    >>> vertices = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
    >>> faces = torch.tensor([[0, 1, 2]])
    >>> pose = torch.tensor([4.0, 0.0, 0.0, 20.0], requires_grad=True)
    >>> noise = ts.Logistic(scale=torch.tensor([0.1, 5.0, 5.0, 0.25]))
    >>> image = ts.functional.render(pose, vertices, faces, noise, num_samples=256, seed=0)
    >>> image.shape
    torch.Size([64, 64])
    >>> image.sum().backward()
    >>> bool(pose.grad[0] < 0)  # from farther away it is smaller
    True
    """
    rows, points, triangles, size, _ = check_view(pose, vertices, faces, image_size, output)
    view = View(size, output)
    return smooth_fused(
        rows.reshape(pose.shape),
        1,
        distribution,
        SamplingOptions(num_samples, sampler, antithetic, covariate, seed),
        points,
        triangles,
        op=lambda drawing, estimator: RenderOp(drawing, view, estimator),
        hard=lambda poses: hard.render(poses, points, triangles, image_size=size, output=output),
    ).to(pose.dtype)
