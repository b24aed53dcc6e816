"""The ops of the renderer."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import _reference
from .autograd import NoVmap, below_autograd, first_order, in_plain_eager
from .library import ops, register_twin


# The CPU accumulates Jacobians of so many numbers, of images with so many rows, see _in_one_pass.
ONE_PASS = 2**23
ONE_PASS_SIZE = 256


@torch.library.register_fake("torchsmooth::hard_render")
def _(pose, vertices, faces, size, output):
    return pose.new_empty((pose.shape[0], size, size))


@torch.library.register_fake("torchsmooth::render")
def _(
    x,
    vertices,
    faces,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    size,
    output,
    baseline,
    factor,
    pair_weight,
    jacobian,
):
    shape = (x.shape[0], size, size)
    absent, full = (0,), (*shape, x.shape[1])
    return (
        x.new_empty(shape),
        x.new_empty(absent if jacobian == "none" else full),
        x.new_empty(full if jacobian == "x_and_scale" else absent),
    )


@torch.library.register_fake("torchsmooth::render_backward")
def _(
    grad,
    baseline,
    x,
    vertices,
    faces,
    scale,
    seed,
    directions,
    law,
    sampler,
    antithetic,
    num_samples,
    size,
    output,
    factor,
    pair_weight,
    scale_gradient,
):
    return torch.empty_like(x), x.new_empty((x.shape[0], x.shape[1] if scale_gradient else 0))


for _name in ("hard_render", "render", "render_backward"):
    register_twin(_name, getattr(_reference, _name))


class RenderOptions(NamedTuple):
    """The arguments of the ops that are not tensors, in the order of their schemas."""

    law: str
    sampler: str
    antithetic: bool
    num_samples: int
    size: int
    output: str
    baseline: str
    factor: float
    pair_weight: float


def _contract(grad: Tensor, jacobian: Tensor) -> Tensor:  # [B, N, N], [B, N, N, 4] -> [B, 4]
    return torch.bmm(grad.flatten(1).unsqueeze(1), jacobian.flatten(1, 2)).squeeze(1)


class _Render(NoVmap):
    """The mean image of perturbed poses, with gradients in `x` and `scale`."""

    @staticmethod
    def forward(
        x: Tensor,  # [B, 4]
        vertices: Tensor,  # [V, 3]
        faces: Tensor,  # [F, 3]
        scale: Tensor,  # [1 or B, 1 or 4]
        seed: Tensor,
        directions: Tensor,
        options: RenderOptions,
        jacobian: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        tensors = x, vertices, faces, scale, seed, directions
        return below_autograd(ops.render.default, *tensors, *options, jacobian)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.options, ctx.jacobian = inputs
        mean, *jacobians = output
        ctx.mark_non_differentiable(*jacobians)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, mean, *jacobians)

    @staticmethod
    @first_order
    def backward(ctx, grad, *_):
        if grad is None:
            return None, None, None, None, None, None, None, None
        *tensors, mean, jacobian_x, jacobian_scale = ctx.saved_tensors
        x, vertices, faces, scale, _, _ = tensors
        *noise_and_view, baseline, factor, pair_weight = ctx.options
        grad = grad.contiguous()
        needs_scale = ctx.needs_input_grad[3]
        grad_scale = None
        if ctx.jacobian != "none":
            grad_x = _contract(grad, jacobian_x)
            if needs_scale:
                grad_scale = _contract(grad, jacobian_scale)
        else:
            if baseline == "none":
                center = grad.new_zeros(grad.shape[0])
            else:
                if baseline == "fx":
                    mean = hard_render(x, vertices, faces, ctx.options.size, ctx.options.output)
                center = (grad * mean).flatten(1).sum(1)
            grad_x, grad_scale = below_autograd(
                ops.render_backward.default,
                grad,
                center,
                *tensors,
                *noise_and_view,
                factor,
                pair_weight,
                needs_scale,
            )
        if needs_scale:
            grad_scale = grad_scale.sum_to_size(scale.shape)
        return grad_x, None, None, grad_scale if needs_scale else None, None, None, None, None


class _EagerRender(_Render):
    """The same for plain eager mode, where derivatives need not be outputs."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx,
        x: Tensor,
        vertices: Tensor,
        faces: Tensor,
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        options: RenderOptions,
        jacobian: str,
    ) -> Tensor:
        tensors = x, vertices, faces, scale, seed, directions
        output = _Render.forward(*tensors, options, jacobian)
        ctx.options, ctx.jacobian = options, jacobian
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output)
        return output[0]

    setup_context = torch.autograd.Function.setup_context


def hard_render(
    pose: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    size: int,
    output: str,
) -> Tensor:  # [B, size, size]
    """The op `hard_render`."""
    return below_autograd(ops.hard_render.default, pose.detach(), vertices, faces, size, output)


def _in_one_pass(elements: int, size: int, jacobian: str) -> bool:
    """Whether the CPU should accumulate the Jacobian while it renders.

    That adds 5 to 30 % to the time of the forward pass, where rendering the samples again doubles
    it. Of larger images the sums leave the cache, and so few tasks can have sums of their own that
    threads would have no work. Memory does not grow with the number of samples: it is 32 MB for the
    sums of all tasks, or one image's for each thread, and as much for the Jacobian in float32.
    """
    columns = 8 if jacobian == "x_and_scale" else 4
    return size <= ONE_PASS_SIZE and elements * columns * size**2 <= ONE_PASS


def render(
    x: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    scale: Tensor,  # [1 or B, 1 or 4]
    seed: Tensor,
    directions: Tensor,
    options: RenderOptions,
) -> Tensor:  # [B, size, size]
    """The op `render` with its gradient."""
    wanted = torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad)
    jacobian = "x_and_scale" if scale.requires_grad else "x"
    on_cpu = x.device.type == "cpu"
    if not (wanted and on_cpu and _in_one_pass(x.shape[0], options.size, jacobian)):
        jacobian = "none"
    arguments = x, vertices, faces, scale, seed, directions, options, jacobian
    if in_plain_eager():
        return _EagerRender.apply(*arguments)
    return _Render.apply(*arguments)[0]
