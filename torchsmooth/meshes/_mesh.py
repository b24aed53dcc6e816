"""A triangle mesh."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Mesh(NamedTuple):
    """A triangle mesh, as `torchsmooth.hard.render` takes it.

    **Arguments:**

    - `vertices`: floating-point tensor of shape [V, 3]; the second coordinate is the vertical.
    - `faces`: int64 tensor of shape [F, 3], indices of vertices.

    >>> import torch, torchsmooth as ts
    >>> mesh = ts.meshes.teapot().normalized()
    >>> ts.hard.render(torch.tensor([4.0, 20.0, 30.0, 20.0]), *mesh).shape
    torch.Size([64, 64])
    """

    vertices: Tensor
    faces: Tensor

    def normalized(self) -> Mesh:
        """Returns the mesh, with the center of its box at the origin and a longest side of 2.

        **Raises:** ValueError if the mesh has no extent, or one that is not finite.
        """
        if self.vertices.shape[0] == 0:
            raise ValueError("vertices must be at least two different ones, got none; pass a mesh")
        low, high = self.vertices.amin(0), self.vertices.amax(0)
        size = (high - low).max()
        if not bool(size.isfinite()):
            raise ValueError(
                "vertices must be finite, and the size of their box, got a NaN or an infinity; "
                "remove such vertices and their faces"
            )
        if not bool(size > 0):
            raise ValueError(
                f"vertices must be at least two different ones, got {self.vertices.shape[0]} at "
                "one point; pass a mesh with an extent"
            )
        return Mesh((self.vertices - (low + high) / 2) * (2 / size), self.faces)
