"""The keywords that all functions share."""

from typing import NamedTuple

from torch import Tensor

from ..samplers import AbstractSampler


class Sampling(NamedTuple):
    """How the noise is drawn, and what a sample is compared with."""

    num_samples: int
    sampler: str | AbstractSampler
    antithetic: bool
    covariate: str
    seed: int | Tensor | None
