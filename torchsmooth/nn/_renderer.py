"""Images of a triangle mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from ..hard._render import check_view
from ._sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class Renderer(AbstractSampledLayer):
    """The expected image of a mesh from a perturbed pose: `torchsmooth.functional.render`.

    Maps [..., 4] to [..., N, N]. In evaluation with `eval_mode="hard"` it is the image of
    `torchsmooth.hard.render`.

    **Arguments:**

    - `vertices`, `faces`: the mesh, as for `torchsmooth.functional.render`. They become buffers.
    - `image_size`, `output`: as for `torchsmooth.functional.render`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> vertices = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
    >>> noise = ts.Logistic(scale=torch.tensor([0.1, 5.0, 5.0, 0.25]))
    >>> layer = ts.nn.Renderer(noise, vertices, torch.tensor([[0, 1, 2]]), num_samples=64)
    >>> layer(torch.tensor([4.0, 0.0, 0.0, 20.0])).shape
    torch.Size([64, 64])
    """

    vertices: Tensor
    faces: Tensor

    def __init__(
        self,
        distribution: AbstractDistribution,
        vertices: Tensor,
        faces: Tensor,
        *,
        image_size: int = 64,
        output: str = "silhouette",
        **options: Unpack[SampledLayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        # The mesh is looked at here and now, not only in the first call.
        device = vertices.device if isinstance(vertices, Tensor) else None
        check_view(torch.zeros(0, 4, device=device), vertices, faces, image_size, output)
        self.register_buffer("vertices", vertices)
        self.register_buffer("faces", faces)
        self.image_size = image_size
        self.output = output

    def _smooth(self, pose: Tensor) -> Tensor:
        return functional.render(
            pose,
            self.vertices,
            self.faces,
            self.distribution,
            image_size=self.image_size,
            output=self.output,
            **self.sampling,
        )

    def _hard(self, pose: Tensor) -> Tensor:
        return hard.render(
            pose, self.vertices, self.faces, image_size=self.image_size, output=self.output
        )

    def extra_repr(self) -> str:
        mesh = f"vertices={self.vertices.shape[0]}, faces={self.faces.shape[0]}"
        image = f"image_size={self.image_size}, output={self.output!r}"
        return f"{super().extra_repr()}, {mesh}, {image}"
