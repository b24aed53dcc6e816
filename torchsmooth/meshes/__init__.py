"""Triangle meshes to render: the Utah teapot, and those of files."""

from .file import load as load
from .mesh import Mesh as Mesh
from .teapot import teapot as teapot
