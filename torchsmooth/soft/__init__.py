"""Smoothed operators in closed form: each is the exact expectation under the noise.

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
from ._quadrature import (
    amax_quadrature,
    amin_quadrature,
    argmax_quadrature,
    argmin_quadrature,
    topk_mask_quadrature,
)
from ._reductions import amax, amin, argmax, argmin
from ._rounding import ceil, floor, quantize, round, trunc
from ._sampling import gumbel_softmax


__all__ = [
    "abs",
    "all",
    "amax",
    "amax_quadrature",
    "amin",
    "amin_quadrature",
    "any",
    "argmax",
    "argmax_quadrature",
    "argmin",
    "argmin_quadrature",
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
    "log_heaviside",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "quantize",
    "relu",
    "round",
    "sign",
    "take",
    "take_along_dim",
    "threshold",
    "topk_mask_quadrature",
    "trunc",
    "where",
    "while_loop",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
