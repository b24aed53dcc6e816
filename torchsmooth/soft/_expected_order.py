"""Rows, the kernels, and laws without a kernel: shared by all operators that ask for an order."""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from .._autodiff.order_statistics import order_statistics
from .._checks import check_dim
from .._kernels.order_statistics import OrderOp
from .._kernels.reference.order_statistics import expected_largest, expected_matrix, expected_order
from .._kernels.sort import SortTask
from .._torch_internals import frames_of_the_package, values_are_readable
from .._typing import SortOutput
from ..distributions import AbstractDistribution
from ._operands import elementwise


# Nodes between two cuts for a law of torch.distributions: doubled until two results agree.
_FIRST_NODES = 8
_MOST_NODES = 128
_FIXED_NODES = 32  # where values cannot be looked at


class Rows(NamedTuple):
    """Noisy elements, the dimension that is sorted at the end."""

    x: Tensor  # [..., n], in the type to compute in
    scale: Tensor  # [1 or B, 1 or n], B: the batch, flattened
    law: AbstractDistribution  # of scale 1
    dim: int  # which dimension it was
    dtype: torch.dtype  # of the result

    @property
    def n(self) -> int:
        return self.x.shape[-1]

    @property
    def flat(self) -> Tensor:  # [B, n]
        return self.x.reshape(math.prod(self.x.shape[:-1]), self.n)

    @property
    def common_scale(self) -> Tensor:
        """If all elements of a row share one: [..., 1], or of one element."""
        shape = (1,) if self.scale.shape[0] == 1 else (*self.x.shape[:-1], 1)
        return self.scale.reshape(shape)

    def expect(self, descending: bool, output: SortOutput, first: int, last: int) -> Tensor:
        """The expectation [..., last - first, n] of a matrix, else [..., last - first]."""
        task = SortTask(descending, output, first, last)
        if self.law.name is None:
            result = _without_kernel(self.flat, self.scale, self.law, task)
        else:
            result = order_statistics(
                OrderOp(self.law.name, task), self.flat.contiguous(), self.scale.contiguous()
            )
        return result.reshape(*self.x.shape[:-1], *result.shape[1:]).to(self.dtype)

    def log_matrix(self, descending: bool) -> Tensor:  # [..., n, n]
        """The logarithms of the expected permutation matrix."""
        return self._logarithms(expected_matrix(*self._known("log_argsort"), descending, far=True))

    def log_largest(self) -> Tensor:  # [..., n]
        """The logarithms of the probabilities to be the largest."""
        return self._logarithms(expected_largest(*self._known("log_argmax"), far=True))

    def _known(self, name: str) -> tuple[Tensor, Tensor, AbstractDistribution]:
        if self.law.name is None:
            raise ValueError(
                f"distribution must be a law of torchsmooth for {name}, got {self.law!r}; use one "
                "of them, such as ts.Logistic"
            )
        return self.flat, self.scale, self.law

    def _logarithms(self, probability: Tensor) -> Tensor:
        possible = probability > 0
        logs = torch.where(possible, torch.where(possible, probability, 1.0).log(), -math.inf)
        logs = torch.where(probability.isnan(), probability, logs)
        return logs.reshape(*self.x.shape[:-1], *logs.shape[1:]).to(self.dtype)

    def back(self, result: Tensor) -> Tensor:
        """A result [..., n] with its last dimension where it was in x."""
        return result if self.dim == result.ndim - 1 else result.movedim(-1, self.dim)


def rows(x: object, distribution: object, dim: object) -> Rows:
    law, dtype, (tensor,) = elementwise(x, distribution)
    dim = check_dim(dim, tensor)
    assert law.scale is not None  # `elementwise` has looked
    unit = law.with_scale(1.0)
    if not isinstance(law.scale, Tensor):
        scale = torch.full((1, 1), law.scale, dtype=tensor.dtype, device=tensor.device)
        return Rows(_at_the_end(tensor, dim), scale, unit, dim, dtype)
    factor = law.scale.to(tensor)
    shape = torch.broadcast_shapes(tensor.shape, factor.shape)
    dim += len(shape) - tensor.ndim
    tensor = _at_the_end(tensor.expand(shape), dim)
    factor = _at_the_end(factor.reshape((1,) * (len(shape) - factor.ndim) + factor.shape), dim)
    inner, batch = factor.shape[-1], math.prod(tensor.shape[:-1])
    if factor.numel() == inner:  # the same for the whole batch
        return Rows(tensor, factor.reshape(1, inner), unit, dim, dtype)
    factor = factor.expand(*tensor.shape[:-1], inner).reshape(batch, inner)
    return Rows(tensor, factor, unit, dim, dtype)


def _at_the_end(x: Tensor, dim: int) -> Tensor:
    return x if dim == x.ndim - 1 else x.movedim(dim, -1)


def _without_kernel(x: Tensor, scale: Tensor, law: AbstractDistribution, task: SortTask) -> Tensor:
    """By a quadrature in PyTorch whose nodes are doubled until two results agree."""
    batch_shape = law.distribution.batch_shape  # type: ignore[attr-defined]
    if len(batch_shape) > 0:
        raise ValueError(
            "distribution must wrap a law without a batch_shape, because the noise of all elements "
            f"must have one law here, got {tuple(batch_shape)}; pass a law of scalar parameters "
            "and a scale for each element"
        )
    if not values_are_readable(x):
        return expected_order(x, scale, law, *task, nodes=_FIXED_NODES)
    tolerance = 1e-10 if x.dtype == torch.float64 else 1e-6
    nodes, step = _FIRST_NODES, 0.0
    with torch.no_grad():
        coarse = expected_order(x, scale, law, *task, nodes=nodes)
        while nodes < _MOST_NODES:
            nodes *= 2
            fine = expected_order(x, scale, law, *task, nodes=nodes)
            size = max(1.0, fine.nan_to_num(0, 0, 0).abs().max().item() if fine.numel() else 1.0)
            step = _distance(coarse, fine) / size
            if step <= tolerance:
                break
            coarse = fine
        else:
            warnings.warn(
                f"two quadratures of {law!r} with {nodes // 2} and {nodes} nodes in each interval "
                f"differ by {step:.1g}, more than {tolerance:.0e}; use a law of torchsmooth where "
                "there is one",
                stacklevel=frames_of_the_package(),
            )
    if not torch.is_grad_enabled():
        return fine
    return expected_order(x, scale, law, *task, nodes=nodes)


def _distance(a: Tensor, b: Tensor) -> float:
    difference = (a - b).nan_to_num(0, 0, 0)
    return difference.abs().max().item() if difference.numel() else 0.0
