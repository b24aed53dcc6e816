"""The base of all layers whose expectation is estimated from samples."""

from collections.abc import Callable
from typing import ClassVar, TypedDict

from torch import Tensor

from .._smoothing import smooth
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..functional._fused import SamplingOptions
from ..samplers import AbstractSampler, seed_tensor
from ._layer import P, R
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


class Sampling(TypedDict):
    """How an expectation is estimated: the keywords of the functions of torchsmooth."""

    num_samples: int
    sampler: SamplerName | AbstractSampler
    antithetic: bool
    covariate: Covariate
    seed: int | Tensor | None


class AbstractSampledLayer(AbstractSmoothingLayer[P, R]):
    """A smoothing layer that estimates its expectation from samples.

    **Arguments:**

    - `distribution`, `learn_scale`, `eval_mode`: as for `AbstractSmoothingLayer`.
    - `sampling`: `num_samples`, `sampler`, `antithetic`, `covariate` and `seed`, as the top of
        `torchsmooth.functional` describes them. A seed that is a tensor becomes a buffer of the
        layer: filling it in place gives other samples without compiling or capturing again.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    **Subclassing.** As for `AbstractSmoothingLayer`; `_smooth` passes `self.sampling` on. The
    keywords of `sampling` are written out in the `__init__` of final layers.
    """

    _options: ClassVar[tuple[str, ...]] = SamplingOptions._fields
    num_samples: int
    sampler: SamplerName | AbstractSampler
    antithetic: bool
    covariate: Covariate
    seed: int | Tensor | None

    def __init__(
        self,
        distribution: AbstractDistribution,
        sampling: SamplingOptions,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        for name, value in sampling._asdict().items():
            self._hold(name, value)
        # Both look at their arguments here and now, not only in the first call.
        smooth(lambda x: x, distribution, **self.sampling)
        if self.seed is not None:
            seed_tensor(self.seed, "cpu")

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


class AbstractAlgorithmLayer(AbstractSampledLayer[[Tensor], Tensor]):
    """A layer around an algorithm of one tensor, smoothed and exact.

    **Subclassing.** Subclasses are final or abstract. Final ones name the function in both of its
    forms; `_options` are keywords of both.
    """

    _smoothed: ClassVar[Callable[..., Tensor]]  # of torchsmooth.functional
    _exact: ClassVar[Callable[..., Tensor]]  # of torchsmooth.hard

    def _smooth(self, x: Tensor) -> Tensor:
        return self._smoothed(x, distribution=self.distribution, **self._given(), **self.sampling)

    def _hard(self, x: Tensor) -> Tensor:
        return self._exact(x, **self._given())
