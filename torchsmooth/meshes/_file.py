"""Meshes of files."""

import os

import torch

from ._mesh import Mesh


def load(path: str | os.PathLike[str]) -> Mesh:
    """Returns the triangles of an OBJ, PLY or STL file, or of another format that trimesh can read.

    Polygons with more corners are cut into triangles as if they were convex; materials and normals
    are ignored.

    **Arguments:**

    - `path`: the path of the file, a str or an os.PathLike; its suffix gives the format.

    **Returns:** the mesh, in float32, in the units and with the axes of the file.

    **Raises:** ImportError if trimesh is not installed: `pip install torchsmooth[meshes]`.
    TypeError if `path` is of another type. FileNotFoundError if the file does not exist. ValueError
    if it cannot be read, has no triangles, or has vertices that are not finite.

    >>> import pathlib, tempfile, torchsmooth as ts
    >>> triangle = "v 0 0 0\\nv 1 0 0\\nv 0 1 0\\nf 1 2 3\\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "triangle.obj")
    ...     _ = path.write_text(triangle)
    ...     mesh = ts.meshes.load(path)
    >>> mesh.faces
    tensor([[0, 1, 2]])
    """
    try:
        import trimesh
    except ImportError:
        raise ImportError(
            "reading meshes needs trimesh, which is not installed: pip install torchsmooth[meshes]"
        ) from None
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path must be a str or an os.PathLike, got {type(path).__name__}; pass for example "
            "'mesh.obj'"
        )
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(
            f"path must be an existing file with a mesh, got {name!r}; give the path of an "
            "OBJ, PLY or STL file"
        )
    try:
        mesh = trimesh.load_mesh(name, process=False)
    except Exception as error:  # each format's reader raises other exceptions
        raise ValueError(
            f"path must be a file that trimesh can read, got {name!r}: {type(error).__name__}: "
            f"{error}; export the mesh as OBJ, PLY or STL"
        ) from error
    faces = getattr(mesh, "faces", ())
    if len(faces) == 0:
        raise ValueError(
            f"path must be a file with triangles, got {name!r}, which has none; export "
            "a surface, not points or curves"
        )
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32)
    if not bool(vertices.isfinite().all()):
        raise ValueError(
            f"path must be a file with finite vertices, got {name!r}, which has some that are not "
            "in float32; remove them and their faces"
        )
    return Mesh(vertices, torch.tensor(faces, dtype=torch.int64))
