"""Meshes of files."""

import os

import torch

from .mesh import Mesh


def load(path: str | os.PathLike[str]) -> Mesh:
    """Returns the triangles of an OBJ, PLY or STL file, or of another one that trimesh can read.

    Polygons with more corners are cut into triangles; materials and normals are left out.

    **Arguments:**

    - `path`: where the file is; its suffix says what it is.

    **Returns:** the mesh, in float32, in the units and with the axes of the file.

    **Raises:** ImportError if trimesh is not installed: `pip install torchsmooth[meshes]`.
    FileNotFoundError if there is no such file. ValueError if it has no triangles.
    """
    try:
        import trimesh
    except ImportError:
        raise ImportError(
            "reading meshes needs trimesh, which is not installed: pip install torchsmooth[meshes]"
        ) from None
    if not os.path.isfile(path):
        raise FileNotFoundError(f"path must be a file with a mesh, got {os.fspath(path)!r}")
    mesh = trimesh.load_mesh(os.fspath(path), process=False)
    faces = getattr(mesh, "faces", ())
    if len(faces) == 0:
        raise ValueError(
            f"path must be a file with triangles, got {os.fspath(path)!r}, which has none; export "
            "a surface, not points or curves"
        )
    return Mesh(
        torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(faces, dtype=torch.int64)
    )
