"""Algorithms with fused kernels: perturb, evaluate and reduce without storing the samples."""

import math

from torch import Tensor

from . import _ops, hard
from ._arguments import (
    check_bool,
    check_dim,
    check_distribution,
    check_floating,
    check_int,
    compute_dtype,
    scale_rows,
)
from ._estimator import estimator
from .distributions import AbstractDistribution
from .samplers import AbstractSampler, resolve_sampler, seed_tensor
from .smoothing import smooth


def argsort(
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    dim: int = -1,
    descending: bool = False,
    num_samples: int = 1024,
    sampler: str | AbstractSampler = "sobol",
    antithetic: bool = False,
    covariate: str = "loo",
    seed: int | Tensor | None = None,
) -> Tensor:
    """Returns the expected permutation matrix that sorts perturbed `x`.

    Smooths `torchsmooth.hard.argsort` (arXiv 2410.08125, section 4.2), differentiable in `x` and in
    `distribution.scale`.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n]. Half types are computed in float32.
    - `distribution`: the law of the noise. One with a `scale_matrix`, or a `FromTorch` law, takes
        the generic road (`torchsmooth.smooth`), with the same result.
    - `dim`: the dimension to sort; the others are batch.
    - `descending`: whether the largest element comes first.
    - `num_samples`: how many perturbed copies of `x` are sorted. Memory does not grow with it.
    - `sampler`: where the uniform numbers come from, see `torchsmooth.samplers`.
    - `antithetic`: whether the samples come in mirror images u, 1 - u.
    - `covariate`: what is subtracted from a sample's matrix before it is multiplied with the score:
        "none", "fx" (the matrix of the unperturbed `x`) or "loo" (the mean of the other samples;
        for stratifying samplers the mean of all, whose bias falls with the sampler's error).
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator. The
        same seed gives the same uniform numbers on every device, for any number of threads.

    **Returns:** a tensor of shape [..., n, n] (the sorted dimension is moved to the end first) and
    the dtype of `x`. Entry [..., k, i] is the probability that element i is the k-th smallest
    (largest if `descending`); rows and columns sum to 1. A batch element whose row has a NaN or an
    infinity is NaN.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.0, 2.0], requires_grad=True)
    >>> P = ts.functional.argsort(x, ts.Logistic(scale=0.5), num_samples=4096, seed=0)
    >>> P.shape
    torch.Size([2, 2])
    >>> bool(P[0, 0] > 0.9)  # the first element is almost surely the smaller one
    True
    >>> P[0, 0].backward()
    >>> bool(x.grad[0] < 0 < x.grad[1])
    True
    """
    x = check_floating(x, "x")
    distribution = check_distribution(distribution)
    num_samples = check_int(num_samples, "num_samples", 1, 1024)
    check_bool(antithetic, "antithetic")
    check_bool(descending, "descending")
    sampler = resolve_sampler(sampler)
    rows = x.movedim(check_dim(dim, x), -1)
    if distribution.name is None or distribution.scale_matrix is not None:
        smoothed = smooth(
            lambda y: hard.argsort(y, descending=descending),
            distribution,
            num_samples=num_samples,
            sampler=sampler,
            antithetic=antithetic,
            covariate=covariate,
            seed=seed,
        )
        return smoothed(rows)
    *batch, n = rows.shape
    sampler.validate(num_samples, n, antithetic)
    baseline, factor, pair_weight = estimator(covariate, sampler, antithetic, num_samples)
    dtype = compute_dtype(x.dtype)
    matrix = _ops.argsort(
        rows.reshape(math.prod(batch), n).to(dtype).contiguous(),
        scale_rows(distribution, batch, (n,), dtype, x.device),
        seed_tensor(seed, x.device),
        sampler.directions(n, x.device),
        _ops.SortOptions(
            distribution.name,
            sampler.name,
            antithetic,
            num_samples,
            descending,
            baseline,
            factor,
            pair_weight,
        ),
    )
    return matrix.reshape(*batch, n, n).to(x.dtype)
