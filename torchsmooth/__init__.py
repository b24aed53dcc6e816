"""Gradients for functions that have none: sorting, shortest paths, renderers, simulators."""

from importlib import metadata as _metadata
from typing import NoReturn

from . import distributions, functional, hard, meshes, nn, samplers, soft, statistics
from ._analysis.clarke import ClarkeSubdifferential, clarke
from ._analysis.diagnosis.diagnose import diagnose
from ._analysis.diagnosis.result import Break, CoordinateDiagnosis, Diagnosis
from ._analysis.diagnosis.verdicts import VERDICTS
from ._analysis.directional import DirectionalDerivative, directional_derivative
from ._analysis.estimates import Estimate, estimate
from ._analysis.tuning import Candidate, Tuning, tune
from ._names import unknown_name
from ._smoothing import Smoothed, smooth
from ._soften import SOFTENED, SoftBoolean, SoftIndex, soften
from ._solvers.fenchel_young import FenchelYoungLoss, fenchel_young_loss
from ._solvers.interpolation import BlackBox, blackbox
from ._straight_through import straight_through
from .distributions import *  # noqa: F403 (its __all__ is the list)
from .samplers import AbstractSampler, Cartesian, LatinHypercube, MonteCarlo, Sobol
from .statistics import Covariance, Median


__all__ = [
    "__version__",
    "AbstractSampler",
    "BlackBox",
    "blackbox",
    "Break",
    "Candidate",
    "Cartesian",
    "clarke",
    "ClarkeSubdifferential",
    "CoordinateDiagnosis",
    "Covariance",
    "diagnose",
    "Diagnosis",
    "directional_derivative",
    "DirectionalDerivative",
    "distributions",
    "Estimate",
    "estimate",
    "fenchel_young_loss",
    "FenchelYoungLoss",
    "functional",
    "hard",
    "LatinHypercube",
    "Median",
    "meshes",
    "MonteCarlo",
    "nn",
    "samplers",
    "smooth",
    "Smoothed",
    "Sobol",
    "soft",
    "SoftBoolean",
    "soften",
    "SOFTENED",
    "SoftIndex",
    "statistics",
    "straight_through",
    "tune",
    "Tuning",
    "VERDICTS",
]
__all__ += distributions.__all__


try:
    __version__ = _metadata.version("torchsmooth")
except _metadata.PackageNotFoundError:  # used from the source tree
    __version__ = "0.1.0"


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
