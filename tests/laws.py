"""Every fact about a law, once: one row per law, at location 0 and scale 1.

Tests look laws of the registry up here, so that a law without a row fails them. The facts are taken
from scipy and from closed forms, never from the package.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.integrate
import scipy.special
import scipy.stats


Array = np.ndarray


class BySymmetry:
    """A symmetric law of scipy by its lower half: scipy loses the upper one to cancellation."""

    def __init__(self, law: Any, lower_ppf: Callable[[Array], Array] | None = None) -> None:
        self.law = law
        self.lower_ppf = law.ppf if lower_ppf is None else lower_ppf
        self.cdf, self.pdf = law.cdf, law.pdf
        self.mean, self.stats, self.rvs = law.mean, law.stats, law.rvs

    def sf(self, x: Any) -> Any:
        return self.law.cdf(-np.asarray(x))

    def logcdf(self, x: Any) -> Any:
        with np.errstate(divide="ignore"):
            near_one = np.log1p(-self.sf(x))
        return np.where(np.asarray(x) < 0, self.law.logcdf(x), near_one)

    def logsf(self, x: Any) -> Any:
        return self.logcdf(-np.asarray(x))

    def logpdf(self, x: Any) -> Any:
        return self.law.logpdf(-np.abs(np.asarray(x)))

    def ppf(self, p: Any) -> Any:
        p = np.asarray(p)
        return np.where(p < 0.5, 1.0, -1.0) * self.lower_ppf(np.minimum(p, 1 - p))

    def isf(self, p: Any) -> Any:
        return -self.ppf(p)


def _log_tan(p: Array) -> Array:
    """log tan(pi/2 p) for p <= 1/2, 0 at 1/2."""
    middle = -2 * np.arctanh(np.tan(np.pi / 2 * (0.5 - np.maximum(p, 0.25))))
    return np.where(p < 0.25, np.log(np.tan(np.pi / 2 * np.minimum(p, 0.25))), middle)


class Facts(NamedTuple):
    scipy: Any
    """The law of `scipy.stats`, with all tails accurate."""
    density: Callable[[float], float]
    """For quadrature, where scipy's takes too long. It is compared with scipy's."""
    score: Callable[[Array], Array]
    """Of arguments inside the support."""
    tails: str
    """"squared exponential", "exponential", "power" or "none": see `Traits.tails`."""
    characteristic: Callable[[Array], Array]
    """E exp(i t noise) for t > 0."""
    score_moments: float
    """E |score|^p is finite for all p below."""
    crossover: float | None
    """The scale at which expected steps change from one sum to the other; None without a mean."""
    float32_range: tuple[float, float] | None
    """Where density and tails are normal float32 numbers; None if the support is compact."""
    log_tail: Callable[[Array], tuple[Array, Array]] | None
    """Of the upper tail far out: the leading terms of its logarithm, and minus their slope."""
    mean: float | None = 0.0
    symmetric: bool = True
    support: tuple[float, float] = (-math.inf, math.inf)
    mass: tuple[float, float] = (-math.inf, math.inf)
    """Where the density is not 0 in doubles."""
    score_jumps: tuple[float, ...] = ()
    """Inside the support."""
    cdf_condition: float = 10.0
    """What x f(x) / F(x) reaches in doubles: how many eps one eps of x costs the cdf."""
    difference: Callable[[float], tuple[float, float]] | None = None
    """P(e1 - e2 > -z) and its derivative, where there is a closed form, see `difference`."""

    @property
    def is_compact(self) -> bool:
        return math.isfinite(self.support[1])

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where the density has no derivative."""
        return (*self.score_jumps, *(end for end in self.support if math.isfinite(end)))


def _stable(law: Any, scale: float) -> Callable[[float], tuple[float, float]]:
    """The difference of two variables is one variable of another scale."""
    return lambda z: (law.cdf(z / scale), law.pdf(z / scale) / scale)


def _logistic_density(e: float) -> float:
    return math.exp(-abs(e)) / (1 + math.exp(-abs(e))) ** 2


def _laplace_of_two(z: float) -> tuple[float, float]:
    tail = (2 + abs(z)) / 4 * math.exp(-abs(z))
    return (1 - tail if z > 0 else tail), (1 + abs(z)) / 4 * math.exp(-abs(z))


FACTS = {
    "gaussian": Facts(
        scipy=scipy.stats.norm,
        density=lambda e: math.exp(-e * e / 2) / math.sqrt(2 * math.pi),
        score=lambda x: x,
        tails="squared exponential",
        characteristic=lambda t: np.exp(-t * t / 2),
        score_moments=math.inf,
        crossover=0.4,
        float32_range=(-11, 11),
        log_tail=lambda d: (-d * d / 2 - np.log(d) - 0.5 * math.log(2 * math.pi), d),
        cdf_condition=1400.0,  # x^2 at the smallest double
        difference=_stable(scipy.stats.norm, 2**0.5),
    ),
    "logistic": Facts(
        scipy=scipy.stats.logistic,
        density=_logistic_density,
        score=lambda x: np.tanh(x / 2),
        tails="exponential",
        characteristic=lambda t: np.pi * t / np.sinh(np.pi * t),
        score_moments=math.inf,
        crossover=0.35,
        float32_range=(-65, 65),
        log_tail=lambda d: (-d, np.ones_like(d)),
    ),
    "gumbel": Facts(
        scipy=scipy.stats.gumbel_r,
        density=lambda e: math.exp(-e - math.exp(-e)) if e > -7 else 0.0,
        score=lambda x: -np.expm1(-x),
        tails="exponential",
        characteristic=lambda t: scipy.special.gamma(1 - 1j * t),
        score_moments=math.inf,
        crossover=0.35,
        float32_range=(-4.1, 65),
        log_tail=lambda d: (-d, np.ones_like(d)),
        mean=np.euler_gamma,
        symmetric=False,
        mass=(-7.0, math.inf),  # exp(7 - exp(7)) is 0
        cdf_condition=1e3,  # |x| exp(-x) at the smallest double
        difference=lambda z: (1 / (1 + math.exp(-z)), _logistic_density(z)),
    ),
    "cauchy": Facts(
        scipy=scipy.stats.cauchy,
        density=lambda e: 1 / (math.pi * (1 + e * e)),
        score=lambda x: 2 * x / (1 + x**2),
        tails="power",
        characteristic=lambda t: np.exp(-t),
        score_moments=math.inf,
        crossover=None,
        float32_range=(-1e18, 1e18),
        log_tail=lambda d: (-np.log(d) - math.log(math.pi), 1 / d),
        mean=None,
        difference=_stable(scipy.stats.cauchy, 2.0),
    ),
    "laplace": Facts(
        scipy=scipy.stats.laplace,
        density=lambda e: 0.5 * math.exp(-abs(e)),
        score=np.sign,
        tails="exponential",
        characteristic=lambda t: 1 / (1 + t * t),
        score_moments=math.inf,
        crossover=1.0,
        float32_range=(-65, 65),
        log_tail=lambda d: (-d - math.log(2), np.ones_like(d)),
        score_jumps=(0.0,),
        difference=_laplace_of_two,
    ),
    "triangular": Facts(
        scipy=BySymmetry(
            scipy.stats.triang(0.5, loc=-1, scale=2),
            # scipy's own loses digits near the middle too.
            lambda p: -(1 - 2 * p) / (1 + np.sqrt(2 * p)),
        ),
        density=lambda e: max(1 - abs(e), 0.0),
        score=lambda x: np.sign(x) / (1 - abs(x)),
        tails="none",
        characteristic=lambda t: np.sinc(t / (2 * np.pi)) ** 2,
        score_moments=2.0,
        crossover=1.0,
        float32_range=None,
        log_tail=None,
        support=(-1.0, 1.0),
        mass=(-1.0, 1.0),
        score_jumps=(0.0,),
    ),
    # As a beta law: scipy's own `semicircular` loses its tails to cancellation, and solves for the
    # quantiles to 1e-8 only.
    "wigner_semicircle": Facts(
        scipy=BySymmetry(scipy.stats.beta(1.5, 1.5, loc=-1, scale=2)),
        density=lambda e: 2 / math.pi * math.sqrt(max(1 - e * e, 0.0)),
        score=lambda x: x / ((1 - x) * (1 + x)),
        tails="none",
        characteristic=lambda t: 2 * scipy.special.j1(t) / t,
        score_moments=1.5,
        crossover=9.0,
        float32_range=None,
        log_tail=None,
        support=(-1.0, 1.0),
        mass=(-1.0, 1.0),
    ),
    "hyperbolic_secant": Facts(
        scipy=BySymmetry(scipy.stats.hypsecant, _log_tan),
        density=lambda e: 1 / (math.pi * math.cosh(e)) if abs(e) < 700 else 0.0,
        score=np.tanh,
        tails="exponential",
        characteristic=lambda t: 1 / np.cosh(np.pi * t / 2),
        score_moments=math.inf,
        crossover=0.4,
        float32_range=(-65, 65),
        log_tail=lambda d: (-d + math.log(2 / math.pi), np.ones_like(d)),
    ),
}
"""By the names of the registry, in its order."""

SCIPY = {law: facts.scipy for law, facts in FACTS.items()}

WITH_MEAN = [law for law, facts in FACTS.items() if facts.mean is not None]
UNBOUNDED = [law for law, facts in FACTS.items() if not facts.is_compact]
SMOOTH = [law for law, facts in FACTS.items() if not facts.kinks]


def difference(law: str, z: float) -> tuple[float, float]:
    """P(e1 - e2 > -z) and its derivative in z, for independent e1, e2 of scale 1."""
    closed = FACTS[law].difference
    return difference_by_quadrature(law, z) if closed is None else closed(z)


def difference_by_quadrature(law: str, z: float) -> tuple[float, float]:
    facts = FACTS[law]
    low, high = max(facts.mass[0], -40.0), min(facts.mass[1], 40.0)
    kinks = [t for kink in (*facts.kinks, 0.0) for t in (kink, kink + z) if low < t < high]

    def integral(f: Callable[[float], float]) -> float:
        value: float = scipy.integrate.quad(f, low, high, points=sorted(kinks), limit=200)[0]
        return value

    return (
        integral(lambda t: facts.density(t) * facts.scipy.sf(t - z)),
        integral(lambda t: facts.density(t) * facts.density(t - z)),
    )
