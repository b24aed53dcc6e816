"""The compiled ops: loading, fake kernels, fallbacks, and an autograd function for each.

`_C` registers the schemas and the CPU kernels, `_C_cuda` the CUDA kernels. On a device that has no
kernel the plain PyTorch twin of the op runs instead.
"""

import functools
import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from . import _reference
from .hard import sort_outcome


# The CPU accumulates the Jacobian while it sorts up to so many elements, see _in_one_pass.
ONE_PASS_MATRIX = 128
ONE_PASS_VECTOR = 32

# Every op of csrc/ops.cpp.
NAMES = ("words", "perturb", "reduce", "sort", "sort_backward", "evaluate_law")


def _load() -> None:
    folder = Path(__file__).parent
    library = folder / "_C.so"
    if not library.exists():
        raise ImportError(
            f"torchsmooth is not built: {library} is missing. Build it with 'pip install .', or in "
            "place, to work on the sources, with 'python setup.py build_ext --inplace'"
        )
    torch.ops.load_library(str(library))
    cuda = folder / "_C_cuda.so"
    if torch.version.cuda is not None and cuda.exists():
        torch.ops.load_library(str(cuda))


_load()
_ops = torch.ops.torchsmooth


def _touched(start: int, stop: int, num_samples: int) -> int:
    """How many batch elements the rows [start, stop) belong to."""
    return (stop - 1) // num_samples - start // num_samples + 1 if stop > start else 0


@torch.library.register_fake("torchsmooth::words")
def _(seed, directions, sampler, antithetic, num_samples, n, start, stop):
    return seed.new_empty((stop - start, n))


@torch.library.register_fake("torchsmooth::perturb")
def _(x, scale, seed, directions, law, sampler, antithetic, num_samples, start, stop):
    return x.new_empty((stop - start, x.shape[1]))


@torch.library.register_fake("torchsmooth::reduce")
def _(
    values,
    pivot,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    n,
    pair_weight,
    moment,
    start,
    stop,
):
    rows = (_touched(start, stop, num_samples), values.shape[1] + 1)
    moments = {"none": 0, "diagonal": n, "outer": n * n}[moment]
    return values.new_empty((*rows, n)), values.new_empty((*rows, moments))


def _outcome_shape(x: Tensor, output: str, first: int, last: int) -> tuple[int, ...]:
    elements, n = x.shape
    return (elements, last - first, n) if output == "matrix" else (elements, last - first)


@torch.library.register_fake("torchsmooth::sort")
def _(
    x,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    descending,
    output,
    first,
    last,
    baseline,
    factor,
    pair_weight,
    jacobian,
):
    shape = _outcome_shape(x, output, first, last)
    absent, full = (0,), (*shape, x.shape[1])
    return (
        x.new_empty(shape),
        x.new_empty(absent if jacobian == "none" else full),
        x.new_empty(full if jacobian == "x_and_scale" else absent),
    )


@torch.library.register_fake("torchsmooth::sort_backward")
def _(
    grad,
    baseline,
    x,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    descending,
    output,
    first,
    last,
    factor,
    pair_weight,
    scale_gradient,
):
    elements, n = x.shape
    return x.new_empty((elements, n)), x.new_empty((elements, n if scale_gradient else 0))


@torch.library.register_fake("torchsmooth::evaluate_law")
def _(x, law, function):
    return torch.empty_like(x)


def _refuse_gradient(name: str):
    def backward(ctx, *grads):
        raise RuntimeError(
            f"torch.ops.torchsmooth.{name} is a building block without a gradient: call the "
            "functions of torchsmooth instead"
        )

    return backward


def _refuse_vmap(*_: object) -> NoReturn:
    raise NotImplementedError(
        "torch.vmap does not reach into torchsmooth: give the mapped dimension to the function as "
        "a batch dimension instead"
    )


class NoVmap(torch.autograd.Function):
    """An autograd function that says what to do instead of vmap."""

    def __init_subclass__(cls) -> None:
        # `apply` binds its arguments to the signature in every call; working that out takes longer
        # than the rest of it.
        super().__init_subclass__()
        forward: Any = cls.forward
        forward.__signature__ = inspect.signature(forward)

    @staticmethod
    def vmap(info: object, in_dims: object, *args: object) -> NoReturn:
        _refuse_vmap()


for _name in NAMES:
    torch.library.impl(f"torchsmooth::{_name}", "CompositeExplicitAutograd")(
        getattr(_reference, _name)
    )
    torch.library.register_autograd(f"torchsmooth::{_name}", _refuse_gradient(_name))
    torch.library.register_vmap(f"torchsmooth::{_name}", _refuse_vmap)


def _below_autograd(op: Any, *args: Any) -> Any:
    """Calls an op from an autograd function, without the Python kernel that refuses gradients."""
    if torch.compiler.is_compiling():
        return op(*args)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*args)


class _FirstDerivatives(torch.autograd.Function):
    """The identity in the first `count` tensors, which depend on the others: do not ask how."""

    generate_vmap_rule = True

    @staticmethod
    def forward(count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors[:count]

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:
        pass

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> NoReturn:
        raise RuntimeError(
            "a second derivative was asked for, but torchsmooth estimates first derivatives only; "
            "take differences of gradients with the same seed instead"
        )


def first_order(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., object]:
    """Makes second derivatives raise, for a `backward` that saves all that it depends on.

    `once_differentiable` would cut the gradients off the inputs: nested transforms and
    `torch.autograd.functional` would find no path between them and call the derivative zero.
    """

    @functools.wraps(backward)
    def wrapper(ctx, *grads):
        with torch.no_grad():
            gradients = backward(ctx, *grads)
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return gradients
        # What is passed on as it came stays differentiable.
        made = [t is not None and all(t is not grad for grad in grads) for t in gradients]
        tensors = list(itertools.compress(gradients, made))
        sources = [t for t in (*ctx.saved_tensors, *grads) if t is not None and t.requires_grad]
        if not tensors or not sources:
            return gradients
        tied = iter(_FirstDerivatives.apply(len(tensors), *tensors, *sources))
        return tuple(next(tied) if m else t for t, m in zip(gradients, made, strict=True))

    return wrapper


class SortOptions(NamedTuple):
    """The arguments of the sorting ops that are not tensors, in the order of their schemas.

    Autograd functions take them as one argument: `apply` looks at every parameter in every call.
    """

    law: str
    sampler: str
    antithetic: bool
    num_samples: int
    descending: bool
    output: str
    first: int
    last: int
    baseline: str
    factor: float
    pair_weight: float


def _contract(grad: Tensor, jacobian: Tensor) -> Tensor:  # [B, *m], [B, *m, n] -> [B, n]
    return torch.bmm(grad.flatten(1).unsqueeze(1), jacobian.flatten(1, -2)).squeeze(1)


class _Sort(NoVmap):
    """The mean outcome of sorting rows, with gradients in `x` and `scale`."""

    @staticmethod
    def forward(
        x: Tensor,  # [B, n]
        scale: Tensor,  # [1 or B, 1 or n]
        seed: Tensor,
        directions: Tensor,
        options: SortOptions,
        jacobian: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _below_autograd(_ops.sort.default, x, scale, seed, directions, *options, jacobian)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, scale, seed, directions, ctx.options, ctx.jacobian = inputs
        mean, *jacobians = output
        ctx.mark_non_differentiable(*jacobians)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, seed, directions, mean, *jacobians)

    @staticmethod
    @first_order
    def backward(ctx, grad, *_):
        if grad is None:
            return None, None, None, None, None, None
        x, scale, seed, directions, mean, jacobian_x, jacobian_scale = ctx.saved_tensors
        *noise_and_sorting, baseline, factor, pair_weight = ctx.options
        grad = grad.contiguous()
        needs_scale = ctx.needs_input_grad[1]
        grad_scale = None
        if ctx.jacobian != "none":
            grad_x = _contract(grad, jacobian_x)
            if needs_scale:
                grad_scale = _contract(grad, jacobian_scale)
        else:
            if baseline == "none":
                center = grad.new_zeros(grad.shape[0])
            else:
                _, _, _, _, *sorting = noise_and_sorting
                base = mean if baseline == "mean" else sort_outcome(x, *sorting)
                center = (grad * base).flatten(1).sum(1)
            grad_x, grad_scale = _below_autograd(
                _ops.sort_backward.default,
                grad,
                center,
                x,
                scale,
                seed,
                directions,
                *noise_and_sorting,
                factor,
                pair_weight,
                needs_scale,
            )
        if needs_scale:
            grad_scale = grad_scale.sum_to_size(scale.shape)
        return grad_x, grad_scale if needs_scale else None, None, None, None, None


def _in_one_pass(n: int, options: SortOptions) -> bool:
    """Whether the CPU should accumulate the Jacobian while it sorts.

    It should where the additions of a sample cost less than drawing and sorting it again, and where
    the sums stay in the cache.
    """
    if options.output != "matrix":
        return n <= ONE_PASS_VECTOR
    positions = options.last - options.first
    vectors = -(-(n + 1) // 8)  # of a register's width, in a row of the table
    return n <= ONE_PASS_MATRIX and positions * vectors <= 3 * n


def sort(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n]
    seed: Tensor,
    directions: Tensor,
    options: SortOptions,
) -> Tensor:  # [B, *outcome]
    """The op `sort` with its gradient."""
    wanted = torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad)
    if wanted and x.device.type == "cpu" and _in_one_pass(x.shape[1], options):
        jacobian = "x_and_scale" if scale.requires_grad else "x"
    else:
        jacobian = "none"
    return _Sort.apply(x, scale, seed, directions, options, jacobian)[0]
