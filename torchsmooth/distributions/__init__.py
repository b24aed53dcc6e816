"""The laws of the noise.

Every law has location 0. `cdf`, `icdf`, `log_prob` and `score` include the scale, as in
`torch.distributions`, and are plain differentiable PyTorch; `draw` turns the words of a sampler
into noise of scale 1 and its score, exactly as the compiled kernels do.

`LAWS` is the registry: the laws that the compiled kernels know, by the names that they use.
"""

from typing import NoReturn

from .._names import unknown_name
from ._cauchy import Cauchy
from ._distribution import AbstractDistribution
from ._from_torch import FromTorch
from ._gaussian import Gaussian
from ._gumbel import Gumbel
from ._hyperbolic_secant import HyperbolicSecant
from ._laplace import Laplace
from ._logistic import Logistic
from ._registry import LAWS, register
from ._triangular import Triangular
from ._wigner_semicircle import WignerSemicircle


__all__ = [
    "LAWS",
    "AbstractDistribution",
    "Cauchy",
    "FromTorch",
    "Gaussian",
    "Gumbel",
    "HyperbolicSecant",
    "Laplace",
    "Logistic",
    "Triangular",
    "WignerSemicircle",
]

register(
    Gaussian,
    Logistic,
    Gumbel,
    Cauchy,
    Laplace,
    Triangular,
    WignerSemicircle,
    HyperbolicSecant,
)


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
