"""Smoothed operators in closed form: each is the exact expectation under the noise.

The convention is that of the whole package: the twin of f is E f(x + noise), for noise of location
0 with the distribution's scale. Arguments come in torch's own order, then the distribution; of two
operands, the noise is on the difference a - b.

What is known of float32 holds within its range: a derivative is a product, and it is lost if one of
its factors is smaller than 1e-38 although another one, 1 / scale, would have brought it back. That
takes scales below 1e-20; use float64 for those.
"""

from .comparisons import equal as equal, greater as greater, less as less
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
from .logic import (
    all as all,
    any as any,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    where as where,
)
