"""Plain PyTorch twins of the ops.

They are the specification of the ops in readable form, the oracle of their tests, and the road for
devices without a kernel. `words` is equal to the ops bit for bit; what follows from it agrees to
rounding. Integer arithmetic is that of the headers in `csrc/core`, on 32-bit words in int64.

A flat row r of an op is sample r % num_samples of batch element r // num_samples.
"""

from .noise import (
    draw_weights as draw_weights,
    evaluate_law as evaluate_law,
    perturb as perturb,
    reduce as reduce,
)
from .order_statistics import (
    order_statistics as order_statistics,
    order_statistics_backward as order_statistics_backward,
)
from .render import hard_render as hard_render, render as render, render_backward as render_backward
from .samplers import words as words
from .shortest_path import (
    hard_shortest_path as hard_shortest_path,
    hard_shortest_path_graph as hard_shortest_path_graph,
    shortest_path as shortest_path,
    shortest_path_backward as shortest_path_backward,
)
from .sort import sort as sort, sort_backward as sort_backward
