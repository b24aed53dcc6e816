"""The baseline of a sample's value, and how the products are averaged."""

from typing import get_args

from .._kernels.fused_op import Estimator
from .._typing import Covariate
from ..samplers import AbstractSampler
from ..statistics import AbstractStatistic, Mean


COVARIATES: tuple[Covariate, ...] = get_args(Covariate)


def estimator(
    covariate: Covariate,
    sampler: AbstractSampler,
    antithetic: bool,
    num_samples: int,
    statistic: AbstractStatistic = Mean(),
) -> Estimator:
    """The estimator of a covariate.

    Leaving a sample out of the mean that it is compared with is the same as comparing it with the
    mean of all and dividing by s - 1 instead of s; by s - k if k samples make one value, of which
    the share k / s contains the sample. For antithetic pairs the pair is left out, which comes to a
    `pair_weight` of 1 / (s - 2). Both hold for independent samples. Where samplers stratify, the
    scores sum to about 0 by themselves, and the factor would be wrong by s / (s - 1): there the
    mean is subtracted as it is, and each statistic has a factor of its own.
    """
    if covariate not in COVARIATES:
        raise ValueError(
            f"covariate must be one of {', '.join(map(repr, COVARIATES))}, got {covariate!r}; pass "
            "'loo' if in doubt"
        )
    k = statistic.k
    if num_samples < k:
        raise ValueError(
            f"num_samples must be at least {k} for statistic={statistic}, which takes {k} at a "
            f"time, got {num_samples}; pass for example {max(1024, 8 * k)}"
        )
    if covariate != "loo":
        return Estimator(covariate, 1 / num_samples, 0.0)
    if num_samples < 2:
        raise ValueError(
            "num_samples must be at least 2 for covariate='loo', which compares a sample with the "
            f"others, got {num_samples}; use covariate='fx' or 'none' for a single sample"
        )
    if num_samples == k:
        raise ValueError(
            f"num_samples must be at least {k + 1} for covariate='loo' with statistic={statistic}, "
            f"which compares {k} samples with others, got {num_samples}; use covariate='fx' or "
            "'none'"
        )
    if antithetic and num_samples < 4:
        raise ValueError(
            "num_samples must be at least 4 for covariate='loo' with antithetic=True, which "
            f"compares a pair with the other pairs, got {num_samples}; use covariate='fx' or "
            "'none' for a single pair"
        )
    if not sampler.independent:
        return Estimator("mean", statistic.stratified_factor(num_samples), 0.0)
    if antithetic:
        factor = (num_samples - 1) / (num_samples * (num_samples - k))
        return Estimator("mean", factor, 1 / (num_samples - 2))
    return Estimator("mean", 1 / (num_samples - k), 0.0)
