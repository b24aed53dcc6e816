"""The public function, its arguments, and the shapes of batch and event."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    SupportsFloat,
    TypeVar,
    final,
    overload,
)

import torch
from torch import Tensor

from .._autodiff.derivatives import attach
from .._autodiff.vmap import ALL_OR_EACH, DRAWN, EACH, SHARED, as_batch
from .._checks import (
    check_bool,
    check_distribution,
    check_event_dim,
    check_floating,
    check_int,
    scale_rows,
)
from .._dtypes import compute_dtype
from .._torch_internals import (
    compiler_is_loaded,
    has_tangent,
    has_values,
    in_forward_mode,
    requires_grad,
    transforms_are_active,
)
from .._typing import (
    BatchKind,
    Covariate,
    Inputs,
    NanPolicy,
    SamplerName,
    ScaleScore,
    StatisticName,
)
from ..distributions import AbstractDistribution
from ..samplers import AbstractSampler, resolve_sampler, sampler_for, seed_tensor
from ..statistics import AbstractStatistic, resolve_statistic
from .evaluation import Evaluation
from .executor import SupportsSubmit, check_executor
from .noise import NoiseSource
from .options import SmoothingKeywords, SmoothingOptions
from .process_group import Ranks, check_process_group
from .resolution import warn_of_coarse_points
from .user_function import check_convention


if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from typing_extensions import Unpack


class SupportsArray(Protocol):
    """An array of NumPy, or what it makes one of."""

    def __array__(self) -> Any: ...


P = ParamSpec("P")  # the arguments of f behind x
R = TypeVar("R")
# What f may return: tensors, in a structure that the smoothed function keeps;
S = TypeVar("S", bound=Tensor | tuple[Any, ...] | list[Any] | dict[Any, Any])
# or numbers, which become a tensor.
Numbers = SupportsFloat | SupportsArray


@final
class Smoothed(Generic[P, R]):
    """A smoothed function g(x, *args): what `torchsmooth.smooth` returns."""

    def __init__(
        self,
        f: Callable[..., Any],
        distribution: AbstractDistribution,
        options: SmoothingOptions,
    ):
        self.f = f
        self.distribution = distribution
        self.options = options
        # Whether f is still to be asked if it mixes its rows. Bound methods ask for all instances.
        self._unchecked = options.check and options.convention.vectorized
        self._unbound: Smoothed[..., Any] = self
        functools.update_wrapper(self, f, updated=())

    def __repr__(self) -> str:
        name, options = getattr(self.f, "__qualname__", repr(self.f)), self.options
        return (
            f"smooth({name}, {self.distribution!r}, num_samples={options.num_samples}, "
            f"sampler={options.sampler!r}, covariate={options.covariate!r}, "
            f"statistic={options.statistic!r})"
        )

    @property
    def unchecked(self) -> bool:
        """Whether the next call looks whether f treats each of its points by itself."""
        return self._unbound._unchecked

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bound to an instance as f is, where f is a method."""
        if instance is None or not hasattr(self.f, "__get__"):
            return self
        bound: Smoothed[..., Any]
        bound = Smoothed(self.f.__get__(instance, owner), self.distribution, self.options)
        bound._unbound = self
        return bound

    def __call__(self, x: Tensor, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.options.executor is None and self.options.process_group is None:
            result: R = self._call(x, *args, **kwargs)
            return result
        if torch.compiler.is_compiling():
            raise NotImplementedError(
                "torch.compile does not reach through executor or process_group of "
                "torchsmooth.smooth: call the smoothed function outside of what is compiled, or "
                "wrap it in torch.compiler.disable"
            )
        # Not to be compiled frame by frame either. Nobody loads the compiler for that.
        call = torch.compiler.disable(self._call) if compiler_is_loaded() else self._call
        result = call(x, *args, **kwargs)
        return result

    def _call(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        options, x = self.options, check_floating(x, "x")
        check_event_dim(x, options.event_dim, "x")
        split = x.ndim - options.event_dim
        batch, event = tuple(x.shape[:split]), tuple(x.shape[split:])
        elements, n = math.prod(batch), math.prod(event)
        options.sampler.validate(options.num_samples, n, options.antithetic)
        args = tuple(_per_example(arg, i, batch, elements) for i, arg in enumerate(args))
        own = tuple(arg for arg in args if isinstance(arg, Tensor))

        dtype = compute_dtype(x.dtype)
        rows = x.reshape(elements, n).to(dtype).contiguous()
        scale = scale_rows(self.distribution, batch, event, dtype, x.device)
        warn_of_coarse_points(rows.detach(), scale.detach(), x.dtype)
        ranks = None if options.process_group is None else Ranks(options.process_group)
        seed = seed_tensor(options.seed, x.device)
        seed_kind: BatchKind = DRAWN if options.seed is None else SHARED
        if ranks is not None and seed_kind == DRAWN:
            seed = ranks.same_seed(seed)
        directions = options.sampler.directions(n, x.device)

        # Whether tensors may be wrapped by a transform of torch.func, or have tangents.
        compiling = torch.compiler.is_compiling()
        transformed = not compiling and (in_forward_mode() or transforms_are_active())
        wanted, scale_score = _wanted(rows, scale, transformed)
        unchecked = not (compiling or transformed) and self._unbound.unchecked and has_values(x)
        evaluation = Evaluation(
            functools.partial(self.f, **kwargs) if kwargs else self.f,
            options,
            NoiseSource(
                self.distribution,
                sampler_for(options.sampler, n).name,
                options.antithetic,
                options.num_samples,
                n,
            ),
            args,
            event,
            x.dtype,
            x.device,
            ranks,
            wanted,
            scale_score,
            unchecked,
        )
        noise = (seed, directions)
        if transformed:
            kinds = (EACH, ALL_OR_EACH, seed_kind, SHARED, *(EACH for _ in own))
            results = as_batch(evaluation.run, kinds, rows.detach(), scale.detach(), *noise, *own)
        else:
            results = evaluation.run(rows.detach(), scale.detach(), *noise)
            own = ()  # what a transform has wrapped is saved, to be unwrapped where it is used
        if unchecked:
            self._unbound._unchecked = evaluation.unchecked
        value, *saved = results
        if wanted:
            rule = evaluation.rule(seed_kind)
            value = attach(rule, value, rows, scale, *saved, *noise, *own)
        return evaluation.outputs.unpack(value, batch, options.statistic)


def _wanted(x: Tensor, scale: Tensor, transformed: bool) -> tuple[bool, ScaleScore]:
    """Whether derivatives may be asked for, and which score of the scale they take."""
    if transformed:
        in_x, in_scale = (requires_grad(t) or has_tangent(t) for t in (x, scale))
    else:
        enabled = torch.is_grad_enabled()
        in_x, in_scale = enabled and x.requires_grad, enabled and scale.requires_grad
    if not in_scale:
        return in_x, "none"
    return True, "diagonal" if scale.ndim == 2 else "outer"


def _per_example(arg: Any, index: int, batch: tuple[int, ...], elements: int) -> Any:
    if not isinstance(arg, Tensor):
        return arg
    if tuple(arg.shape[: len(batch)]) != batch:
        raise ValueError(
            f"args[{index}] must start with the batch dimensions of x, {list(batch)}, got "
            f"shape {list(arg.shape)}; expand it, or bind a tensor that all examples share "
            "with functools.partial"
        )
    return arg.reshape(elements, *arg.shape[len(batch) :])


class SmoothDecorator(Protocol):
    """The result of `torchsmooth.smooth` without f: a decorator."""

    @overload
    def __call__(self, f: Callable[Concatenate[Any, P], S], /) -> Smoothed[P, S]: ...
    @overload
    def __call__(self, f: Callable[Concatenate[Any, P], Numbers], /) -> Smoothed[P, Tensor]: ...
    @overload
    def __call__(self, f: Callable[Concatenate[Any, P], Any], /) -> Smoothed[P, Any]: ...


@overload
def smooth(
    f: Callable[Concatenate[Any, P], S],
    distribution: AbstractDistribution,
    **options: Unpack[SmoothingKeywords],
) -> Smoothed[P, S]: ...
@overload
def smooth(
    f: Callable[Concatenate[Any, P], Numbers],
    distribution: AbstractDistribution,
    **options: Unpack[SmoothingKeywords],
) -> Smoothed[P, Tensor]: ...
@overload
def smooth(
    f: Callable[Concatenate[Any, P], Any],
    distribution: AbstractDistribution,
    **options: Unpack[SmoothingKeywords],
) -> Smoothed[P, Any]: ...
@overload
def smooth(
    f: None = None,
    *,
    distribution: AbstractDistribution,
    **options: Unpack[SmoothingKeywords],
) -> SmoothDecorator: ...
def smooth(
    f: Callable[..., Any] | None = None,
    distribution: AbstractDistribution | None = None,
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
) -> Any:
    """Replaces a function that has no useful gradient by its smoothed twin, which has one.

    Returns a callable `g(x, *args)` that estimates f_eps(x) = E[f(x + L eps)] and, from the same
    samples, its gradients in `x`, in `distribution.scale` and in `distribution.scale_matrix`
    (arXiv 2410.08125, lemmas 3 and 6, theorem 7, with the corrections that the documentation
    lists). f is called exactly once per sample, and never in the backward pass. Also a decorator of
    functions and methods, `@ts.smooth(distribution=...)`.

    Between the passes the smaller one is kept: f's outputs at all samples, or the Jacobian; the
    outputs too if they have a graph of their own. Forward mode and `torch.vmap`, under which f sees
    one larger batch, work in eager mode. So do second derivatives of the mean, under laws whose
    density has no kink: they take the outputs of all samples, and call f once more per sample if
    the Jacobian was kept. The page on estimators has the details.

    **Arguments:**

    - `f`: maps perturbed points [m, *event] to [m, *out], each by itself: a tensor, or a structure
        (tuple, list, dict) of tensors. It may return NumPy arrays, and its own buffer, which is
        copied. Integers are exact up to 2^53.
    - `distribution`: the law of the noise. It must be given: its scale is in the units of `x`.
    - `num_samples`: how many perturbed points f sees per example.
    - `sampler`: where the uniform numbers come from, see `torchsmooth.samplers`.
    - `antithetic`: whether the samples come in mirror images u, 1 - u.
    - `covariate`: what is subtracted from f before it is multiplied with the score: "none", "fx"
        (f(x), one more evaluation per example) or "loo" (the mean of the other samples; for
        stratifying samplers the mean of all, whose bias falls with the sampler's error).
    - `statistic`: what of f(x + L eps) is returned: "mean", `torchsmooth.Median(k)`, the expected
        median of k samples, or `torchsmooth.Covariance()`, of f's outputs with each other. Both
        keep the outputs of all samples until the backward pass.
    - `event_dim`: how many trailing dimensions of `x` are perturbed jointly; the others are batch.
    - `vectorized`: False if f takes one [*event] at a time. It may then return a number.
    - `inputs`: "torch" if f takes tensors, "numpy" if it takes arrays of NumPy: `x` and the tensors
        among `args`. An f that is written for numbers should take arrays: their elements are
        numbers, those of a tensor are tensors, into which `-=` writes.
    - `chunk_size`: perturbed points per call of f; None for as many as keep a chunk's tensors near
        64 MiB. It changes the peak memory, never the result.
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator in
        each call. The same seed gives the same uniform numbers on every device, for any number of
        threads, chunks and ranks.
    - `executor`: who calls f. None for this thread; a `concurrent.futures.Executor`, or what else
        has its method `submit`, for as many calls at a time as it has workers. Chunks become calls;
        with `chunk_size=None` or `vectorized=False` each is cut into several. At most 2 per core of
        this machine are under way. The result is the same to the last bit if what f returns for a
        point does not depend on the others; only the ordinary gradients of f's arguments may be
        rounded otherwise. When f raises, the calls that have not begun are cancelled. For a
        `ProcessPoolExecutor` f and its arguments must be picklable, and f must return tensors
        without a graph, because the gradients of its arguments need threads. Forked processes
        compute with one thread of torch each.
    - `process_group`: a group of torch.distributed, such as `torch.distributed.group.WORLD`. Every
        rank calls f for its share of the samples, and all return the same value and gradient, which
        needs no communication any more; all must ask for second derivatives if one does. All ranks
        must call with the same x (this is checked roughly), distribution and options; a seed of
        None is that of the first rank. An exception of f on one rank is raised there, and a
        RuntimeError on the others. f must return tensors without a graph.
    - `check`: whether the first call in eager mode looks whether f treats each point by itself. It
        calls f with one point of the first chunk alone, and twice more if the outputs differ beyond
        rounding. torch's generator is put back.
    - `nan_policy`: what becomes of NaN that f returns for points without NaN. "propagate": NaN for
        value and gradient of these examples, and a warning that counts the points and names one of
        them (on the CPU, in eager mode). "raise": a ValueError. "omit": such samples are left out,
        so that the result is the expectation under the condition that f is defined, with its first
        derivatives; for the mean only, and for outputs without a graph.

    **Returns:** a callable from [*batch, *event] to [*batch, *out] ([*batch, *out, *out] for the
    covariance), with the other arguments of f. Tensors among its `args` must
    start with the batch dimensions; they are expanded over the samples, passed to f, and get their
    ordinary gradient where f is differentiable in them. Other arguments, and all keyword arguments,
    are passed as they are.

    **Raises:** TypeError or ValueError if an argument is not what is said above, or if f's output
    is not; what f itself raises is passed on. ValueError for a second derivative under a law whose
    density has a kink (Laplace, Triangular, WignerSemicircle). NotImplementedError for one of a
    median or a covariance, and if `torch.compile` meets an executor or a process group.

    >>> import torch, torchsmooth as ts
    >>> step = ts.smooth(lambda y: (y > 0).float(), ts.Gaussian(scale=0.5), seed=0)
    >>> x = torch.tensor([0.3], requires_grad=True)
    >>> y = step(x)  # about Phi(0.3 / 0.5) = 0.7257
    >>> round(y.item(), 2)
    0.73
    >>> y.backward()  # about phi(0.6) / 0.5 = 0.6664
    >>> round(x.grad.item(), 1)
    0.7
    """
    options = SmoothingOptions(
        num_samples=check_int(num_samples, "num_samples", 1, 1024),
        sampler=resolve_sampler(sampler),
        antithetic=check_bool(antithetic, "antithetic"),
        covariate=covariate,
        statistic=resolve_statistic(statistic),
        event_dim=check_int(event_dim, "event_dim", 0, 1),
        convention=check_convention(vectorized, inputs),
        chunk_size=None if chunk_size is None else check_int(chunk_size, "chunk_size", 1, 256),
        seed=seed,
        executor=check_executor(executor),
        process_group=check_process_group(process_group),
        check=check_bool(check, "check"),
        nan_policy=nan_policy,
    )
    law = _check_law(distribution)
    if f is None:
        return lambda f: Smoothed(_check_callable(f), law, options)
    return Smoothed(_check_callable(f), law, options)


def _check_law(distribution: Any) -> AbstractDistribution:
    if distribution is None:
        raise TypeError(
            "distribution must be given, because its scale is in the units of x, got none; pass "
            "for example ts.Gaussian(scale=0.1)"
        )
    if isinstance(distribution, Tensor):
        raise TypeError(
            "distribution must be a distribution of torchsmooth, got a tensor; the smoothed "
            "function takes x: ts.smooth(f, noise)(x)"
        )
    return check_distribution(distribution)


def _check_callable(f: Any) -> Callable[..., Any]:
    if not callable(f):
        raise TypeError(
            f"f must be callable, got {type(f).__name__}; a decorator names its arguments: "
            "@ts.smooth(distribution=..., num_samples=...)"
        )
    function: Callable[..., Any] = f
    return function
