"""Smoothed operators in closed form: each is the exact expectation under the noise.

The convention is that of the whole package: the twin of f is E f(x + noise), for noise of location
0 with the distribution's scale. Arguments come in torch's own order, then the distribution; of two
operands, the noise is on the difference a - b.

Derivatives keep their digits in both tails, as far as the noise's density and its tails are
representable: down to 1e-38 (float32) of the largest one.
"""

from .bisection import bisect as bisect, implicit_bisect as implicit_bisect
from .comparisons import equal as equal, greater as greater, less as less
from .control_flow import cond as cond, while_loop as while_loop
from .elementwise import (
    abs as abs,
    clamp as clamp,
    hardshrink as hardshrink,
    heaviside as heaviside,
    log_heaviside as log_heaviside,
    maximum as maximum,
    minimum as minimum,
    relu as relu,
    sign as sign,
    threshold as threshold,
)
from .grid_search import GridSearch as GridSearch, grid_search as grid_search
from .indexing import take as take, take_along_dim as take_along_dim
from .logic import (
    all as all,
    any as any,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    where as where,
)
from .quadrature import (
    amax_quadrature as amax_quadrature,
    amin_quadrature as amin_quadrature,
    argmax_quadrature as argmax_quadrature,
    argmin_quadrature as argmin_quadrature,
    topk_mask_quadrature as topk_mask_quadrature,
)
from .reductions import amax as amax, amin as amin, argmax as argmax, argmin as argmin
from .rounding import (
    ceil as ceil,
    floor as floor,
    quantize as quantize,
    round as round,
    trunc as trunc,
)
from .sampling import gumbel_softmax as gumbel_softmax
