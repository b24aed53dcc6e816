"""Layers: what `torchsmooth.soft`, `functional` and `smooth` compute, as `torch.nn.Module`s.

A layer has the name of its function: `ArgSort` is the layer of `torchsmooth.functional.argsort`,
and `SoftRound` that of `torchsmooth.soft.round`. There are two exceptions: `SoftWhile` is the layer
of `torchsmooth.soft.while_loop`, and `GumbelSoftmax` that of `torchsmooth.soft.gumbel_softmax`.

Layers take the arguments of their functions, under the same names and in the same order, without
the inputs, which are what a layer is called with. Layers with noise also take `learn_scale` and
`eval_mode`.
"""

from typing import NoReturn

from .._names import unknown_name
from ._elementwise_layer import AbstractElementwiseLayer
from ._fenchel_young import FenchelYoungLoss
from ._interpolation import BlackBox
from ._layer import AbstractLayer
from ._reduction_layer import AbstractReductionLayer
from ._render import Render
from ._sampled_layer import AbstractSampledLayer
from ._schedule import AbstractScaleSchedule, ExponentialScale
from ._shortest_path import ShortestPath, ShortestPathGraph
from ._smooth import Smooth
from ._smoothing_layer import AbstractSmoothingLayer
from ._soft_bisection import SoftBisect, SoftImplicitBisect
from ._soft_comparisons import SoftEqual, SoftGreater, SoftLess, SoftMaximum, SoftMinimum
from ._soft_control_flow import SoftCond, SoftWhile
from ._soft_elementwise import (
    SoftAbs,
    SoftClamp,
    SoftHardshrink,
    SoftHeaviside,
    SoftLogHeaviside,
    SoftReLU,
    SoftSign,
    SoftThreshold,
)
from ._soft_grid_search import SoftGridSearch
from ._soft_indexing import SoftTake, SoftTakeAlongDim
from ._soft_order import (
    SoftArgSort,
    SoftLogArgMax,
    SoftLogArgSort,
    SoftMedian,
    SoftQuantile,
    SoftRank,
    SoftSort,
    SoftTopK,
)
from ._soft_reductions import SoftAMax, SoftAMin, SoftArgMax, SoftArgMin, SoftTopKMask
from ._soft_rounding import SoftCeil, SoftFloor, SoftQuantize, SoftRound, SoftTrunc
from ._soft_sampling import GumbelSoftmax
from ._sort import ArgMax, ArgSort, Median, Quantile, Rank, Sort, TopK
from ._straight_through import StraightThrough


__all__ = [
    "AbstractElementwiseLayer",
    "AbstractLayer",
    "AbstractReductionLayer",
    "AbstractSampledLayer",
    "AbstractScaleSchedule",
    "AbstractSmoothingLayer",
    "ArgMax",
    "ArgSort",
    "BlackBox",
    "ExponentialScale",
    "FenchelYoungLoss",
    "GumbelSoftmax",
    "Median",
    "Quantile",
    "Rank",
    "Render",
    "ShortestPath",
    "ShortestPathGraph",
    "Smooth",
    "SoftAbs",
    "SoftAMax",
    "SoftAMin",
    "SoftArgMax",
    "SoftArgMin",
    "SoftArgSort",
    "SoftBisect",
    "SoftCeil",
    "SoftClamp",
    "SoftCond",
    "SoftEqual",
    "SoftFloor",
    "SoftGreater",
    "SoftGridSearch",
    "SoftHardshrink",
    "SoftHeaviside",
    "SoftImplicitBisect",
    "SoftLess",
    "SoftLogArgMax",
    "SoftLogArgSort",
    "SoftLogHeaviside",
    "SoftMaximum",
    "SoftMedian",
    "SoftMinimum",
    "SoftQuantile",
    "SoftQuantize",
    "SoftRank",
    "SoftReLU",
    "SoftRound",
    "SoftSign",
    "SoftSort",
    "SoftTake",
    "SoftTakeAlongDim",
    "SoftThreshold",
    "SoftTopK",
    "SoftTopKMask",
    "SoftTrunc",
    "SoftWhile",
    "Sort",
    "StraightThrough",
    "TopK",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
