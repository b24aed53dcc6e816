"""The exact algorithms: batched, and without a gradient.

`torchsmooth.functional` smooths them, under the same names. A row with a NaN gives NaN.
"""

from typing import NoReturn

from .._names import unknown_name
from ._render import render
from ._shortest_path import shortest_path, shortest_path_graph
from ._sort import argmax, argsort, median, quantile, rank, sort, topk


__all__ = [
    "argmax",
    "argsort",
    "median",
    "quantile",
    "rank",
    "render",
    "shortest_path",
    "shortest_path_graph",
    "sort",
    "topk",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
