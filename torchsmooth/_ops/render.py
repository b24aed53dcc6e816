"""The ops of the renderer."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import _reference
from .autograd import NoVmap, below_autograd, first_order
from .library import ops, register_twin


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
):
    return x.new_empty((x.shape[0], size, size))


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
    """The arguments of the rendering ops that are not tensors, in the order of their schemas."""

    law: str
    sampler: str
    antithetic: bool
    num_samples: int
    size: int
    output: str
    baseline: str
    factor: float
    pair_weight: float


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
    ) -> Tensor:  # [B, size, size]
        *noise_and_image, _, _, _ = options
        return below_autograd(
            ops.render.default, x, vertices, faces, scale, seed, directions, *noise_and_image
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.options = inputs
        ctx.save_for_backward(*tensors, output)

    @staticmethod
    @first_order
    def backward(ctx, grad):
        x, vertices, faces, scale, seed, directions, mean = ctx.saved_tensors
        *noise_and_image, baseline, factor, pair_weight = ctx.options
        grad = grad.contiguous()
        needs_scale = ctx.needs_input_grad[3]
        if baseline == "none":
            center = grad.new_zeros(grad.shape[0])
        else:
            base = mean
            if baseline == "fx":
                size, output = ctx.options.size, ctx.options.output
                base = below_autograd(ops.hard_render.default, x, vertices, faces, size, output)
            center = (grad * base).flatten(1).sum(1)
        grad_x, grad_scale = below_autograd(
            ops.render_backward.default,
            grad,
            center,
            x,
            vertices,
            faces,
            scale,
            seed,
            directions,
            *noise_and_image,
            factor,
            pair_weight,
            needs_scale,
        )
        in_scale = grad_scale.sum_to_size(scale.shape) if needs_scale else None
        return grad_x, None, None, in_scale, None, None, None


def hard_render(
    pose: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    size: int,
    output: str,
) -> Tensor:  # [B, size, size]
    """The op of the same name, which has no gradient."""
    return ops.hard_render.default(pose.detach(), vertices, faces, size, output)


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
    return _Render.apply(x, vertices, faces, scale, seed, directions, options)
