"""Fused ops: they draw noise, evaluate an algorithm, and average, without storing the samples."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .._typing import Baseline, Jacobian


class Drawing(NamedTuple):
    """How the noise is drawn, in the order of the ops' schemas."""

    law: str
    sampler: str
    antithetic: bool
    num_samples: int


class Estimator(NamedTuple):
    """The gradient is `factor * sum_i (f_i - baseline) * weight_i`.

    `baseline` is "none" (0), "fx" (the unperturbed value) or "mean" (that of all samples). With h
    the score of a sample and h' that of its mirror image, its weight is
    `h + pair_weight * (h + h')`. For a statistic of k samples at a time, f_i is k times the mean
    over the subsets that contain sample i, and the baseline counts k times.
    """

    baseline: Baseline
    factor: float
    pair_weight: float


class FusedOp(Protocol):
    """A fused op with its options: a named tuple of numbers and strings.

    Autograd functions take it as one argument: `apply` looks at every parameter in every call.
    `tensors` are x [B, *event], scale [1 or B, 1 or n], seed, directions, and those that are not
    perturbed, if the op has any.
    """

    @property
    def drawing(self) -> Drawing: ...
    @property
    def estimator(self) -> Estimator: ...

    def in_one_pass(self, x: Tensor, jacobian: Jacobian) -> bool:
        """Whether the CPU should accumulate this Jacobian with the mean."""

    def mean(self, jacobian: Jacobian, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean outcome [B, *m]; its Jacobians in x and in the scale, [B, *m, n] or [B, 0]."""

    def gradients(
        self, needs_scale: bool, grad: Tensor, center: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradients in x [B, *event] and in each element's scales [B, n or 0]."""

    def hard(self, x: Tensor, *extras: Tensor) -> Tensor:
        """The outcome without noise, for x [R, *event]."""


def empty_means(
    x: Tensor, outcome: Sequence[int], jacobian: Jacobian
) -> tuple[Tensor, Tensor, Tensor]:
    """The results of a fused op with Jacobians, without numbers, for its fake kernel."""
    shape = (x.shape[0], *outcome)
    absent, full = (0,), (*shape, x.shape[1])
    return (
        x.new_empty(shape),
        x.new_empty(absent if jacobian == "none" else full),
        x.new_empty(full if jacobian == "x_and_scale" else absent),
    )


def empty_gradients(x: Tensor, scale_gradient: bool) -> tuple[Tensor, Tensor]:
    """The same for its backward op."""
    n = math.prod(x.shape[1:]) if scale_gradient else 0
    return torch.empty_like(x), x.new_empty((x.shape[0], n))


def no_jacobians(mean: Tensor) -> tuple[Tensor, Tensor]:
    """Empty tensors in place of Jacobians that were not accumulated."""
    return mean.new_empty(mean.shape[0], 0), mean.new_empty(mean.shape[0], 0)
