"""Layers: what `torchsmooth.soft`, `functional` and `smooth` compute, as `torch.nn.Module`s."""

from .argmax import ArgMax as ArgMax
from .argsort import ArgSort as ArgSort
from .blackbox import BlackBox as BlackBox
from .exponential_scale import ExponentialScale as ExponentialScale
from .fenchel_young_loss import FenchelYoungLoss as FenchelYoungLoss
from .median import Median as Median
from .quantile import Quantile as Quantile
from .rank import Rank as Rank
from .renderer import Renderer as Renderer
from .sampled_layer import AbstractSampledLayer as AbstractSampledLayer
from .scale_schedule import AbstractScaleSchedule as AbstractScaleSchedule
from .shortest_path import ShortestPath as ShortestPath
from .smooth import Smooth as Smooth
from .smoothing_layer import AbstractSmoothingLayer as AbstractSmoothingLayer
from .soft import (
    AbstractElementwiseLayer as AbstractElementwiseLayer,
    AbstractReductionLayer as AbstractReductionLayer,
    GumbelSoftmax as GumbelSoftmax,
    SoftAbs as SoftAbs,
    SoftAMax as SoftAMax,
    SoftAMaxQuadrature as SoftAMaxQuadrature,
    SoftAMin as SoftAMin,
    SoftAMinQuadrature as SoftAMinQuadrature,
    SoftArgMax as SoftArgMax,
    SoftArgMaxQuadrature as SoftArgMaxQuadrature,
    SoftArgMin as SoftArgMin,
    SoftArgMinQuadrature as SoftArgMinQuadrature,
    SoftBranch as SoftBranch,
    SoftCeil as SoftCeil,
    SoftClamp as SoftClamp,
    SoftEqual as SoftEqual,
    SoftFloor as SoftFloor,
    SoftGreater as SoftGreater,
    SoftHardshrink as SoftHardshrink,
    SoftHeaviside as SoftHeaviside,
    SoftLess as SoftLess,
    SoftLogHeaviside as SoftLogHeaviside,
    SoftMaximum as SoftMaximum,
    SoftMinimum as SoftMinimum,
    SoftQuantize as SoftQuantize,
    SoftReLU as SoftReLU,
    SoftRound as SoftRound,
    SoftSign as SoftSign,
    SoftThreshold as SoftThreshold,
    SoftTopKMaskQuadrature as SoftTopKMaskQuadrature,
    SoftTrunc as SoftTrunc,
    StraightThrough as StraightThrough,
)
from .sort import Sort as Sort
from .topk import TopK as TopK
