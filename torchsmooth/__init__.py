"""Gradients for what has none: sorting, shortest paths, renderers, simulators, branches."""

from importlib.metadata import PackageNotFoundError, version

from . import functional as functional, hard as hard
from .distributions import (
    AbstractDistribution as AbstractDistribution,
    Cauchy as Cauchy,
    FromTorch as FromTorch,
    Gaussian as Gaussian,
    Gumbel as Gumbel,
    Laplace as Laplace,
    Logistic as Logistic,
    Triangular as Triangular,
    WignerSemicircle as WignerSemicircle,
)
from .samplers import (
    AbstractSampler as AbstractSampler,
    Cartesian as Cartesian,
    LatinHypercube as LatinHypercube,
    MonteCarlo as MonteCarlo,
    Sobol as Sobol,
)
from .smoothing import Smoothed as Smoothed, smooth as smooth


try:
    __version__ = version("torchsmooth")
except PackageNotFoundError:  # used from the source tree
    __version__ = "0.1.0"
