"""The ops of the generic road: they draw noise, perturb, and reduce."""

import torch

from . import reference
from .library import register_twin


def _touched(start: int, stop: int, num_samples: int) -> int:
    """How many batch elements the rows [start, stop) belong to."""
    return (stop - 1) // num_samples - start // num_samples + 1 if stop > start else 0


@torch.library.register_fake("torchsmooth::words")
def _(seed, directions, sampler, antithetic, num_samples, n, start, stop):
    return seed.new_empty((stop - start, n))


@torch.library.register_fake("torchsmooth::perturb")
def _(x, scale, seed, directions, law, sampler, antithetic, num_samples, start, stop):
    return x.new_empty((stop - start, x.shape[1]))


@torch.library.register_fake("torchsmooth::reduce")
def _(
    values,
    pivot,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    n,
    pair_weight,
    moment,
    start,
    stop,
):
    rows = (_touched(start, stop, num_samples), values.shape[1] + 1)
    moments = {"none": 0, "diagonal": n, "outer": n * n}[moment]
    return values.new_empty((*rows, n)), values.new_empty((*rows, moments))


@torch.library.register_fake("torchsmooth::evaluate_law")
def _(x, law, function):
    return torch.empty_like(x)


for _name in ("words", "perturb", "reduce", "evaluate_law"):
    register_twin(_name, getattr(reference, _name))
