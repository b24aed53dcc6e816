"""The ops of the renderer."""

from typing import Any, NamedTuple

from torch import Tensor

from .._typing import Jacobian
from . import reference
from .fused_op import Drawing, Estimator, empty_gradients, empty_means
from .interrupts import interruptible
from .library import ops, register_fake, register_twin


# The CPU accumulates Jacobians of so many numbers, of images with so many rows, see in_one_pass.
ONE_PASS = 2**23
ONE_PASS_SIZE = 256


@register_fake("hard_render")
def _(pose: Tensor, vertices: Tensor, faces: Tensor, size: int, output: str) -> Tensor:
    return pose.new_empty((pose.shape[0], size, size))


@register_fake("render")
def _(x: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, size, _, _, _, _, jacobian = options
    return empty_means(x, (size, size), jacobian)


@register_fake("render_backward")
def _(grad: Tensor, center: Tensor, x: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    return empty_gradients(x, scale_gradient=options[-1])


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

    def in_one_pass(self, x: Tensor, jacobian: Jacobian) -> bool:
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

    def mean(self, jacobian: Jacobian, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        options = *self.drawing, *self.view, *self.estimator
        means: tuple[Tensor, Tensor, Tensor]
        means = interruptible(ops.render.default, *_in_order(*tensors), *options, jacobian)
        return means

    def gradients(
        self, needs_scale: bool, grad: Tensor, center: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        _, *weights = self.estimator
        options = *self.drawing, *self.view, *weights
        gradients: tuple[Tensor, Tensor]
        gradients = interruptible(
            ops.render_backward.default,
            grad,
            center,
            *_in_order(*tensors),
            *options,
            needs_scale,
        )
        return gradients

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        vertices, faces = extras
        return hard_render(x, vertices, faces, *self.view)


def _in_order(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors of a fused op, in the order of the schemas: vertices and faces come second."""
    scale, seed, directions, *mesh = tensors
    return x, *mesh, scale, seed, directions


def hard_render(
    pose: Tensor,  # [B, 4]
    vertices: Tensor,  # [V, 3]
    faces: Tensor,  # [F, 3]
    size: int,
    output: str,
) -> Tensor:  # [B, size, size]
    """The op `hard_render`."""
    images: Tensor
    images = interruptible(ops.hard_render.default, pose.detach(), vertices, faces, size, output)
    return images
