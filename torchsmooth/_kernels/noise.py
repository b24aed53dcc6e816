"""The ops of the generic road: they draw noise, perturb, and reduce."""

from typing import Any

import torch
from torch import Tensor

from .._typing import ScaleScore
from . import reference
from .library import register_fake, register_twin


def _touched(start: int, stop: int, num_samples: int) -> int:
    """How many batch elements the rows [start, stop) belong to."""
    return (stop - 1) // num_samples - start // num_samples + 1 if stop > start else 0


def scale_score_size(scale_score: ScaleScore, n: int) -> int:
    """How many numbers the score of the scale has, for an event of n elements."""
    return {"none": 0, "diagonal": n, "outer": n * n}[scale_score]


@register_fake("words")
def _(seed: Tensor, *options: Any) -> Tensor:
    *_, n, start, stop = options
    return seed.new_empty((stop - start, n))


@register_fake("perturb")
def _(x: Tensor, *options: Any) -> Tensor:
    *_, start, stop = options
    return x.new_empty((stop - start, x.shape[1]))


@register_fake("reduce")
def _(values: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    *_, num_samples, n, _, scale_score, start, stop = options
    rows = (_touched(start, stop, num_samples), values.shape[1] + 1)
    size = scale_score_size(scale_score, n)
    return values.new_empty((*rows, n)), values.new_empty((*rows, size))


@register_fake("evaluate_law")
def _(x: Tensor, law: str, function: str) -> Tensor:
    return torch.empty_like(x)


for _name in ("words", "perturb", "reduce", "evaluate_law"):
    register_twin(_name, getattr(reference, _name))
