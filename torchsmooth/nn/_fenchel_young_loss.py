"""The perturbed Fenchel-Young loss."""

from collections.abc import Callable
from typing import Any, final

from torch import Tensor, nn

from .._solvers.fenchel_young import FenchelYoungLoss as PerturbedLoss, fenchel_young_loss
from .._solvers.solver import describe_solver
from .._typing import SamplerName
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler, seed_tensor
from ._smoothing_layer import AbstractSmoothingLayer


@final
class FenchelYoungLoss(AbstractSmoothingLayer):
    """The loss of scores and a target: `torchsmooth.fenchel_young_loss`.

    In evaluation with `eval_mode="hard"` it is the loss without noise, that of a structured
    perceptron.

    **Arguments:**

    - `solver`, `num_samples`, `sampler`, `antithetic`, `maximize`, `event_dim`, `vectorized`,
        `chunk_size`, `reduction`: as for `torchsmooth.fenchel_young_loss`.
    - `seed`: also an int64 tensor of one element, which becomes a buffer of the layer.
    - `distribution`, `learn_scale`, `eval_mode`: as for `AbstractSmoothingLayer`.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    >>> import torch, torchsmooth as ts
    >>> loss = ts.nn.FenchelYoungLoss(ts.hard.argmax, ts.Gumbel(), eval_mode="hard")
    >>> theta = torch.tensor([[0.5, 1.0, -1.0]])
    >>> target = torch.tensor([[1.0, 0.0, 0.0]])
    >>> exact = torch.nn.functional.cross_entropy(theta, target)
    >>> bool((loss(theta, target) - exact).abs() < 0.02)
    True
    >>> loss.eval()(theta, target)
    tensor(0.5000)
    """

    seed: int | Tensor | None

    def __init__(
        self,
        solver: Callable[..., Any],
        distribution: AbstractDistribution,
        *,
        num_samples: int = 1024,
        sampler: SamplerName | AbstractSampler = "auto",
        antithetic: bool = False,
        maximize: bool = True,
        event_dim: int = 1,
        vectorized: bool = True,
        chunk_size: int | None = None,
        reduction: str = "mean",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: str = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.solver = solver
        self.num_samples = num_samples
        self.sampler = sampler
        self.antithetic = antithetic
        self.maximize = maximize
        self.event_dim = event_dim
        self.vectorized = vectorized
        self.chunk_size = chunk_size
        self.reduction = reduction
        if isinstance(seed, Tensor):
            self.register_buffer("seed", seed)
        else:
            self.seed = seed
        self._loss()  # looks at the options
        if seed is not None:
            seed_tensor(seed, "cpu")

    def _loss(self) -> PerturbedLoss:
        return fenchel_young_loss(
            self.solver,
            self.distribution,
            num_samples=self.num_samples,
            sampler=self.sampler,
            antithetic=self.antithetic,
            maximize=self.maximize,
            event_dim=self.event_dim,
            vectorized=self.vectorized,
            chunk_size=self.chunk_size,
            reduction=self.reduction,
            seed=self.seed,
        )

    def _smooth(self, theta: Tensor, target: Tensor, *args: Any) -> Tensor:
        return self._loss()(theta, target, *args)

    def _hard(self, theta: Tensor, target: Tensor, *args: Any) -> Tensor:
        return self._loss().unperturbed(theta, target, *args)

    def extra_repr(self) -> str:
        solver = self.solver
        name = "" if isinstance(solver, nn.Module) else f"{describe_solver(solver)}, "
        return (
            f"{name}{super().extra_repr()}, num_samples={self.num_samples}, "
            f"sampler={self.sampler!r}, maximize={self.maximize}, reduction={self.reduction!r}, "
            f"seed={self.seed!r}"
        )
