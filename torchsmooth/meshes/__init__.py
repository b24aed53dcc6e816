"""Triangle meshes for rendering: the Utah teapot, and meshes of files."""

from typing import NoReturn

from .._names import unknown_name
from ._file import load
from ._mesh import Mesh
from ._teapot import teapot


__all__ = [
    "load",
    "Mesh",
    "teapot",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
