"""Losses for choices with a linear objective: one-hot vectors, rankings, paths."""

import functools
import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from .._autodiff.function import NoVmap
from .._checks import check_bool, check_distribution, check_int, scale_rows
from .._dtypes import compute_dtype
from .._linalg import solve
from .._smoothing import smooth
from .._torch_internals import values_are_readable
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler, resolve_sampler, seed_tensor
from .solver import (
    call_solver,
    check_scores,
    check_solver,
    check_solver_args,
    describe_solver,
    nan_unless_finite,
)


REDUCTIONS = ("mean", "sum", "none")

# An example is worse than its target from this share of its scores on: less is rounding.
_WORSE = 1e-4


class _PerturbedMaximum(NoVmap):
    """The identity in `loss`, with its derivatives in `theta` and `scale`: `envelope(...)`."""

    @staticmethod
    def forward(
        loss: Tensor,  # [B]
        theta: Tensor,  # [B, n]
        scale: Tensor,  # [1 or B, 1 or n] or [1 or B, n, n]
        difference: Tensor,  # [B, n]
        moment: Tensor,  # [B, k]
        again: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> Tensor:
        return loss.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, theta, scale, difference, moment, ctx.again = inputs
        ctx.save_for_backward(theta, scale, difference, moment)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        theta, scale, difference, moment = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # First derivatives are expectations of the solver; their derivatives need the score.
            difference, moment = ctx.again(theta)
        upstream = grad.unsqueeze(-1)
        grad_scale = None
        if ctx.needs_input_grad[2]:
            grad_scale = _in_scale(upstream * moment, scale).sum_to_size(scale.shape)
        return None, upstream * difference, grad_scale, None, None, None


def _in_scale(moment: Tensor, scale: Tensor) -> Tensor:
    """From E[difference * L noise], or the outer product of both, to E[difference * noise]."""
    if scale.ndim == 2:
        return moment / scale
    matrix = moment.reshape(-1, *scale.shape[-2:])
    return solve(scale, matrix.mT).mT  # M L^-T


@final
class FenchelYoungLoss:
    """A loss `loss(theta, target, *args)`, returned by `torchsmooth.fenchel_young_loss`."""

    def __init__(
        self,
        solver: Callable[..., Any],
        distribution: AbstractDistribution,
        *,
        num_samples: int,
        sampler: AbstractSampler,
        antithetic: bool,
        maximize: bool,
        event_dim: int,
        vectorized: bool,
        chunk_size: int | None,
        reduction: str,
        seed: int | Tensor | None,
    ):
        self.solver = solver
        self.distribution = distribution
        self.num_samples = num_samples
        self.sampler = sampler
        self.antithetic = antithetic
        self.maximize = maximize
        self.event_dim = event_dim
        self.vectorized = vectorized
        self.chunk_size = chunk_size
        self.reduction = reduction
        self.seed = seed

    def __repr__(self) -> str:
        name = describe_solver(self.solver)
        return (
            f"fenchel_young_loss({name}, {self.distribution!r}, num_samples={self.num_samples}, "
            f"sampler={self.sampler!r}, maximize={self.maximize}, reduction={self.reduction!r})"
        )

    def __call__(self, theta: Tensor, target: Tensor, *args: Any) -> Tensor:
        theta, scores, target, batch, event = self._checked(theta, target, args)
        shape = (math.prod(batch), math.prod(event))
        scale = scale_rows(self.distribution, batch, event, scores.dtype, theta.device)
        moment = "none"
        if torch.is_grad_enabled() and scale.requires_grad:
            moment = "diagonal" if scale.ndim == 2 else "outer"
        seed = seed_tensor(self.seed, theta.device).clone()

        def expectations(theta: Tensor, covariate: Covariate) -> tuple[Tensor, Tensor, Tensor]:
            smoothed = smooth(
                functools.partial(self._sample, moment),
                self.distribution,
                num_samples=self.num_samples,
                sampler=self.sampler,
                antithetic=self.antithetic,
                covariate=covariate,
                event_dim=self.event_dim,
                chunk_size=self.chunk_size,
                seed=seed,
                check=False,
            )
            totals, difference, moments = smoothed(theta, theta, target, *args)
            k = {"none": 0, "diagonal": shape[1], "outer": shape[1] ** 2}[moment]
            return totals, difference.reshape(shape), moments.reshape(shape[0], k)

        def again(rows: Tensor) -> tuple[Tensor, Tensor]:
            return expectations(rows.reshape(scores.shape), "loo")[1:]

        with torch.no_grad():
            totals, difference, moments = expectations(scores.detach(), "none")
        self._check_direction(totals)
        loss = _PerturbedMaximum.apply(
            totals[..., 0].reshape(shape[0]),
            scores.reshape(shape),
            scale,
            difference,
            moments,
            again,
        )
        return _reduce(loss.reshape(batch).to(theta.dtype), self.reduction)

    def unperturbed(self, theta: Tensor, target: Tensor, *args: Any) -> Tensor:
        """The loss without noise, max over y of <theta, y - t>: that of a structured perceptron.

        Its gradient in `theta` is y*(theta) - t (for a minimiser the negative). It is 0 as soon as
        the target wins, by any margin.
        """
        theta, scores, target, batch, event = self._checked(theta, target, args)
        elements = math.prod(batch)
        rows, targets = scores.reshape(elements, *event), target.reshape(elements, *event)
        own = [
            arg.reshape(elements, *arg.shape[len(batch) :]) if isinstance(arg, Tensor) else arg
            for arg in args
        ]
        solution = call_solver(self.solver, rows.detach(), own, self.vectorized)
        difference = solution - targets if self.maximize else targets - solution
        products = rows * nan_unless_finite(difference, rows.detach())
        loss = products.reshape(elements, math.prod(event)).sum(-1)
        return _reduce(loss.reshape(batch).to(theta.dtype), self.reduction)

    def _checked(
        self, theta: Tensor, target: Tensor, args: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor, Tensor, torch.Size, torch.Size]:
        """Also scores and target in the type to compute in, and the shapes of batch and event."""
        theta = check_scores(theta, self.event_dim)
        split = theta.ndim - self.event_dim
        batch, event = theta.shape[:split], theta.shape[split:]
        check_solver_args(args, batch)
        scores = theta.to(compute_dtype(theta.dtype))
        target = _check_target(target, theta).detach().to(scores.dtype)
        return theta, scores, target, batch, event

    def _sample(
        self,
        moment: str,
        z: Tensor,  # [m, *event], perturbed scores
        theta: Tensor,  # [m, *event]
        target: Tensor,  # [m, *event]
        *args: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The averaged quantities: loss and its size [m, 2], slope [m, *event], and moment."""
        solution = call_solver(self.solver, z, args, self.vectorized)
        difference = solution - target if self.maximize else target - solution
        products = (z * difference).reshape(z.shape[0], math.prod(z.shape[1:]))
        totals = torch.stack([products.sum(-1), products.abs().sum(-1)], -1)
        rows = difference.reshape(products.shape)
        noise = (z - theta).reshape(products.shape)
        if moment == "diagonal":
            moments = rows * noise
        elif moment == "outer":
            moments = (rows.unsqueeze(-1) * noise.unsqueeze(-2)).flatten(1)
        else:
            moments = rows[:, :0]
        return totals, difference, moments

    def _check_direction(self, totals: Tensor) -> None:
        """The optimum is never worse than the target, if the target is feasible."""
        if not values_are_readable(totals):
            return
        loss, size = totals.reshape(-1, 2).unbind(-1)
        worse = loss < -_WORSE * size
        if len(worse) > 0 and bool(worse.all()):
            found, other = ("maximise", False) if self.maximize else ("minimise", True)
            raise ValueError(
                f"solver must {found} <scores, y> over a set that holds target, got solutions that "
                f"are worse than target in every example; pass maximize={other} if it does the "
                "opposite, check the targets, or bound the noise if it clamps its scores"
            )


def _check_target(target: object, theta: Tensor) -> Tensor:
    if not isinstance(target, Tensor):
        raise TypeError(
            f"target must be a torch.Tensor, got {type(target).__name__}; convert it with "
            "torch.as_tensor(target)"
        )
    if target.is_complex():
        raise TypeError(f"target must hold real numbers, got {target.dtype}; pass target.real")
    if target.shape != theta.shape:
        raise ValueError(
            f"target must have the shape of theta, {list(theta.shape)}, got {list(target.shape)}; "
            "pass indicators such as one-hot vectors, not indices"
        )
    if target.device != theta.device:
        raise ValueError(
            f"target must be on the device of theta, {theta.device}, got {target.device}; move it "
            "with target.to(theta.device)"
        )
    if target.requires_grad:
        raise ValueError(
            "target must not require grad, because the loss omits a term of the target, "
            "got a tensor that does; pass target.detach()"
        )
    return target


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _check_reduction(reduction: object) -> str:
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}; pass "
            "'none' for one loss per example"
        )
    return str(reduction)


def _check_has_mean(distribution: AbstractDistribution) -> None:
    try:
        mean = distribution.with_scale(1.0).mean()
    except NotImplementedError:  # a law of torch that does not say
        return
    mean = torch.as_tensor(mean)
    if values_are_readable(mean) and not bool(mean.isfinite().all()):
        raise ValueError(
            "distribution must have a mean, because without one the expected maximum does not "
            f"exist, got {distribution!r}; use Gaussian or Logistic"
        )


def fenchel_young_loss(
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
) -> FenchelYoungLoss:
    """Returns the perturbed Fenchel-Young loss of a solver, which is convex in the scores.

    For a solver y*(z) that maximises <z, y> over a set of vectors y, the loss of scores theta and a
    target t is

        loss(theta, t) = E[ max over y of <theta + L noise, y - t> ],

    and with `maximize=False`, for a solver that minimises, E[max over y of <theta + L noise, t -
    y>]. Its gradient in theta is E[y*(theta + L noise)] - t (for a minimiser the negative): it
    needs no score of the noise, and one call of the solver per sample.

    The loss is never negative for a target in the convex hull of the set. For a target that is a
    corner of the hull, such as one-hot vectors, permutations and indicators of paths, it goes to 0
    as the target wins by a growing margin, and is the Fenchel-Young loss itself. For targets inside
    of the hull, averages of solutions, it exceeds the Fenchel-Young loss by a term that depends on
    the target only, as the cross entropy exceeds the divergence by the entropy. With Gumbel noise
    and `torchsmooth.hard.argmax` it is the cross entropy of softmax(theta / scale), times the
    scale.

    Value and gradient are averages over the same samples: at a fixed seed the gradient is exactly
    the derivative of the value. The gradients in `distribution.scale` and
    `distribution.scale_matrix` are those of the formula too. Second derivatives are estimated by
    the score of the noise, with one more call of the solver per sample (`create_graph=True`); under
    `torch.compile` there are none.

    **Arguments:**

    - `solver`: maps scores [m, *event] to solutions [m, *event], as `torchsmooth.hard.argmax` or
        `rank` do; it may return NumPy arrays. It must be exact for all scores that the noise
        produces: `torchsmooth.hard.shortest_path` raises weights to `min_weight`, so that there the
        noise must be bounded (`Triangular`, `WignerSemicircle`) and its scale below the smallest
        weight.
    - `distribution`: the law of the noise. It must have a mean, which `Cauchy` has not. Where the
        mean is not 0 (`Gumbel`), the loss is that of scores moved by it.
    - `num_samples`, `sampler`, `antithetic`, `event_dim`, `chunk_size`, `seed`: as for
        `torchsmooth.smooth`.
    - `maximize`: False if the solver minimises, as `torchsmooth.hard.shortest_path` does.
    - `vectorized`: False if the solver takes one [*event] at a time.
    - `reduction`: over the batch: "mean", "sum" or "none".

    **Returns:** a callable `loss(theta, target, *args)`. `theta` is a floating-point tensor
    [*batch, *event]; `target` a tensor of the same shape, of any real type. Tensors among `args`
    must start with the batch dimensions; they are expanded over the samples and passed to the
    solver, others are passed unchanged. It returns a scalar, or [*batch] for "none", of the dtype
    of `theta`. Half types are computed in float32, and the solver gets float32.

    **Raises:** TypeError or ValueError if an argument differs from this description; on the CPU
    also if the solutions are worse than the target in every example, as they are with the wrong
    `maximize`. Exceptions of the solver are passed on.

    **Source:** Berthet et al., "Learning with differentiable perturbed optimizers", 2020
    (arXiv:2002.08676), section 4; Blondel, Martins and Niculae, "Learning with Fenchel-Young
    losses", 2020 (arXiv:1901.02324).

    >>> import torch, torchsmooth as ts
    >>> loss = ts.fenchel_young_loss(ts.hard.argmax, ts.Gumbel(), num_samples=4096, seed=0)
    >>> theta = torch.tensor([0.5, 1.0, -1.0], requires_grad=True)
    >>> target = torch.tensor([1.0, 0.0, 0.0])
    >>> value = loss(theta, target)
    >>> exact = torch.nn.functional.cross_entropy(theta, target)
    >>> bool((value - exact).abs() < 0.01)
    True
    >>> value.backward()
    >>> bool((theta.grad - (theta.softmax(0) - target)).abs().max() < 0.01)
    True
    """
    check_solver(solver)
    _check_has_mean(check_distribution(distribution))
    return FenchelYoungLoss(
        solver,
        distribution,
        num_samples=check_int(num_samples, "num_samples", 1, 1024),
        sampler=resolve_sampler(sampler),
        antithetic=check_bool(antithetic, "antithetic"),
        maximize=check_bool(maximize, "maximize"),
        event_dim=check_int(event_dim, "event_dim", 0, 1),
        vectorized=check_bool(vectorized, "vectorized"),
        chunk_size=None if chunk_size is None else check_int(chunk_size, "chunk_size", 1, 256),
        reduction=_check_reduction(reduction),
        seed=seed,
    )
