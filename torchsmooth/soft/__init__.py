"""Smoothed operators without samples: each is the exact expectation under the noise.

As everywhere in this package, the smoothed f is E f(x + noise), for noise of location 0 with the
distribution's scale. Arguments have torch's order, followed by the distribution. For two operands,
the noise is on the difference a - b.

Derivatives are accurate relative to their size in both tails, as far as the noise's density and its
tails are representable: down to 1e-38 (float32) of the largest one.
"""

from typing import NoReturn

from .._names import unknown_name
from ._bisection import bisect, implicit_bisect
from ._comparisons import equal, greater, less
from ._control_flow import cond, while_loop
from ._elementwise import (
    abs,
    clamp,
    hardshrink,
    heaviside,
    log_heaviside,
    maximum,
    minimum,
    relu,
    sign,
    threshold,
)
from ._grid_search import GridSearch, grid_search
from ._indexing import take, take_along_dim
from ._logic import all, any, logical_and, logical_not, logical_or, logical_xor, where
from ._order import argsort, log_argsort, median, quantile, rank, sort, topk, topk_mask
from ._reductions import amax, amin, argmax, argmin, log_argmax
from ._rounding import ceil, floor, quantize, round, trunc
from ._sampling import gumbel_softmax


__all__ = [
    "abs",
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "bisect",
    "ceil",
    "clamp",
    "cond",
    "equal",
    "floor",
    "greater",
    "grid_search",
    "GridSearch",
    "gumbel_softmax",
    "hardshrink",
    "heaviside",
    "implicit_bisect",
    "less",
    "log_argmax",
    "log_argsort",
    "log_heaviside",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "median",
    "minimum",
    "quantile",
    "quantize",
    "rank",
    "relu",
    "round",
    "sign",
    "sort",
    "take",
    "take_along_dim",
    "threshold",
    "topk",
    "topk_mask",
    "trunc",
    "where",
    "while_loop",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
