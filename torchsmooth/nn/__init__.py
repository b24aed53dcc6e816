"""Layers: what `torchsmooth.soft`, `functional` and `smooth` compute, as `torch.nn.Module`s."""

from typing import NoReturn

from .._names import unknown_name
from ._argmax import ArgMax
from ._argsort import ArgSort
from ._blackbox import BlackBox
from ._exponential_scale import ExponentialScale
from ._fenchel_young_loss import FenchelYoungLoss
from ._median import Median
from ._quantile import Quantile
from ._rank import Rank
from ._renderer import Renderer
from ._sampled_layer import AbstractSampledLayer
from ._scale_schedule import AbstractScaleSchedule
from ._shortest_path import ShortestPath
from ._smooth import Smooth
from ._smoothing_layer import AbstractSmoothingLayer
from ._soft import (
    AbstractElementwiseLayer,
    AbstractReductionLayer,
    GumbelSoftmax,
    SoftAbs,
    SoftAMax,
    SoftAMaxQuadrature,
    SoftAMin,
    SoftAMinQuadrature,
    SoftArgMax,
    SoftArgMaxQuadrature,
    SoftArgMin,
    SoftArgMinQuadrature,
    SoftBranch,
    SoftCeil,
    SoftClamp,
    SoftEqual,
    SoftFloor,
    SoftGreater,
    SoftHardshrink,
    SoftHeaviside,
    SoftLess,
    SoftLogHeaviside,
    SoftMaximum,
    SoftMinimum,
    SoftQuantize,
    SoftReLU,
    SoftRound,
    SoftSign,
    SoftThreshold,
    SoftTopKMaskQuadrature,
    SoftTrunc,
    StraightThrough,
)
from ._sort import Sort
from ._topk import TopK


__all__ = [
    "AbstractElementwiseLayer",
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
    "Renderer",
    "ShortestPath",
    "Smooth",
    "SoftAbs",
    "SoftAMax",
    "SoftAMaxQuadrature",
    "SoftAMin",
    "SoftAMinQuadrature",
    "SoftArgMax",
    "SoftArgMaxQuadrature",
    "SoftArgMin",
    "SoftArgMinQuadrature",
    "SoftBranch",
    "SoftCeil",
    "SoftClamp",
    "SoftEqual",
    "SoftFloor",
    "SoftGreater",
    "SoftHardshrink",
    "SoftHeaviside",
    "SoftLess",
    "SoftLogHeaviside",
    "SoftMaximum",
    "SoftMinimum",
    "SoftQuantize",
    "SoftReLU",
    "SoftRound",
    "SoftSign",
    "SoftThreshold",
    "SoftTopKMaskQuadrature",
    "SoftTrunc",
    "Sort",
    "StraightThrough",
    "TopK",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
