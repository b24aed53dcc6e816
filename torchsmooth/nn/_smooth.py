"""The layer of any callable."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, final

import torch
from torch import Tensor

from .._smoothing import Smoothed, SupportsSubmit, smooth
from .._typing import Covariate, Inputs, NanPolicy, SamplerName, StatisticName
from ..distributions import AbstractDistribution, Logistic
from ..functional._fused import SamplingOptions
from ..samplers import AbstractSampler
from ..statistics import AbstractStatistic, Covariance
from ._sampled_layer import AbstractSampledLayer
from ._smoothing_layer import EvalMode


if TYPE_CHECKING or torch.distributed.is_available():
    from torch.distributed import ProcessGroup
else:  # a build of torch without it

    class ProcessGroup: ...


class _Calling(TypedDict):
    """How f is called."""

    event_dim: int
    vectorized: bool
    inputs: Inputs
    chunk_size: int | None
    executor: SupportsSubmit | None
    process_group: ProcessGroup | None


@final
class Smooth(AbstractSampledLayer[..., Any]):
    """The smoothed twin of any callable: `torchsmooth.smooth`.

    In evaluation with `eval_mode="hard"` it is f(x) itself, from one evaluation per batch element,
    without a gradient in x (arXiv 2410.08125, lemma 3 and theorem 7).

    **Arguments:**

    - `f`: as for `torchsmooth.smooth`. If it is a module, its parameters belong to the layer, and
        get their ordinary gradient, that of the average over the samples.
    - `statistic`, `event_dim`, `vectorized`, `inputs`, `chunk_size`, `check`, `nan_policy`: as
        for `torchsmooth.smooth`. There is no covariance without noise: `torchsmooth.Covariance`
        has no `eval_mode="hard"`.
    - `executor`, `process_group`: as for `torchsmooth.smooth`. They belong to the process: copies
        of the layer and what is pickled of it come without them.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    **Returns:** called with x [*batch, *event], and tensors that start with the batch dimensions,
    what `torchsmooth.smooth` returns: [*batch, *out], or a structure of such tensors.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.smooth` and f raise.

    >>> import torch, torchsmooth as ts
    >>> step = ts.nn.Smooth(lambda y: (y > 0).float(), ts.Gaussian(scale=0.5), eval_mode="hard")
    >>> x = torch.tensor([0.3])
    >>> bool((step(x) - 0.7257).abs() < 0.01)  # Phi(0.3 / 0.5)
    True
    >>> step.eval()(x)
    tensor([1.])
    """

    _options = (
        "f",
        "statistic",
        "event_dim",
        "vectorized",
        "inputs",
        "chunk_size",
        "executor",
        "process_group",
        "check",
        "nan_policy",
    )
    statistic: StatisticName | AbstractStatistic

    def __init__(
        self,
        f: Callable[..., Any],
        distribution: AbstractDistribution = Logistic(),
        *,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        covariate: Covariate = "loo",
        statistic: StatisticName | AbstractStatistic = "mean",
        event_dim: int = 1,
        vectorized: bool = True,
        inputs: Inputs = "torch",
        chunk_size: int | None = None,
        seed: int | Tensor | None = None,
        executor: SupportsSubmit | None = None,
        process_group: ProcessGroup | None = None,
        check: bool = True,
        nan_policy: NanPolicy = "propagate",
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        sampling = SamplingOptions(num_samples, sampler, antithetic, covariate, seed)
        super().__init__(distribution, sampling, learn_scale=learn_scale, eval_mode=eval_mode)
        self.f = f
        self.statistic = statistic
        self.event_dim = event_dim
        self.vectorized = vectorized
        self.inputs: Inputs = inputs
        self.chunk_size = chunk_size
        self.executor = executor
        self.process_group = process_group
        self.check = check
        self.nan_policy: NanPolicy = nan_policy
        self._passed = False  # what `check` looks for
        if f is None:  # for torchsmooth.smooth, that is a decorator
            raise TypeError("f must be callable, got None; pass the function to be smoothed")
        self._smoothed()  # looks at the options

    def _smoothed(self) -> Smoothed[..., Any]:
        return smooth(
            self.f,
            self.distribution,
            statistic=self.statistic,
            check=self.check and not self._passed,
            nan_policy=self.nan_policy,
            **self._calling,
            **self.sampling,
        )

    @property
    def _calling(self) -> _Calling:
        return {
            "event_dim": self.event_dim,
            "vectorized": self.vectorized,
            "inputs": self.inputs,
            "chunk_size": self.chunk_size,
            "executor": self.executor,
            "process_group": self.process_group,
        }

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "executor": None, "process_group": None}

    def _smooth(self, x: Tensor, *args: Any) -> Any:
        smoothed = self._smoothed()
        value = smoothed(x, *args)
        if self.check and not torch.compiler.is_compiling():
            self._passed = not smoothed.unchecked
        return value

    def _hard(self, x: Tensor, *args: Any) -> Any:
        if isinstance(self.statistic, Covariance):
            raise ValueError(
                "eval_mode must be 'smooth' with statistic=Covariance(), because nothing varies "
                "without noise, got 'hard'; make a layer of the mean for that"
            )
        # One sample, whose perturbed point is not looked at: f gets x as an argument. So f is
        # called, and its outputs are taken, as in training.
        once = smooth(
            functools.partial(_at_second, self.f),
            Logistic(),
            num_samples=1,
            sampler="mc",
            covariate="none",
            seed=0,
            check=False,
            **self._calling,
        )
        return once(x.detach(), x.detach(), *args)


def _at_second(f: Callable[..., Any], _: Tensor, point: Tensor, *rest: Any) -> Any:
    # At the top level of the module, so that it can be sent to other processes.
    return f(point, *rest)
