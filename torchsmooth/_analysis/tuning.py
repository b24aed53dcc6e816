"""The choice of the law, sampler and covariate with the least noisy gradient of f at x."""

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from .._checks import check_bool, check_distribution, check_event_dim, check_floating, check_int
from .._smoothing import smooth
from .._smoothing.estimator import COVARIATES, estimator
from .._typing import Covariate, SamplerName
from ..distributions import LAWS, AbstractDistribution, Logistic
from ..distributions._tail_law import AbstractTailLaw
from ..samplers import AbstractSampler, resolve_sampler, seed_tensor
from .estimates import _check_randomized, _jacobian


# Samplers that are compared by default, where they can make that many samples. The error of the
# centred ones is always the same, so that it does not show as variance.
_SAMPLERS = ("mc", "rqmc_latin", "rqmc_cartesian", "sobol")
# The error of a variance needs at least this many gradients.
_LEAST_REPETITIONS = 4

_SHOWN = 20


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """One way to estimate the gradient, and the variance of its estimates."""

    distribution: AbstractDistribution
    sampler: str
    antithetic: bool
    covariate: Covariate
    num_samples: int
    variance: float
    """Of the gradient from `num_samples` samples, summed over its entries."""
    variance_error: float
    """The standard error of `variance`."""
    relative_variance: float
    """`variance` over the squared norm of the gradient under this law; infinite if that
    is not distinguishable from 0, or if f is not finite at a perturbed point."""
    relative_variance_error: float

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of `torchsmooth.smooth`, without the distribution."""
        return {
            "num_samples": self.num_samples,
            "sampler": self.sampler,
            "antithetic": self.antithetic,
            "covariate": self.covariate,
        }


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Tuning:
    """The result of `torchsmooth.tune`; `str()` of it is a table of the best 20."""

    candidates: tuple[Candidate, ...]
    """Sorted by relative variance, the least first."""
    num_samples: int
    repetitions: int
    """The number of gradients of which a variance is computed."""
    evaluations: int
    """The total number of points at which f was evaluated."""

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    def __str__(self) -> str:
        rows = [("distribution", "sampler", "antithetic", "covariate", "relative", "variance")]
        for c in self.candidates[:_SHOWN]:
            rows.append(
                (
                    _law_text(c.distribution),
                    c.sampler,
                    "yes" if c.antithetic else "no",
                    c.covariate,
                    f"{c.relative_variance:.3g} ± {c.relative_variance_error:.2g}",
                    f"{c.variance:.3g} ± {c.variance_error:.2g}",
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        if len(self.candidates) > _SHOWN:
            lines.append(f"and {len(self.candidates) - _SHOWN} more")
        title = (
            f"variance of a gradient from {self.num_samples} samples, ± one standard error of "
            f"{self.repetitions} repetitions; relative: to the squared norm of the gradient under "
            f"the same law; {self.evaluations} evaluations"
        )
        return "\n".join([title, *lines])

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dictionaries, as `json.dump` takes them."""
        return {
            "num_samples": self.num_samples,
            "repetitions": self.repetitions,
            "evaluations": self.evaluations,
            "candidates": [
                {
                    field.name: repr(value) if field.name == "distribution" else value
                    for field in dataclasses.fields(c)
                    for value in [getattr(c, field.name)]
                }
                for c in self.candidates
            ],
        }


def _law_text(law: AbstractDistribution) -> str:
    if isinstance(law.scale, float):  # the digits that tell candidates apart
        law = law.with_scale(float(f"{law.scale:.4g}"))
    return repr(law)


def tune(
    f: Callable[[Tensor], Any],
    x: Tensor,
    budget: int,
    distributions: AbstractDistribution | Sequence[AbstractDistribution] = Logistic(),
    *,
    num_samples: int = 64,
    samplers: Sequence[SamplerName | AbstractSampler] | None = None,
    antithetic: bool | Sequence[bool] = (False, True),
    covariates: Sequence[Covariate] = COVARIATES,
    event_dim: int = 1,
    vectorized: bool = True,
    chunk_size: int | None = None,
    seed: int | Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Measures which distribution, sampler and covariate give the least noisy gradient of f at `x`.

    Every candidate estimates the gradient (the Jacobian of a vector-valued f) from `num_samples`
    samples, repeatedly, with independent samples. Candidates are compared by the variance over
    these repetitions, summed over all entries and examples. All candidates get the same number of
    evaluations of f, and covariates are compared on the same evaluations. The standard errors are
    those of the jackknife.

    Different laws smooth f differently, so that they estimate different gradients. They are
    therefore compared by the relative variance: the variance over the squared norm of the gradient
    under the same law. For one law the order is that of the variances. The relative variance does
    not tell which smoothing is the right one: a wider law has less noise and follows f less
    closely.

    **Arguments:**

    - `f`: maps perturbed points [m, *event] to one tensor [m, *out]. It may return NumPy arrays. It
        is not differentiated. A loss with one number per point is cheapest, because each number
        takes a backward pass.
    - `x`: floating-point tensor [*batch, *event].
    - `budget`: the total number of points at which f may be evaluated.
    - `distributions`: one law, which is compared with laws of other kinds of the same interquartile
        range; or a sequence of laws, compared as they are. The kind of a law is how the tails of
        its density fall, whether it is symmetric and whether it has a kink. The first law of each
        kind in `torchsmooth.distributions.LAWS` represents it: Gaussian, Logistic, Gumbel, Cauchy
        and Laplace. Laws whose score has infinite variance (`Triangular`, `WignerSemicircle`) are
        left out unless they are named, because their measurements do not converge.
    - `num_samples`: the number of samples of one gradient: as many as will be used later.
    - `samplers`: a sequence; None for "mc", "rqmc_latin", "sobol" and "rqmc_cartesian" where they
        can make that many samples. The centred samplers are refused: their error is a bias, which
        repetitions do not show.
    - `antithetic`: True, False or a sequence of them.
    - `covariates`: a sequence of "none", "fx" and "loo". f(x) for "fx" is evaluated once for the
        whole call, and not counted against it; in later use it costs one more evaluation per
        gradient.
    - `event_dim`, `vectorized`, `chunk_size`, `seed`: as for `torchsmooth.smooth`.
    - `progress`: called with the number of evaluations so far and in total, after each law, sampler
        and choice of `antithetic`.

    **Returns:** a `Tuning`: a table as `str()`, `candidates` with the least noisy one first,
    `best`, and `to_dict()`. `ts.smooth(f, best.distribution, **best.options)` uses it. The best of
    many candidates was also lucky: candidates within two standard errors are as good.

    **Raises:** TypeError or ValueError if an argument differs from this description; ValueError
    also if the budget does not suffice for 4 repetitions. Exceptions of f are passed on.

    **Source:** Efron and Stein, "The jackknife estimate of variance", 1981, for the standard
    errors.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.1, -0.3], dtype=torch.float64)
    >>> result = ts.tune(lambda y: (y > 0).double().sum(-1), x, 40_000, seed=0)
    >>> result.best.sampler
    'sobol'
    >>> result.best.relative_variance < 0.05 < result.candidates[-1].relative_variance
    True
    """
    if not callable(f):
        raise TypeError(
            f"f must be callable, got {type(f).__name__}; pass a function of perturbed points"
        )
    x = check_floating(x, "x").detach()
    budget = check_int(budget, "budget", 1, 100_000)
    num_samples = check_int(num_samples, "num_samples", 1, 64)
    event_dim = check_int(event_dim, "event_dim", 0, 1)
    check_bool(vectorized, "vectorized")
    check_event_dim(x, event_dim, "x")
    if not bool(x.isfinite().all()):
        raise ValueError(
            "x must be finite, got NaN or infinite entries; there is no gradient to measure"
        )
    if x.numel() == 0:
        raise ValueError(
            f"x must not be empty, got shape {list(x.shape)}; there is no gradient to measure"
        )
    laws = _laws(distributions)
    mirrored = [antithetic] if isinstance(antithetic, bool) else list(antithetic)
    split = x.ndim - event_dim
    elements, n = math.prod(x.shape[:split]), math.prod(x.shape[split:])
    choices = _choices(samplers, mirrored, list(covariates), num_samples, n)
    groups = list(itertools.product(laws, choices))

    unperturbed = elements if "fx" in covariates else 0
    each = len(groups) * elements * num_samples
    repetitions = (budget - unperturbed) // each
    if repetitions < _LEAST_REPETITIONS:
        raise ValueError(
            f"budget must be at least {unperturbed + _LEAST_REPETITIONS * each} for "
            f"{_LEAST_REPETITIONS} repetitions of {len(groups)} choices of law, sampler and "
            f"antithetic with {num_samples} samples for each of {elements} examples, got {budget}; "
            "raise it, or name fewer distributions or samplers"
        )
    total = unperturbed + repetitions * each
    seeds = _seeds(seed, len(groups))
    # Tensors made in inference mode could not be saved for the Jacobian.
    with torch.inference_mode(False), torch.enable_grad():
        copies = x.expand(repetitions, *x.shape).clone().requires_grad_()
        base = _Replay(f, vectorized)
        points = x.reshape(elements, *x.shape[split:])
        at_x = base.evaluate(points, chunk_size) if unperturbed else None
        measured = []
        for index, (law, (sampler, flag)) in enumerate(groups):
            replay = _Replay(f, vectorized, at_x)
            for covariate in covariates:
                replay.rewind(repetitions * elements if covariate == "fx" else 0)
                smoothed = smooth(
                    replay,
                    law,
                    num_samples=num_samples,
                    sampler=sampler,
                    antithetic=flag,
                    covariate=covariate,
                    event_dim=event_dim,
                    chunk_size=chunk_size,
                    seed=seeds[index],
                    check=False,
                )
                jacobian = _jacobian(smoothed(copies), copies, event_dim)
                rows = jacobian.reshape(repetitions, -1).to(torch.float64)
                measured.append((law, sampler, flag, covariate, _Scatter(rows)))
            if progress is not None:
                progress(unperturbed + (index + 1) * (total - unperturbed) // len(groups), total)
    candidates = []
    for law in laws:
        own = [m for m in measured if m[0] is law]
        # All candidates of a law estimate the same gradient: the least noisy one is the best.
        clearest = min((m[4] for m in own), key=_Scatter.rank)
        for _, sampler, flag, covariate, scatter in own:
            relative, error = math.inf, math.inf
            if clearest.squared_norm > 0 and scatter.variance.isfinite():
                relative = (scatter.variance / clearest.squared_norm).item()
                error = _jackknife(scatter.variances / clearest.squared_norms)
            candidates.append(
                Candidate(
                    law,
                    sampler.name,
                    flag,
                    covariate,
                    num_samples,
                    scatter.variance.item(),
                    _jackknife(scatter.variances),
                    relative,
                    error,
                )
            )
    candidates.sort(key=lambda c: c.relative_variance)
    return Tuning(tuple(candidates), num_samples, repetitions, total)


class _Scatter:
    """Variance and squared norm of the expectation of independent gradients [repetitions, K].

    Both are also computed without each of the repetitions [repetitions], for the standard errors.
    """

    def __init__(self, gradients: Tensor):
        count = len(gradients)
        mean = gradients.mean(0)
        deviations = gradients - mean
        squares, along = deviations.square().sum(1), deviations @ mean
        norm = mean.square().sum()
        self.variance = squares.sum() / (count - 1)
        # Less its variance, the squared norm of the mean has no bias.
        self.squared_norm = norm - self.variance / count
        without = (squares.sum() - squares * count / (count - 1)) / (count - 2)
        norms = norm - 2 * along / (count - 1) + squares / (count - 1) ** 2
        self.variances = without
        self.squared_norms = norms - without / (count - 1)

    def rank(self) -> float:
        return self.variance.item() if self.variance.isfinite() else math.inf


def _jackknife(without: Tensor) -> float:
    """The standard error of a statistic from its values without each of the samples."""
    count = len(without)
    return ((without - without.mean()).square().sum() * (count - 1) / count).sqrt().item()


class _Replay:
    """f as `smooth` calls it: evaluated in the first round, replayed in later ones."""

    def __init__(self, f: Callable[[Tensor], Any], vectorized: bool, at_x: Tensor | None = None):
        self.f = f
        self.vectorized = vectorized
        self.at_x = at_x  # [elements, *out]
        self.chunks: list[Tensor] = []
        self.values: Tensor | None = None

    def rewind(self, unperturbed: int) -> None:
        """Starts a round, in which `unperturbed` rows at x itself come first."""
        if self.chunks:
            self.values, self.chunks = torch.cat(self.chunks), []
        self.unperturbed = unperturbed
        self.row = 0

    def __call__(self, points: Tensor) -> Tensor:
        start, stop = self.row, self.row + len(points)
        self.row = stop
        if stop <= self.unperturbed:
            assert self.at_x is not None
            return self.at_x[torch.arange(start, stop, device=points.device) % len(self.at_x)]
        if self.values is not None:
            return self.values[start - self.unperturbed : stop - self.unperturbed]
        self.chunks.append(self._call(points))
        return self.chunks[-1]

    def evaluate(self, points: Tensor, chunk_size: int | None) -> Tensor:
        return torch.cat([self._call(chunk) for chunk in points.split(chunk_size or len(points))])

    def _call(self, points: Tensor) -> Tensor:
        with torch.no_grad():
            if self.vectorized:
                values = self._as_tensor(self.f(points), points)
                if values.ndim == 0 or len(values) != len(points):
                    raise ValueError(
                        f"f must map [m, *event] to [m, *out], here {list(points.shape)} to "
                        f"[{len(points)}, ...], got an output of shape {list(values.shape)}; pass "
                        "vectorized=False if f takes one event at a time"
                    )
                return values
            return torch.stack([self._as_tensor(self.f(point), points) for point in points])

    def _as_tensor(self, result: Any, points: Tensor) -> Tensor:
        try:
            tensor = torch.as_tensor(result, device=points.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"f must return one tensor, got {type(result).__name__}; tune a loss of its parts"
            ) from error
        return tensor.clone()  # f may return the same array again, filled with other numbers


def _laws(
    distributions: AbstractDistribution | Sequence[AbstractDistribution],
) -> list[AbstractDistribution]:
    if isinstance(distributions, AbstractDistribution):
        reference = _detached(distributions)
        others = [law for law in _one_of_each_kind() if law.name != reference.name]
        return [reference, *(_alike(law, reference) for law in others)]
    if not isinstance(distributions, Sequence) or len(distributions) == 0:
        raise TypeError(
            "distributions must be a distribution of torchsmooth or a sequence of them, got "
            f"{distributions!r}; pass for example ts.Logistic(scale=0.3)"
        )
    return [_detached(check_distribution(law)) for law in distributions]


def _one_of_each_kind() -> list[AbstractTailLaw]:
    """The first of the laws of each kind, of those whose measured variances mean something."""
    first: dict[object, AbstractTailLaw] = {}
    for law in LAWS.values():
        if law.traits.finite_score_variance:
            first.setdefault(law.traits.kind, law())
    return list(first.values())


def _detached(distribution: AbstractDistribution) -> AbstractDistribution:
    law = copy.copy(distribution)
    if isinstance(law.scale, Tensor):
        law.scale = law.scale.detach()
    if law.scale_matrix is not None:
        law.scale_matrix = law.scale_matrix.detach()
    return law


def _alike(law: AbstractTailLaw, reference: AbstractDistribution) -> AbstractDistribution:
    """The law with the interquartile range of the reference: Cauchy noise has no deviation."""
    quartiles = torch.tensor([0.25, 0.75], dtype=torch.float64)
    own, wanted = (
        (noise.icdf(quartiles[1:]) - noise.icdf(quartiles[:1])).item()
        for noise in (law, reference.with_scale(1.0))
    )
    ratio = wanted / own
    if reference.scale_matrix is not None:
        return type(law)(scale_matrix=ratio * reference.scale_matrix)
    assert reference.scale is not None  # exactly one of the two is given
    return law.with_scale(ratio * reference.scale)


def _choices(
    samplers: Sequence[SamplerName | AbstractSampler] | None,
    antithetic: list[bool],
    covariates: list[Covariate],
    num_samples: int,
    n: int,
) -> list[tuple[AbstractSampler, bool]]:
    """Samplers, with and without mirror images; what was named must be possible."""
    for name, values in (("antithetic", antithetic), ("covariates", covariates)):
        if not values:
            raise ValueError(f"{name} must not be empty, got {values}; name one at least")
    if isinstance(samplers, str | AbstractSampler) or (samplers is not None and not samplers):
        raise TypeError(
            f"samplers must be a sequence of samplers, got {samplers!r}; pass for example "
            "['mc', 'sobol']"
        )
    choices = []
    named = _SAMPLERS if samplers is None else samplers
    for sampler, flag in itertools.product(map(resolve_sampler, named), antithetic):
        _check_randomized(sampler)
        check_bool(flag, "antithetic")
        try:
            sampler.validate(num_samples, n, flag)
        except ValueError:
            if samplers is None and sampler.name == "rqmc_cartesian":
                continue
            raise
        for covariate in covariates:
            estimator(covariate, sampler, flag, num_samples)
        choices.append((sampler, flag))
    return choices


def _seeds(seed: int | Tensor | None, count: int) -> list[int]:
    """One seed for each choice, so that they are independent."""
    first = int(seed_tensor(seed, "cpu"))
    return [(first + i) % 2**63 for i in range(count)]
