"""The layer of the perturbed Fenchel-Young loss."""

from collections.abc import Callable
from typing import Any, Literal, final

from torch import Tensor

from .._solvers.fenchel_young import FenchelYoungLoss as PerturbedLoss, fenchel_young_loss
from .._typing import SamplerName
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler, seed_tensor
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


Reduction = Literal["mean", "sum", "none"]


@final
class FenchelYoungLoss(AbstractSmoothingLayer[..., Tensor]):
    """The loss of scores and a target: `torchsmooth.fenchel_young_loss`.

    In evaluation with `eval_mode="hard"` it is the loss without noise, that of a structured
    perceptron (Berthet et al., "Learning with differentiable perturbed optimizers", 2020,
    arXiv:2002.08676, section 4).

    **Arguments:**

    - `solver`, `num_samples`, `sampler`, `antithetic`, `maximize`, `event_dim`, `vectorized`,
        `chunk_size`, `reduction`: as for `torchsmooth.fenchel_young_loss`.
    - `seed`: also an int64 tensor of one element, which becomes a buffer of the layer.
    - `distribution`, `learn_scale`, `eval_mode`: as for `AbstractSmoothingLayer`.

    **Returns:** called with theta and a target, both [*batch, *event], and arguments of the solver,
    the loss: a scalar, or [*batch] for `reduction="none"`, of the dtype of theta.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.fenchel_young_loss` raises.

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

    _options = (
        "solver",
        "num_samples",
        "sampler",
        "antithetic",
        "maximize",
        "event_dim",
        "vectorized",
        "chunk_size",
        "reduction",
        "seed",
    )
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
        reduction: Reduction = "mean",
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
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
        self._hold("seed", seed)
        self._loss()  # looks at the options
        if seed is not None:
            seed_tensor(seed, "cpu")

    def _loss(self) -> PerturbedLoss:
        return fenchel_young_loss(distribution=self.distribution, **self._given())

    def _smooth(self, theta: Tensor, target: Tensor, *args: Any) -> Tensor:
        return self._loss()(theta, target, *args)

    def _hard(self, theta: Tensor, target: Tensor, *args: Any) -> Tensor:
        return self._loss().unperturbed(theta, target, *args)
