"""Algorithms with fused kernels: they perturb, evaluate and reduce without storing the samples.

Every function smooths the one of the same name in `torchsmooth.hard` and is differentiable in `x`
and in `distribution.scale`. All take the same keywords:

- `num_samples`: how many perturbed copies of `x` are evaluated. Memory does not grow with it.
- `sampler`: the source of the uniform numbers, see `torchsmooth.samplers`.
- `antithetic`: whether the samples come in mirror images u, 1 - u.
- `covariate`: the baseline that is subtracted from a sample's outcome before it is multiplied with
    the score: "none", "fx" (the outcome of the unperturbed `x`) or "loo" (the mean of the other
    samples; for stratified samples the mean of all samples, whose bias falls with the sampler's
    error).
- `seed`: an int or an int64 tensor of one element; None draws one from torch's generator. The same
    seed gives the same uniform numbers on every device, for any number of threads.

For the sort family, `torchsmooth.soft` has exact expectations without samples. Samples are wanted
where the noise is correlated (`scale_matrix`), where rows have more than some thousands of
elements, or to repeat experiments with them.

A distribution with a `scale_matrix`, or a `FromTorch` law, takes the generic road
(`torchsmooth.smooth`), with the same result. Half types are computed in float32. If the row of a
batch element has a NaN or an infinity, its result is NaN. Arguments are checked: TypeError and
ValueError name the argument, what was expected, what was given and what to do.

Forward mode, `torch.vmap` (with a seed, the mapped dimension is batch) and second derivatives work
in eager mode. Second derivatives evaluate all samples again and need memory for them; under
Laplace, triangular and Wigner noise they raise a ValueError. The page on estimators has the
details.
"""

from typing import NoReturn

from .._names import unknown_name
from ._render import render
from ._shortest_path import shortest_path, shortest_path_graph
from ._sort import argmax, argsort, median, quantile, rank, sort, topk


__all__ = [
    "argmax",
    "argsort",
    "median",
    "quantile",
    "rank",
    "render",
    "shortest_path",
    "shortest_path_graph",
    "sort",
    "topk",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(__name__, name)
