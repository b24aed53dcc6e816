"""The layer of images of a triangle mesh."""

from typing import final

import torch
from torch import Tensor

from .. import functional, hard
from .._typing import Covariate, RenderOutput, SamplerName
from ..distributions import AbstractDistribution
from ..functional._fused import SamplingOptions
from ..hard._render import check_view
from ..samplers import AbstractSampler
from ._sampled_layer import AbstractAlgorithmLayer
from ._smoothing_layer import EvalMode


@final
class Render(AbstractAlgorithmLayer):
    """The expected image of a mesh from a perturbed pose: `torchsmooth.functional.render`.

    In evaluation with `eval_mode="hard"` it is the image of `torchsmooth.hard.render`
    (arXiv 2410.08125, section 4.4).

    **Arguments:**

    - `vertices`, `faces`: the mesh, as for `torchsmooth.functional.render`. They become buffers.
    - `image_size`, `output`: as for `torchsmooth.functional.render`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with a pose [..., 4], a tensor [..., N, N] of its dtype.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.functional.render` raises.

    >>> import torch, torchsmooth as ts
    >>> vertices = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
    >>> noise = ts.Logistic(scale=torch.tensor([0.1, 5.0, 5.0, 0.25]))
    >>> layer = ts.nn.Render(vertices, torch.tensor([[0, 1, 2]]), noise, num_samples=64)
    >>> layer(torch.tensor([4.0, 0.0, 0.0, 20.0])).shape
    torch.Size([64, 64])
    """

    _smoothed = staticmethod(functional.render)
    _exact = staticmethod(hard.render)
    _options = ("vertices", "faces", "image_size", "output")
    vertices: Tensor
    faces: Tensor
    image_size: int
    output: RenderOutput

    def __init__(
        self,
        vertices: Tensor,
        faces: Tensor,
        distribution: AbstractDistribution,
        *,
        image_size: int = 64,
        output: RenderOutput = "silhouette",
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        # The mesh is looked at here and now, not only in the first call.
        device = vertices.device if isinstance(vertices, Tensor) else None
        check_view(torch.zeros(0, 4, device=device), vertices, faces, image_size, output)
        self._hold("vertices", vertices)
        self._hold("faces", faces)
        self.image_size = image_size
        self.output = output
