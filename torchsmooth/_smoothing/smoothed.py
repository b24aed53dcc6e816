"""The public function, its arguments, and the shapes of batch and event."""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._autodiff.derivatives import attach
from .._autodiff.vmap import ALL_OR_EACH, DRAWN, EACH, SHARED, as_batch
from .._checks import check_bool, check_distribution, check_floating, check_int, scale_rows
from .._dtypes import compute_dtype
from .._torch_internals import (
    compiler_is_loaded,
    has_tangent,
    in_forward_mode,
    requires_grad,
    transforms_are_active,
)
from ..distributions import AbstractDistribution, Logistic
from ..samplers import AbstractSampler, resolve_sampler, seed_tensor
from ..statistics import AbstractStatistic, resolve_statistic
from .estimator import Estimator, estimator
from .evaluation import Evaluation
from .executor import SupportsSubmit, check_executor
from .noise import Noise
from .outputs import Outputs
from .process_group import Ranks, check_process_group
from .samples import Samples
from .score_rule import ScoreRule


if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def _tensors_of(
    args: tuple[Any, ...],
) -> tuple[tuple[Tensor, ...], Callable[[tuple[Tensor, ...]], tuple[Any, ...]]]:
    """The tensors among the arguments, and what puts others in their places."""
    places = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]

    def fill(tensors: tuple[Tensor, ...]) -> tuple[Any, ...]:
        filled = list(args)
        for i, t in zip(places, tensors, strict=True):
            filled[i] = t
        return tuple(filled)

    return tuple(args[i] for i in places), fill


def _transformed() -> bool:
    """Whether tensors may be wrapped by a transform of torch.func, or have tangents."""
    return not torch.compiler.is_compiling() and (in_forward_mode() or transforms_are_active())


class Smoothed:
    """A smoothed function g(x, *args): what `torchsmooth.smooth` returns."""

    def __init__(
        self,
        f: Callable[..., Any],
        distribution: AbstractDistribution,
        *,
        num_samples: int,
        sampler: AbstractSampler,
        antithetic: bool,
        covariate: str,
        statistic: AbstractStatistic,
        event_dim: int,
        vectorized: bool,
        chunk_size: int | None,
        seed: int | Tensor | None,
        executor: SupportsSubmit | None,
        process_group: "ProcessGroup | None",
    ):
        self.f = f
        self.distribution = distribution
        self.num_samples = num_samples
        self.sampler = sampler
        self.antithetic = antithetic
        self.covariate = covariate
        self.statistic = statistic
        self.event_dim = event_dim
        self.vectorized = vectorized
        self.chunk_size = chunk_size
        self.seed = seed
        self.executor = executor
        self.process_group = process_group
        self._estimator: Estimator = estimator(
            covariate, sampler, antithetic, num_samples, statistic
        )
        functools.update_wrapper(self, f, updated=())

    def __repr__(self) -> str:
        name = getattr(self.f, "__qualname__", repr(self.f))
        return (
            f"smooth({name}, {self.distribution!r}, num_samples={self.num_samples}, "
            f"sampler={self.sampler!r}, covariate={self.covariate!r}, "
            f"statistic={self.statistic!r})"
        )

    def __call__(self, x: Tensor, *args: Any) -> Any:
        if self.executor is None and self.process_group is None:
            return self._call(x, *args)
        if torch.compiler.is_compiling():
            raise NotImplementedError(
                "torch.compile does not reach through executor or process_group of "
                "torchsmooth.smooth: call the smoothed function outside of what is compiled, or "
                "wrap it in torch.compiler.disable"
            )
        # Not to be compiled frame by frame either. Nobody loads the compiler for that.
        call = torch.compiler.disable(self._call) if compiler_is_loaded() else self._call
        return call(x, *args)

    def _call(self, x: Tensor, *args: Any) -> Any:
        x = check_floating(x, "x")
        if x.ndim < self.event_dim:
            raise ValueError(
                f"x must have at least event_dim={self.event_dim} dimensions, got shape "
                f"{list(x.shape)}; add dimensions, or pass a smaller event_dim"
            )
        split = x.ndim - self.event_dim
        batch, event = tuple(x.shape[:split]), tuple(x.shape[split:])
        elements, n = math.prod(batch), math.prod(event)
        self.sampler.validate(self.num_samples, n, self.antithetic)
        args = tuple(self._per_example(arg, i, batch, elements) for i, arg in enumerate(args))

        dtype = compute_dtype(x.dtype)
        rows = x.reshape(elements, n).to(dtype).contiguous()
        scale = scale_rows(self.distribution, batch, event, dtype, x.device)
        ranks = None if self.process_group is None else Ranks(self.process_group)
        seed = seed_tensor(self.seed, x.device)
        if ranks is not None and self.seed is None:
            seed = ranks.same_seed(seed)
        noise = Noise(
            self.distribution,
            seed,
            self.sampler.directions(n, x.device),
            self.sampler.name,
            self.antithetic,
            self.num_samples,
            n,
        )
        own, fill = _tensors_of(args)
        dtype, device = x.dtype, x.device

        def evaluation(own: tuple[Tensor, ...]) -> Evaluation:
            return Evaluation(self, event, fill(own), dtype, device, ranks)

        value, outputs = self._smooth(rows, scale, noise, own, evaluation)
        return outputs.unpack(value, batch, self.statistic)

    def _smooth(
        self,
        x: Tensor,  # [B, n]
        scale: Tensor,
        noise: Noise,
        own: tuple[Tensor, ...],  # f's own tensors, [B, ...]
        evaluation: Callable[[tuple[Tensor, ...]], Evaluation],
    ) -> tuple[Tensor, Outputs]:
        """The value [B, R] with its derivatives, and how f's outputs lie in it."""
        transformed = _transformed()
        wanted, moment = self._wanted(x, scale, transformed)
        seed_kind = DRAWN if self.seed is None else SHARED
        done: list[Evaluation] = []

        def run(
            x: Tensor, scale: Tensor, seed: Tensor, directions: Tensor, *own: Tensor
        ) -> tuple[Tensor, ...]:
            done[:] = [evaluation(own)]
            own_noise = noise._replace(seed=seed, directions=directions)
            return done[0].run(x, scale, own_noise, moment, wanted)

        tensors = (x.detach(), scale.detach(), noise.seed, noise.directions, *own)
        kinds = (EACH, ALL_OR_EACH, seed_kind, SHARED, *(EACH,) * len(own))
        value, *saved = as_batch(run, kinds, *tensors) if transformed else run(*tensors)
        outputs = done[0].outputs
        if not wanted:
            return value, outputs
        saved += [noise.seed, noise.directions]
        # What a transform has wrapped must be saved, to be unwrapped where it is used.
        bound: tuple[Tensor, ...] = own
        if transformed:
            saved += own
            bound = ()

        def run_again(
            _: Tensor, x: Tensor, scale: Tensor, seed: Tensor, directions: Tensor, *own: Tensor
        ) -> tuple[Tensor]:
            own_noise = noise._replace(seed=seed, directions=directions)
            return (evaluation(own or bound).samples(x, scale, own_noise),)

        rule = ScoreRule(
            noise._replace(seed=None, directions=None),  # type: ignore[arg-type]
            seed_kind,
            self.statistic,
            isinstance(done[0].kept, Samples),
            moment,
            self._estimator,
            run_again,
        )
        return attach(rule, value, x, scale, *saved), outputs

    def _wanted(self, x: Tensor, scale: Tensor, transformed: bool) -> tuple[bool, str]:
        """Whether derivatives may be asked for, and which moments of the noise they take."""
        if transformed:
            in_x, in_scale = (requires_grad(t) or has_tangent(t) for t in (x, scale))
        else:
            enabled = torch.is_grad_enabled()
            in_x, in_scale = enabled and x.requires_grad, enabled and scale.requires_grad
        if not in_scale:
            return in_x, "none"
        return True, "diagonal" if scale.ndim == 2 else "outer"

    def _per_example(self, arg: Any, index: int, batch: tuple[int, ...], elements: int) -> Any:
        if not isinstance(arg, Tensor):
            return arg
        if tuple(arg.shape[: len(batch)]) != batch:
            raise ValueError(
                f"args[{index}] must start with the batch dimensions of x, {list(batch)}, got "
                f"shape {list(arg.shape)}; expand it, or bind a tensor that all examples share "
                "with functools.partial"
            )
        return arg.reshape(elements, *arg.shape[len(batch) :])


def smooth(
    f: Callable[..., Any] | None = None,
    distribution: AbstractDistribution = Logistic(),
    *,
    num_samples: int = 1024,
    sampler: str | AbstractSampler = "sobol",
    antithetic: bool = False,
    covariate: str = "loo",
    statistic: str | AbstractStatistic = "mean",
    event_dim: int = 1,
    vectorized: bool = True,
    chunk_size: int | None = None,
    seed: int | Tensor | None = None,
    executor: SupportsSubmit | None = None,
    process_group: "ProcessGroup | None" = None,
) -> Any:
    """Replaces a function that has no useful gradient by its smoothed twin, which has one.

    Returns a callable `g(x, *args)` that estimates f_eps(x) = E[f(x + L eps)] and, from the same
    samples, its gradients in `x`, in `distribution.scale` and in `distribution.scale_matrix`
    (arXiv 2410.08125, lemmas 3 and 6, theorem 7, with the corrections that the documentation
    lists). f is called exactly once per sample, and never in the backward pass. Also a decorator,
    with and without arguments.

    Between the passes the smaller one is kept: f's outputs at all samples, or the Jacobian; the
    outputs too if they have a graph of their own. Forward mode and `torch.vmap`, under which f sees
    one larger batch, work in eager mode. So do second derivatives of the mean, under laws whose
    density has no kink: they take the outputs of all samples, and call f once more per sample if
    the Jacobian was kept. The page on estimators has the details.

    **Arguments:**

    - `f`: maps perturbed points [m, *event] to [m, *out]: a tensor, or a structure (tuple, list,
        dict) of tensors. It may return NumPy arrays.
    - `distribution`: the law of the noise.
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

    **Returns:** a callable from [*batch, *event] to [*batch, *out] ([*batch, *out, *out] for the
    covariance). Tensors among its `args` must
    start with the batch dimensions; they are expanded over the samples, passed to f, and get their
    ordinary gradient where f is differentiable in them. Other arguments are passed as they are.

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
    options: dict[str, Any] = dict(
        num_samples=check_int(num_samples, "num_samples", 1, 1024),
        sampler=resolve_sampler(sampler),
        antithetic=check_bool(antithetic, "antithetic"),
        covariate=covariate,
        statistic=resolve_statistic(statistic),
        event_dim=check_int(event_dim, "event_dim", 0, 1),
        vectorized=check_bool(vectorized, "vectorized"),
        chunk_size=None if chunk_size is None else check_int(chunk_size, "chunk_size", 1, 256),
        seed=seed,
        executor=check_executor(executor),
        process_group=check_process_group(process_group),
    )
    check_distribution(distribution)
    if f is None:
        return lambda function: smooth(function, distribution, **options)
    if not callable(f):
        raise TypeError(
            f"f must be callable, got {type(f).__name__}; a decorator names its arguments: "
            "@ts.smooth(distribution=..., num_samples=...)"
        )
    return Smoothed(f, distribution, **options)
