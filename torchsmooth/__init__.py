"""Gradients for what has none: sorting, shortest paths, renderers, simulators, branches."""

from importlib.metadata import PackageNotFoundError, version

from . import functional as functional, hard as hard, meshes as meshes, nn as nn, soft as soft
from .blackbox import BlackBox as BlackBox, blackbox as blackbox
from .diagnose import (
    Break as Break,
    CoordinateDiagnosis as CoordinateDiagnosis,
    Diagnosis as Diagnosis,
    diagnose as diagnose,
)
from .distributions import *  # noqa: F403 (its __all__ is the list)
from .estimate import Estimate as Estimate, estimate as estimate
from .generalized import (
    ClarkeSubdifferential as ClarkeSubdifferential,
    DirectionalDerivative as DirectionalDerivative,
    clarke as clarke,
    directional_derivative as directional_derivative,
)
from .losses import FenchelYoungLoss as FenchelYoungLoss, fenchel_young_loss as fenchel_young_loss
from .samplers import (
    AbstractSampler as AbstractSampler,
    Cartesian as Cartesian,
    LatinHypercube as LatinHypercube,
    MonteCarlo as MonteCarlo,
    Sobol as Sobol,
)
from .smoothing import Smoothed as Smoothed, smooth as smooth
from .soften import SoftBoolean as SoftBoolean, SoftIndex as SoftIndex, soften as soften
from .statistics import Covariance as Covariance, Median as Median
from .straight_through import straight_through as straight_through
from .tune import Candidate as Candidate, Tuning as Tuning, tune as tune


try:
    __version__ = version("torchsmooth")
except PackageNotFoundError:  # used from the source tree
    __version__ = "0.1.0"
