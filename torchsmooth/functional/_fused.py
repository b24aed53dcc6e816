"""The road of every fused function: checks, the op, and `torchsmooth.smooth` for other laws."""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from .._autodiff.fused import fused_mean
from .._checks import check_bool, check_distribution, check_int, scale_rows
from .._dtypes import compute_dtype
from .._kernels.fused_op import Drawing, Estimator, FusedOp
from .._smoothing import smooth
from .._smoothing.estimator import estimator
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler, resolve_sampler, sampler_for, seed_tensor


class SamplingOptions(NamedTuple):
    """The keywords that all fused functions share."""

    num_samples: int
    sampler: SamplerName | AbstractSampler
    antithetic: bool
    covariate: Covariate
    seed: int | Tensor | None


def smooth_fused(
    x: Tensor,  # [*batch, *event]
    event_dim: int,
    distribution: AbstractDistribution,
    options: SamplingOptions,
    *extras: Tensor,  # of the op, not perturbed
    op: Callable[[Drawing, Estimator], FusedOp],
    hard: Callable[[Tensor], Tensor],  # the same without noise, [*, *event] -> [*, *outcome]
) -> Tensor:  # [*batch, *outcome]
    """The mean outcome over the noise: by the op, or by `smooth` for laws without a kernel."""
    distribution = check_distribution(distribution)
    num_samples = check_int(options.num_samples, "num_samples", 1, 1024)
    antithetic = check_bool(options.antithetic, "antithetic")
    sampler = resolve_sampler(options.sampler)
    if distribution.name is None or distribution.scale_matrix is not None:
        smoothed = smooth(hard, distribution, event_dim=event_dim, check=False, **options._asdict())
        outcome: Tensor = smoothed(x)
        return outcome
    split = x.ndim - event_dim
    batch, event = x.shape[:split], x.shape[split:]
    n = math.prod(event)
    sampler.validate(num_samples, n, antithetic)
    sampler = sampler_for(sampler, n)
    how = estimator(options.covariate, sampler, antithetic, num_samples)
    dtype = compute_dtype(x.dtype)
    flat = split == 1  # so that nothing need be reshaped
    rows = x if flat else x.reshape(math.prod(batch), *event)
    mean = fused_mean(
        op(Drawing(distribution.name, sampler.name, antithetic, num_samples), how),
        rows.to(dtype).contiguous(),
        scale_rows(distribution, batch, event, dtype, x.device),
        seed_tensor(options.seed, x.device),
        sampler.directions(n, x.device),
        *extras,
        drawn=options.seed is None,
    )
    return (mean if flat else mean.reshape(*batch, *mean.shape[1:])).to(x.dtype)
