"""Layers of `torchsmooth.soft`: exact expectations, without sampling."""

from .branch import SoftBranch as SoftBranch
from .comparisons import (
    SoftEqual as SoftEqual,
    SoftGreater as SoftGreater,
    SoftLess as SoftLess,
    SoftMaximum as SoftMaximum,
    SoftMinimum as SoftMinimum,
)
from .elementwise import (
    SoftAbs as SoftAbs,
    SoftClamp as SoftClamp,
    SoftHardshrink as SoftHardshrink,
    SoftHeaviside as SoftHeaviside,
    SoftLogHeaviside as SoftLogHeaviside,
    SoftReLU as SoftReLU,
    SoftSign as SoftSign,
    SoftThreshold as SoftThreshold,
)
from .elementwise_layer import AbstractElementwiseLayer as AbstractElementwiseLayer
from .gumbel_softmax import GumbelSoftmax as GumbelSoftmax
from .quadrature import (
    SoftAMaxQuadrature as SoftAMaxQuadrature,
    SoftAMinQuadrature as SoftAMinQuadrature,
    SoftArgMaxQuadrature as SoftArgMaxQuadrature,
    SoftArgMinQuadrature as SoftArgMinQuadrature,
    SoftTopKMaskQuadrature as SoftTopKMaskQuadrature,
)
from .reduction_layer import AbstractReductionLayer as AbstractReductionLayer
from .reductions import (
    SoftAMax as SoftAMax,
    SoftAMin as SoftAMin,
    SoftArgMax as SoftArgMax,
    SoftArgMin as SoftArgMin,
)
from .rounding import (
    SoftCeil as SoftCeil,
    SoftFloor as SoftFloor,
    SoftQuantize as SoftQuantize,
    SoftRound as SoftRound,
    SoftTrunc as SoftTrunc,
)
from .straight_through import StraightThrough as StraightThrough
