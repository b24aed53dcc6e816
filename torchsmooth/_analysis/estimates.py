"""A smoothed value and its Jacobian, with their standard errors."""

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .._autodiff.derivatives import rescale_gradients
from .._checks import check_distribution, check_event_dim, check_floating, check_int, scale_rows
from .._dtypes import compute_dtype
from .._smoothing import Smoothed, smooth
from .._typing import Covariate, SamplerName
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler, resolve_sampler, sampler_for, seed_tensor


_REPETITIONS = 16
# Numbers in the products of outputs and scores that are made at a time.
_CHUNK_PRODUCTS = 2**22


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """The result of `torchsmooth.estimate`.

    An interval of level p for one entry is the estimate plus or minus t times its error, with t the
    (1 + p)/2 quantile of Student's law of `degrees_of_freedom` (`scipy.stats.t.ppf`).
    """

    value: Tensor  # [*batch, *out]
    jacobian: Tensor  # [*batch, *out, *event]
    value_error: Tensor  # [*batch, *out]
    jacobian_error: Tensor  # [*batch, *out, *event]
    degrees_of_freedom: int


def estimate(
    f: Callable[[Tensor], Any],
    x: Tensor,
    distribution: AbstractDistribution,
    *,
    num_samples: int = 1024,
    repetitions: int | None = None,
    sampler: SamplerName | AbstractSampler = "auto",
    antithetic: bool = False,
    covariate: Covariate = "loo",
    event_dim: int = 1,
    vectorized: bool = True,
    chunk_size: int | None = None,
    seed: int | Tensor | None = None,
) -> Estimate:
    """Estimates f_eps(x) = E[f(x + L eps)] and its Jacobian, with their standard errors.

    The values are those of `torchsmooth.smooth`. Samples of the sampler "mc" are independent, and
    their scatter gives the standard errors. Other samples are dependent. There the estimate is
    repeated with independent randomisations; the result is the mean of the repetitions, and their
    scatter gives its standard errors.

    **Arguments:**

    - `f`: maps perturbed points [m, *event] to one tensor [m, *out]. It may return NumPy arrays. It
        is not differentiated.
    - `x`: floating-point tensor of shape [*batch, *event].
    - `distribution`: the law of the noise. The scores of `Triangular` and `WignerSemicircle` have
        infinite variance: for them the errors of the Jacobian bound nothing.
    - `num_samples`: how many perturbed points f gets per example and repetition.
    - `repetitions`: how often the estimate is repeated, at least 2; None for 16, or for 1 with the
        sampler "mc".
    - `sampler`, `antithetic`, `covariate`, `event_dim`, `vectorized`, `chunk_size`, `seed`: as for
        `torchsmooth.smooth`. The centred samplers "qmc_latin" and "qmc_cartesian" are refused,
        because repetitions do not show their error.

    **Returns:** an `Estimate`: `value` and `value_error` [*batch, *out], `jacobian` and
    `jacobian_error` [*batch, *out, *event], all of the dtype of `x`, and `degrees_of_freedom`. An
    error is one standard deviation of the estimate. With the covariate "loo" and stratified samples
    it does not include the bias, which `torchsmooth.smooth` describes.

    **Raises:** TypeError or ValueError if an argument differs from this description. Exceptions of
    f are passed on.

    **Source:** Owen, "Monte Carlo theory, methods and examples", section 17.3, for the repetitions.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([0.3], dtype=torch.float64)
    >>> step = ts.estimate(lambda y: (y > 0).double(), x, ts.Gaussian(scale=0.5), seed=0)
    >>> exact = 0.6664492  # phi(0.6) / 0.5
    >>> bool((step.jacobian - exact).abs() < 4 * step.jacobian_error)
    True
    >>> bool(step.jacobian_error < 0.01)
    True
    """
    x = check_floating(x, "x")
    check_distribution(distribution)
    event_dim = check_int(event_dim, "event_dim", 0, 1)
    check_event_dim(x, event_dim, "x")
    sampler = resolve_sampler(sampler)
    _check_randomized(sampler)
    if repetitions is not None:
        repetitions = check_int(repetitions, "repetitions", 2, _REPETITIONS)
    elif not sampler.independent:
        repetitions = _REPETITIONS
    if repetitions is None:
        check_int(num_samples, "num_samples", 4 if antithetic else 2, 1024)
    # Tensors made in inference mode could not be saved for the Jacobian.
    with torch.inference_mode(False), torch.enable_grad():
        recorder = _Recorder(f, keep=repetitions is None)
        smoothed = smooth(
            recorder,
            distribution,
            num_samples=num_samples,
            sampler=sampler,
            antithetic=antithetic,
            covariate=covariate,
            event_dim=event_dim,
            vectorized=vectorized,
            chunk_size=chunk_size,
            seed=seed_tensor(seed, x.device).clone(),
            check=False,
        )
        copies = x.detach().expand(repetitions or 1, *x.shape).clone().requires_grad_()
        values = smoothed(copies)
        if not isinstance(values, Tensor):
            raise TypeError(
                f"f must return one tensor, got {type(values).__name__}; estimate its parts one by "
                "one, or concatenate them"
            )
        jacobians = _jacobian(values, copies, event_dim)
    values = values.detach()
    if repetitions is None:
        value, jacobian = values[0], jacobians[0]
        groups = num_samples // (2 if antithetic else 1)
        errors = _errors_from_samples(smoothed, recorder, x.detach(), value, jacobian)
    else:
        value, jacobian, groups = values.mean(0), jacobians.mean(0), repetitions
        errors = _error_of_mean(values, 0), _error_of_mean(jacobians, 0)
    return Estimate(value, jacobian, *errors, groups - 1)


def _check_randomized(sampler: AbstractSampler) -> None:
    if not getattr(sampler, "randomized", True):
        raise ValueError(
            "sampler must be randomised, so that its error shows when it is repeated, got "
            f"{sampler.name!r}; pass 'r{sampler.name}' or 'sobol'"
        )


def _error_of_mean(t: Tensor, dim: int) -> Tensor:
    # Not std, which warns of tensors without elements.
    count = t.shape[dim]
    return ((t - t.mean(dim, keepdim=True)).square().sum(dim) / (count * (count - 1))).sqrt()


class _Recorder:
    """f without its graph; keeps the outputs if the errors are computed from them."""

    def __init__(self, f: Callable[[Tensor], Any], keep: bool):
        if not callable(f):
            raise TypeError(
                f"f must be callable, got {type(f).__name__}; pass a function of perturbed points"
            )
        self.f = f
        self.keep = keep
        self.results: list[Any] = []

    def __call__(self, points: Tensor) -> Any:
        with torch.no_grad():
            result = self.f(points)
        if self.keep:  # a copy: f may return the same array again, filled with other numbers
            self.results.append(pytree.tree_map(_copy, result))
        return result

    def rows(self, count: int, like: Tensor) -> Tensor:
        """All outputs, in the order of the calls: [count, M]."""
        results = [torch.as_tensor(result, device=like.device) for result in self.results]
        flat = torch.cat([result.to(torch.float64).flatten() for result in results])
        return flat.reshape(count, flat.numel() // count)


def _copy(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, Tensor) else copy.copy(leaf)


def _jacobian(values: Tensor, x: Tensor, event_dim: int) -> Tensor:
    """d values [r, *batch, *out] / d x [r, *batch, *event], as [r, *batch, *out, *event].

    The values of an example depend on no x but its own, so that one pass serves an output of all.
    """
    split = x.ndim - event_dim
    leading, event = x.shape[:split], x.shape[split:]
    out = values.shape[split:]
    columns = values.reshape(math.prod(leading), math.prod(out))
    rows = [
        torch.autograd.grad(columns[:, m].sum(), x, retain_graph=True)[0].flatten(split)
        if event_dim
        else torch.autograd.grad(columns[:, m].sum(), x, retain_graph=True)[0].unsqueeze(-1)
        for m in range(columns.shape[1])
    ]
    if not rows:
        return x.new_zeros((*leading, *out, *event))
    return torch.stack(rows, split).reshape(*leading, *out, *event)


def _errors_from_samples(
    smoothed: Smoothed[[], Any],
    recorder: _Recorder,
    x: Tensor,  # [*batch, *event]
    value: Tensor,  # [*batch, *out]
    jacobian: Tensor,  # [*batch, *out, *event]
) -> tuple[Tensor, Tensor]:
    """Standard errors of means over independent samples, or over independent pairs of them.

    The scores are drawn again from the same words; each sample, or pair, is compared with the
    mean of the others if the covariate is "loo", so that the mean of the products is the estimate.
    """
    options = smoothed.options
    s, members = options.num_samples, 2 if options.antithetic else 1
    split = x.ndim - options.event_dim
    batch, event = x.shape[:split], x.shape[split:]
    elements, n = math.prod(batch), math.prod(event)
    if elements == 0:
        return torch.zeros_like(value), torch.zeros_like(jacobian)
    distribution = smoothed.distribution
    dtype = compute_dtype(x.dtype)
    scale = scale_rows(distribution, batch, event, dtype, x.device).detach()

    before = elements if options.covariate == "fx" else 0
    rows = recorder.rows(before + elements * s, x)
    outputs = rows[before:].unflatten(0, (elements, s))
    if options.covariate == "fx":
        centred = outputs - rows[:before].unsqueeze(1)
    elif options.covariate == "loo":
        groups = outputs.unflatten(1, (s // members, members))
        others = outputs.sum(1)[:, None, None] - groups.sum(2, keepdim=True)
        centred = (groups - others / (s - members)).reshape(outputs.shape)
    else:
        centred = outputs
    centred = centred.flatten(0, 1)
    columns = centred.shape[1]
    center = jacobian.to(torch.float64).reshape(elements, columns, n)

    squares = torch.zeros_like(center)
    step = members * max(1, _CHUNK_PRODUCTS // max(1, members * columns * n))
    for start in range(0, elements * s, step):
        stop = min(start + step, elements * s)
        words = torch.ops.torchsmooth.words(
            options.seed,
            options.sampler.directions(n, x.device),
            sampler_for(options.sampler, n).name,
            options.antithetic,
            s,
            n,
            start,
            stop,
        )
        element = torch.arange(start, stop, device=x.device) // s
        _, scores = distribution.draw(words, dtype)
        own = scale if scale.shape[0] == 1 else scale.index_select(0, element)
        weights, _ = rescale_gradients(scores, scores[:, :0], own)
        products = torch.einsum(
            "gkm,gkn->gmn",
            centred[start:stop].unflatten(0, ((stop - start) // members, members)),
            weights.to(torch.float64).unflatten(0, ((stop - start) // members, members)),
        )
        element = element[::members]
        deviations = products / members - center.index_select(0, element)
        squares.index_add_(0, element, deviations.square())
    groups_minus_one = s // members - 1
    jacobian_error = (squares / (groups_minus_one * (groups_minus_one + 1))).sqrt()
    means = outputs.unflatten(1, (s // members, members)).mean(2)
    value_error = _error_of_mean(means, 1)
    return (
        value_error.reshape(value.shape).to(x.dtype),
        jacobian_error.reshape(jacobian.shape).to(x.dtype),
    )
