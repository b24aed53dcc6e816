"""The generic road: any callable, called once per sample and never differentiated."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from . import _ops, _reference  # noqa: F401  (the first loads the ops)
from ._arguments import (
    check_bool,
    check_distribution,
    check_floating,
    check_int,
    compute_dtype,
    scale_rows,
)
from ._estimator import Estimator, estimator
from .distributions import AbstractDistribution, Logistic
from .samplers import AbstractSampler, resolve_sampler, seed_tensor


# A chunk's tensors are to stay near this many bytes: points and outputs, and as much again three
# times for what f makes on its way.
_CHUNK_BYTES = 64 * 2**20
_COPIES = 4
# Before the first call nobody knows how large f's outputs are.
_PROBE_ROWS = 256


class _Noise(NamedTuple):
    """What the ops need to draw the noise of a smoothing again."""

    distribution: AbstractDistribution
    seed: Tensor
    directions: Tensor
    sampler: str
    antithetic: bool
    num_samples: int
    n: int

    def perturb(self, x: Tensor, scale: Tensor, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of x + L noise."""
        law, op = self._dispatch("perturb")
        return op(
            x,
            scale,
            self.seed,
            self.directions,
            law,
            self.sampler,
            self.antithetic,
            self.num_samples,
            start,
            stop,
        )

    def reduce(
        self, values: Tensor, pivot: Tensor, pair_weight: float, moment: str, start: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """Sums of (values - pivot) times the weights over the rows [start, stop)."""
        law, op = self._dispatch("reduce")
        return op(
            values,
            pivot,
            self.seed,
            self.directions,
            law,
            self.sampler,
            self.antithetic,
            self.num_samples,
            self.n,
            pair_weight,
            moment,
            start,
            stop,
        )

    def _dispatch(self, name: str) -> tuple[Any, Callable[..., Any]]:
        # A law without a kernel is computed by the twin of the op, which takes the law itself.
        if self.distribution.name is None:
            return self.distribution, getattr(_reference, name)
        return self.distribution.name, getattr(torch.ops.torchsmooth, name)


def _finish(scores: Tensor, moments: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """From sums at scale 1 to gradients in x and in the scale of each element.

    `scores` is [B, n]; `moments` is [B, n], or [B, n * n] for a scale matrix, or has no columns.
    The gradients are L^-T scores and L^-T moments (arXiv 2410.08125, equations 12 and 13, with
    L^-T in both).
    """
    if scale.ndim == 2:
        return scores / scale, moments / scale if moments.shape[-1] else moments
    # solve_ex, because solve waits for the device to tell whether the matrix is singular.
    solve = torch.linalg.solve_ex
    grad_x = solve(scale.mT, scores.unsqueeze(-1)).result.squeeze(-1)
    if not moments.shape[-1]:
        return grad_x, moments
    return grad_x, solve(scale.mT, moments.reshape(-1, *scale.shape[-2:])).result


class _ScoreGradient(_ops.NoVmap):
    """The identity in `value`, with the score's gradient in `x` and `scale` beside it.

    `first` and `second` are either the accumulated Jacobians at scale 1 ([B, M, n] and [B, M, k])
    or all of f's outputs and what is to be subtracted from them ([B * s, M] and [B, M]).
    """

    @staticmethod
    def forward(
        value: Tensor,  # [B, M]
        x: Tensor,  # [B, n]
        scale: Tensor,
        first: Tensor,
        second: Tensor,
        noise: _Noise,
        options: tuple[float, float, str, bool],  # factor, pair_weight, moment, kept
    ) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, x, scale, first, second, noise, ctx.options = inputs
        ctx.noise = noise._replace(seed=None, directions=None)
        # x only says that the gradient depends on it.
        ctx.save_for_backward(scale, first, second, noise.seed, noise.directions, x)

    @staticmethod
    @_ops.first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scale, first, second, seed, directions, _ = ctx.saved_tensors
        factor, pair_weight, moment, kept = ctx.options
        elements, columns = grad.shape
        _, needs_x, needs_scale, *_ = ctx.needs_input_grad
        if not needs_x and not needs_scale:  # only f's own parameters and arguments do
            return grad, None, None, None, None, None, None
        if kept:
            noise = ctx.noise._replace(seed=seed, directions=directions)
            samples = first.reshape(elements, noise.num_samples, columns)
            upstream = grad.to(first.dtype)
            # One number per sample: what the upstream gradient makes of its centred outputs.
            weights = torch.einsum("bsm,bm->bs", samples, upstream)
            weights = weights - (second * upstream).sum(-1, keepdim=True)
            scores, moments = noise.reduce(
                weights.reshape(-1, 1),
                weights.new_zeros(elements, 1),
                pair_weight,
                moment,
                0,
                elements * noise.num_samples,
            )
            scores, moments = factor * scores[:, 0], factor * moments[:, 0]
        else:
            scores = torch.einsum("bm,bmn->bn", grad.to(first.dtype), first)
            moments = torch.einsum("bm,bmk->bk", grad.to(second.dtype), second)
        grad_x, scales = _finish(scores.to(scale.dtype), moments.to(scale.dtype), scale)
        grad_scale = scales.sum_to_size(scale.shape) if needs_scale else None
        return grad, grad_x, grad_scale, None, None, None, None


class _Outputs:
    """How f's outputs, a tensor or a structure of tensors, lie in one matrix of rows."""

    def __init__(self, leaves: list[Tensor], spec: Any, x_dtype: torch.dtype):
        self.spec = spec
        self.shapes = [leaf.shape[1:] for leaf in leaves]
        self.dtypes = [leaf.dtype if leaf.is_floating_point() else x_dtype for leaf in leaves]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        double = torch.float64 in (*self.dtypes, x_dtype)
        self.dtype = torch.float64 if double else torch.float32

    def pack(self, leaves: list[Tensor]) -> Tensor:
        """[rows, M]"""
        rows = [
            leaf.reshape(leaf.shape[0], size).to(self.dtype)
            for leaf, size in zip(leaves, self.sizes, strict=True)
        ]
        return rows[0] if len(rows) == 1 else torch.cat(rows, 1)

    def unpack(self, value: Tensor, batch: tuple[int, ...]) -> Any:
        """From [B, M] to f's structure, with leaves [*batch, *out]."""
        leaves = [
            part.reshape((*batch, *shape)).to(dtype)
            for part, shape, dtype in zip(
                value.split(self.sizes, 1), self.shapes, self.dtypes, strict=True
            )
        ]
        return pytree.tree_unflatten(leaves, self.spec)

    def check(self, leaves: list[Tensor], spec: Any, call: str) -> None:
        if spec != self.spec:
            raise ValueError(
                "f must return the same structure in every call, got "
                f"{_structure(self.spec)} first and {_structure(spec)} for {call}; return one "
                "structure for all points"
            )
        for leaf, shape in zip(leaves, self.shapes, strict=True):
            if leaf.shape[1:] != shape:
                raise ValueError(
                    "f must return the same shape in every call, got "
                    f"{_rows(shape)} first and {_rows(leaf.shape[1:])} for {call}; pad what varies "
                    "to one shape"
                )


def _rows(shape: Sequence[int]) -> str:
    return f"[{', '.join(('m', *map(str, shape)))}]"


def _structure(spec: Any) -> str:
    """A structure of outputs in one line, with `...` for every tensor."""
    return repr(pytree.tree_unflatten([...] * spec.num_leaves, spec)).replace("Ellipsis", "...")


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
        event_dim: int,
        vectorized: bool,
        chunk_size: int | None,
        seed: int | Tensor | None,
    ):
        self.f = f
        self.distribution = distribution
        self.num_samples = num_samples
        self.sampler = sampler
        self.antithetic = antithetic
        self.covariate = covariate
        self.event_dim = event_dim
        self.vectorized = vectorized
        self.chunk_size = chunk_size
        self.seed = seed
        self._estimator: Estimator = estimator(covariate, sampler, antithetic, num_samples)
        functools.update_wrapper(self, f, updated=())

    def __repr__(self) -> str:
        name = getattr(self.f, "__qualname__", repr(self.f))
        return (
            f"smooth({name}, {self.distribution!r}, num_samples={self.num_samples}, "
            f"sampler={self.sampler!r}, covariate={self.covariate!r})"
        )

    def __call__(self, x: Tensor, *args: Any) -> Any:
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
        noise = _Noise(
            self.distribution,
            seed_tensor(self.seed, x.device),
            self.sampler.directions(n, x.device),
            self.sampler.name,
            self.antithetic,
            self.num_samples,
            n,
        )
        wanted = torch.is_grad_enabled() and (rows.requires_grad or scale.requires_grad)
        moment = "none"
        if wanted and scale.requires_grad:
            moment = "diagonal" if scale.ndim == 2 else "outer"
        evaluation = _Evaluation(self, event, args, x)
        value = evaluation.run(rows, scale, noise, moment, wanted)
        return evaluation.outputs.unpack(value, batch)

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


class _Sums:
    """What is kept of the samples of all chunks."""

    def __init__(
        self,
        noise: _Noise,
        elements: int,
        columns: int,
        unperturbed: Tensor | None,  # [B, M], f(x) if it is the baseline
        pair_weight: float,
        moment: str,
        wanted: bool,
        like: Tensor,
    ):
        n = noise.n
        parameters = {"none": 0, "diagonal": n, "outer": n * n}[moment]
        self.noise = noise
        self.pair_weight = pair_weight
        self.moment = moment
        self.unperturbed = unperturbed
        # Between the passes the smaller one is kept: all outputs, or the accumulated Jacobian.
        self.kept = wanted and noise.num_samples <= n + parameters
        self.accumulated = wanted and not self.kept
        self.total = like.new_zeros(elements, columns)
        # Subtracted from f before it is multiplied with the weights, so that their products do not
        # cancel: f(x), or an element's first output.
        self.pivot = like.new_zeros(elements, columns) if unperturbed is None else unperturbed
        self.values: list[Tensor] = []
        if self.accumulated:
            self.scores = like.new_zeros(elements, columns + 1, n)
            self.moments = like.new_zeros(elements, columns + 1, parameters)

    def add(self, chunk: Tensor, start: int, stop: int) -> None:
        """Takes f's outputs [rows, M] for the rows [start, stop)."""
        s = self.noise.num_samples
        first, last = start // s, -(-stop // s)
        self.total[first:last] += _sum_by_element(chunk, start, stop, s)
        chunk = chunk.detach()
        if self.kept:
            self.values.append(chunk)
        if not self.accumulated or start == stop:
            return
        fresh = -(-start // s)  # the first element that begins in this chunk
        if self.unperturbed is None and fresh < last:
            self.pivot[fresh:last] = chunk[fresh * s - start :: s]
        scores, moments = self.noise.reduce(
            chunk.contiguous(), self.pivot, self.pair_weight, self.moment, start, stop
        )
        self.scores[first:last] += scores
        self.moments[first:last] += moments

    def payload(self, center: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """What `_ScoreGradient` takes; `center` [B, M] is the baseline."""
        if self.kept:
            return torch.cat(self.values), center
        if not self.accumulated:
            # No pass will ask; Dynamo takes no tensor twice.
            return center, center.new_empty(0)
        shift = (self.pivot - center).unsqueeze(-1)
        scores, moments = (
            factor * (sums[:, :-1] + shift * sums[:, -1:]) for sums in (self.scores, self.moments)
        )
        return scores, moments


class _Evaluation:
    """One call of a smoothed function."""

    outputs: _Outputs  # known after the first call of f

    def __init__(
        self, smoothed: Smoothed, event: tuple[int, ...], args: tuple[Any, ...], x: Tensor
    ):
        self.smoothed = smoothed
        self.event = event
        self.args = args
        self.dtype = x.dtype
        self.device = x.device
        self.calls = 0

    def run(
        self,
        x: Tensor,  # [B, n]
        scale: Tensor,
        noise: _Noise,
        moment: str,
        wanted: bool,
    ) -> Tensor:  # [B, M]
        baseline, factor, pair_weight = self.smoothed._estimator
        elements, n, s = x.shape[0], noise.n, noise.num_samples
        unperturbed = None
        if baseline == "fx":
            unperturbed = self._unperturbed(x.detach())
        sums = None
        start, total = 0, elements * s
        while start < total or sums is None:
            stop = min(start + self._chunk_rows(n, total), total)
            points = noise.perturb(x.detach(), scale.detach(), start, stop)
            chunk = self._call(points, torch.arange(start, stop, device=x.device) // s)
            if sums is None:
                sums = _Sums(
                    noise,
                    elements,
                    chunk.shape[1],
                    unperturbed,
                    pair_weight,
                    moment,
                    wanted,
                    chunk.detach(),
                )
            sums.add(chunk, start, stop)
            start = stop

        # Whatever f makes of it: NaN for the value and the gradient of an example with NaN or inf.
        finite = x.detach().isfinite().all(1, keepdim=True)
        bad = torch.where(finite, 0.0, torch.nan).to(sums.total.dtype)
        mean = sums.total / s + bad
        if baseline == "mean":
            center = mean.detach()
        else:
            center = bad.expand_as(mean) if unperturbed is None else unperturbed + bad
        payload = sums.payload(center, factor)
        # Also without a reverse pass: forward mode is to find a function here and refuse it, not to
        # find nothing and call that zero.
        return _ScoreGradient.apply(
            mean, x, scale, *payload, noise, (factor, pair_weight, moment, sums.kept)
        )

    def _unperturbed(self, x: Tensor) -> Tensor:  # [B, n] -> [B, M]
        elements, n = x.shape
        rows: list[Tensor] = []
        start = 0
        while start < elements or not rows:
            stop = min(start + self._chunk_rows(n, elements), elements)
            element = torch.arange(start, stop, device=x.device)
            rows.append(self._call(x[start:stop], element).detach())
            start = stop
        return torch.cat(rows)

    def _chunk_rows(self, n: int, total: int) -> int:
        if self.smoothed.chunk_size is not None:
            return self.smoothed.chunk_size
        if isinstance(total, torch.SymInt):  # exported for any number of examples: one chunk
            return total
        if not self.calls:
            return min(_PROBE_ROWS, max(total, 1))
        row = self.outputs.dtype.itemsize * (n + sum(self.outputs.sizes))
        return max(1, _CHUNK_BYTES // (_COPIES * row))

    def _call(self, points: Tensor, element: Tensor) -> Tensor:
        """f's outputs [rows, M] at points [rows, n], which belong to these batch elements."""
        count = points.shape[0]
        inputs = points.reshape(count, *self.event).to(self.dtype)
        args = [
            arg.index_select(0, element) if isinstance(arg, Tensor) else arg for arg in self.args
        ]
        call = f"a chunk of {count} perturbed points"
        if torch.compiler.is_compiling():
            result = self._evaluate(inputs, args)
        else:
            try:
                result = self._evaluate(inputs, args)
            except Exception as error:
                if hasattr(error, "add_note"):  # Python 3.11
                    error.add_note(f"raised by f, called by torchsmooth.smooth with {call}")
                raise
        leaves, spec = pytree.tree_flatten(result)
        leaves = [self._as_rows(leaf, count) for leaf in leaves]
        if not leaves:
            raise TypeError(
                f"f must return a tensor or a structure of tensors, got {result!r}; return one "
                "tensor at least"
            )
        if self.calls:
            self.outputs.check(leaves, spec, call)
        else:
            self.outputs = _Outputs(leaves, spec, self.dtype)
        self.calls += 1
        return self.outputs.pack(leaves)

    def _evaluate(self, inputs: Tensor, args: list[Any]) -> Any:
        if self.smoothed.vectorized:
            return self.smoothed.f(inputs, *args)
        results = []
        for i in range(inputs.shape[0]):
            own = [arg[i] if isinstance(arg, Tensor) else arg for arg in args]
            results.append(self.smoothed.f(inputs[i], *own))
        if not results:
            raise ValueError(
                "x must not be empty with vectorized=False, got no event: the shape of f's output "
                "is unknown; pass vectorized=True"
            )
        leaves, specs = zip(*map(pytree.tree_flatten, results), strict=True)
        spec = specs[0]
        for other_spec in specs:
            if other_spec != spec:
                raise ValueError(
                    f"f must return the same structure in every call, got {_structure(spec)} first "
                    f"and {_structure(other_spec)} later; return one structure for all points"
                )
        tensors = [[self._as_tensor(leaf) for leaf in row] for row in leaves]
        for other in tensors:
            for leaf, model in zip(other, tensors[0], strict=True):
                if leaf.shape != model.shape:
                    raise ValueError(
                        "f must return the same shape in every call, got "
                        f"{list(model.shape)} first and {list(leaf.shape)} later; pad what varies "
                        "to one shape"
                    )
        return pytree.tree_unflatten(
            [torch.stack(column) for column in zip(*tensors, strict=True)], spec
        )

    def _as_tensor(self, leaf: Any) -> Tensor:
        if not isinstance(leaf, Tensor):
            try:
                leaf = torch.as_tensor(leaf, device=self.device)
            except (TypeError, ValueError, RuntimeError) as error:
                raise TypeError(
                    "f must return tensors, NumPy arrays or numbers, or a structure of them, got "
                    f"{type(leaf).__name__}; convert it, or leave it out"
                ) from error
        if leaf.device != self.device:
            raise ValueError(
                f"f must return tensors on the device of x, {self.device}, got {leaf.device}; move "
                "them with .to(x.device)"
            )
        if leaf.is_complex():
            raise TypeError(
                f"f must return real numbers, got {leaf.dtype}; return torch.view_as_real of it"
            )
        return leaf

    def _as_rows(self, leaf: Any, count: int) -> Tensor:
        leaf = self._as_tensor(leaf)
        if leaf.ndim == 0 or leaf.shape[0] != count:
            raise ValueError(
                f"f must map [m, *event] to [m, *out], here {[count, *self.event]} to [{count}, "
                f"...], got an output of shape {list(leaf.shape)}; pass vectorized=False if f "
                "takes one event at a time"
            )
        return leaf


def _sum_by_element(chunk: Tensor, start: int, stop: int, s: int) -> Tensor:
    """Sums over the rows [start, stop) of each of the elements that they belong to."""
    columns = chunk.shape[1]
    head = min(-start % s, stop - start)  # rows of an element that began before
    whole = (stop - start - head) // s
    parts = []
    if head:
        parts.append(chunk[:head].sum(0, keepdim=True))
    if whole:
        parts.append(chunk[head : head + whole * s].reshape(whole, s, columns).sum(1))
    if head + whole * s < stop - start:
        parts.append(chunk[head + whole * s :].sum(0, keepdim=True))
    return torch.cat(parts) if parts else chunk.new_zeros(0, columns)


def smooth(
    f: Callable[..., Any] | None = None,
    distribution: AbstractDistribution = Logistic(),
    *,
    num_samples: int = 1024,
    sampler: str | AbstractSampler = "sobol",
    antithetic: bool = False,
    covariate: str = "loo",
    event_dim: int = 1,
    vectorized: bool = True,
    chunk_size: int | None = None,
    seed: int | Tensor | None = None,
) -> Any:
    """Replaces a function that has no useful gradient by its smoothed twin, which has one.

    Returns a callable `g(x, *args)` that estimates f_eps(x) = E[f(x + L eps)] and, from the same
    samples, its gradients in `x`, in `distribution.scale` and in `distribution.scale_matrix`
    (arXiv 2410.08125, lemmas 3 and 6, theorem 7, with the corrections that the documentation
    lists). f is called exactly once per sample, and never in the backward pass. Also a decorator,
    with and without arguments.

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
    - `event_dim`: how many trailing dimensions of `x` are perturbed jointly; the others are batch.
    - `vectorized`: False if f takes one [*event] at a time. It may then return a number.
    - `chunk_size`: perturbed points per call of f; None for as many as keep a chunk's tensors near
        64 MiB. It changes the peak memory, never the result.
    - `seed`: an int or an int64 tensor of one element; None draws one from torch's generator in
        each call. The same seed gives the same uniform numbers on every device, for any number of
        threads and any chunk size.

    **Returns:** a callable from [*batch, *event] to [*batch, *out]. Tensors among its `args` must
    start with the batch dimensions; they are expanded over the samples, passed to f, and get their
    ordinary gradient where f is differentiable in them. Other arguments are passed as they are.

    **Raises:** TypeError or ValueError if an argument is not what is said above, or if f's output
    is not; what f itself raises is passed on.

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
        event_dim=check_int(event_dim, "event_dim", 0, 1),
        vectorized=check_bool(vectorized, "vectorized"),
        chunk_size=None if chunk_size is None else check_int(chunk_size, "chunk_size", 1, 256),
        seed=seed,
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
