"""What layers share whose expectation is estimated from samples."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor

from .._smoothing import smooth
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler, seed_tensor
from ._smoothing_layer import AbstractSmoothingLayer


class Sampling(TypedDict, total=False):
    """How an expectation is estimated."""

    num_samples: int
    sampler: SamplerName | AbstractSampler
    antithetic: bool
    covariate: Covariate
    seed: int | Tensor | None


class SampledLayerOptions(Sampling, total=False):
    """The keywords that all layers with samples take."""

    learn_scale: bool
    eval_mode: str


class AbstractSampledLayer(AbstractSmoothingLayer):
    """A smoothing layer that estimates its expectation from samples.

    **Arguments:**

    - `distribution`, `learn_scale`, `eval_mode`: as for `AbstractSmoothingLayer`.
    - `num_samples`, `sampler`, `antithetic`, `covariate`: see the top of `torchsmooth.functional`.
    - `seed`: an int, an int64 tensor of one element, or None, which draws one from torch's
        generator in every call. A tensor becomes a buffer of the layer: filling it in place gives
        other samples without compiling or capturing again.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    **Subclassing.** As for `AbstractSmoothingLayer`; `_smooth` passes `self.sampling` on.
    """

    seed: int | Tensor | None

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: str = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.num_samples = num_samples
        self.sampler = sampler
        self.antithetic = antithetic
        self.covariate = covariate
        if isinstance(seed, Tensor):
            self.register_buffer("seed", seed)
        else:
            self.seed = seed
        # Both look at their arguments here and now, not only in the first call.
        smooth(lambda x: x, distribution, **self.sampling)
        if seed is not None:
            seed_tensor(seed, "cpu")

    @property
    def sampling(self) -> Sampling:
        """The keywords that the functions of torchsmooth take."""
        return {
            "num_samples": self.num_samples,
            "sampler": self.sampler,
            "antithetic": self.antithetic,
            "covariate": self.covariate,
            "seed": self.seed,
        }

    def extra_repr(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.sampling.items())
        return f"{super().extra_repr()}, {options}"
