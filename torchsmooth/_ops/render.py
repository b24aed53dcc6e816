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
    """The arguments of the ops that are not tensors, and how gradients are estimated."""

    law: str
    sampler: str
    antithetic: bool
    num_samples: int
    size: int
    output: str
    baseline: str
    factor: float
    pair_weight: float

    def of_noise(self) -> tuple[str, str, bool, int]:
        return self.law, self.sampler, self.antithetic, self.num_samples


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
        return below_autograd(
            ops.render.default,
            x,
            vertices,
            faces,
            scale,
            seed,
            directions,
            *options.of_noise(),
            options.size,
            options.output,
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.options = inputs
        ctx.save_for_backward(*tensors, output)

    @staticmethod
    @first_order
    def backward(ctx, grad):
        x, vertices, faces, scale, seed, directions, mean = ctx.saved_tensors
        options = ctx.options
        grad = grad.contiguous()
        if options.baseline == "none":
            center = grad.new_zeros(grad.shape[0])
        else:
            if options.baseline == "fx":
                mean = hard_render(x, vertices, faces, options.size, options.output)
            center = (grad * mean).flatten(1).sum(1)
        needs_scale = ctx.needs_input_grad[3]
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
            *options.of_noise(),
            options.size,
            options.output,
            options.factor,
            options.pair_weight,
            needs_scale,
        )
        grad_scale = grad_scale.sum_to_size(scale.shape) if needs_scale else None
        return grad_x, None, None, grad_scale, None, None, None


def hard_render(
    pose: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    size: int,
    output: str,
) -> Tensor:  # [B, size, size]
    """The op `hard_render`."""
    return below_autograd(ops.hard_render.default, pose.detach(), vertices, faces, size, output)


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
