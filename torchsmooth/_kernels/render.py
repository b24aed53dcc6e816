"""The ops of the renderer."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import reference
from .fused_op import Drawing, Estimator
from .interrupts import interruptible
from .library import ops, register_twin


# The CPU accumulates Jacobians of so many numbers, of images with so many rows, see in_one_pass.
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
    register_twin(_name, getattr(reference, _name))


class View(NamedTuple):
    """The image that is wanted: `size` x `size` pixels of "silhouette", "depth" or "lambert"."""

    size: int
    output: str


class RenderOp(NamedTuple):
    """The op `render`."""

    drawing: Drawing
    view: View
    estimator: Estimator

    def in_one_pass(self, x: Tensor, jacobian: str) -> bool:
        """It is where that adds 5 to 30 % to the time of the forward pass: rendering the samples
        again doubles it.

        Of larger images the sums leave the cache, and so few tasks can have sums of their own that
        threads would have no work. Memory does not grow with the number of samples: it is 32 MB for
        the sums of all tasks, or one image's for each thread, and as much for the Jacobian in
        float32.
        """
        columns = 8 if jacobian == "x_and_scale" else 4
        numbers = x.shape[0] * columns * self.view.size**2
        return self.view.size <= ONE_PASS_SIZE and numbers <= ONE_PASS

    def mean(
        self,
        jacobian: str,
        x: Tensor,  # [B, 4]
        scale: Tensor,
        seed: Tensor,
        directions: Tensor,
        *extras: Tensor,  # vertices and faces
    ) -> tuple[Tensor, Tensor, Tensor]:
        tensors = x, *extras, scale, seed, directions
        options = *self.drawing, *self.view, *self.estimator
        return interruptible(ops.render.default, *tensors, *options, jacobian)

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
        return interruptible(
            ops.render_backward.default,
            grad,
            center,
            x,
            *extras,
            scale,
            seed,
            directions,
            *self.drawing,
            *self.view,
            self.estimator.factor,
            self.estimator.pair_weight,
            needs_scale,
        )

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        vertices, faces = extras
        return hard_render(x, vertices, faces, *self.view)


def hard_render(
    pose: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    size: int,
    output: str,
) -> Tensor:  # [B, size, size]
    """The op `hard_render`."""
    return interruptible(ops.hard_render.default, pose.detach(), vertices, faces, size, output)
