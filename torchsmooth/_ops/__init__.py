"""The compiled ops: loading, fake kernels, fallbacks, and an autograd function for each.

`_C` registers the schemas and the CPU kernels, `_C_cuda` the CUDA kernels. On a device that has no
kernel the plain PyTorch twin of the op runs instead.
"""

from . import noise as noise
from .autograd import (
    NoVmap as NoVmap,
    first_order as first_order,
    has_tangent as has_tangent,
    in_forward_mode as in_forward_mode,
)
from .batching import (
    ALL_OR_EACH as ALL_OR_EACH,
    DRAWN as DRAWN,
    EACH as EACH,
    SHARED as SHARED,
    NoOtherTransforms as NoOtherTransforms,
    as_batch as as_batch,
    requires_grad as requires_grad,
    unwrapped as unwrapped,
)
from .derivatives import (
    CHUNK_ELEMENTS as CHUNK_ELEMENTS,
    AbstractRule as AbstractRule,
    Draws as Draws,
    attach as attach,
    directional_weights as directional_weights,
    transpose as transpose,
    whiten as whiten,
)
from .fused import noises as noises
from .library import NAMES as NAMES, TWINS_ON_CUDA as TWINS_ON_CUDA
from .render import RenderOptions as RenderOptions, hard_render as hard_render, render as render
from .shortest_path import (
    PathOptions as PathOptions,
    hard_shortest_path as hard_shortest_path,
    hard_shortest_path_graph as hard_shortest_path_graph,
    shortest_path as shortest_path,
)
from .sorting import SortOptions as SortOptions, sort as sort
