"""The exact algorithms themselves: batched, and without a gradient.

They are what `torchsmooth.functional` smooths, under the same names. A row with a NaN gives NaN.
"""

from .render import render as render
from .shortest_path import (
    shortest_path as shortest_path,
    shortest_path_graph as shortest_path_graph,
)
from .sorting import (
    argmax as argmax,
    argsort as argsort,
    median as median,
    quantile as quantile,
    rank as rank,
    sort as sort,
    topk as topk,
)
