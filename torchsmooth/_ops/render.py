"""The ops of the renderer."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import _reference
from .autograd import below_autograd
from .fused import fused_mean, no_jacobians
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

    def in_one_pass(self, x: Tensor) -> bool:
        return False

    def mean(
        self,
        jacobian: str,
        x: Tensor,  # [B, 4]
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        *extras: Tensor,  # vertices and faces
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = below_autograd(
            ops.render.default,
            x,
            *extras,
            scale,
            seed,
            directions,
            *self.of_noise(),
            self.size,
            self.output,
        )
        return mean, *no_jacobians(mean)

    def gradients(
        self,
        needs_scale: bool,
        grad: Tensor,
        center: Tensor,
        x: Tensor,
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        *extras: Tensor,
    ) -> tuple[Tensor, Tensor]:
        return below_autograd(
            ops.render_backward.default,
            grad,
            center,
            x,
            *extras,
            scale,
            seed,
            directions,
            *self.of_noise(),
            self.size,
            self.output,
            self.factor,
            self.pair_weight,
            needs_scale,
        )

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        vertices, faces = extras
        return hard_render(x, vertices, faces, self.size, self.output)


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
    drawn: bool,
) -> Tensor:  # [B, size, size]
    """The op `render` with its derivatives."""
    return fused_mean(options, x, scale, seed, directions, vertices, faces, drawn=drawn)
