"""Layers: what `torchsmooth.functional` and `torchsmooth.smooth` compute, as `torch.nn.Module`s."""

from .argmax import ArgMax as ArgMax
from .argsort import ArgSort as ArgSort
from .exponential_scale import ExponentialScale as ExponentialScale
from .median import Median as Median
from .quantile import Quantile as Quantile
from .rank import Rank as Rank
from .sampled_layer import AbstractSampledLayer as AbstractSampledLayer
from .scale_schedule import AbstractScaleSchedule as AbstractScaleSchedule
from .smooth import Smooth as Smooth
from .smoothing_layer import AbstractSmoothingLayer as AbstractSmoothingLayer
from .sort import Sort as Sort
from .topk import TopK as TopK
