"""How f's outputs, a tensor or a structure of tensors, lie in one matrix of rows."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..statistics import AbstractStatistic


class Outputs:
    """The structure, shapes and types of what f returns in every call."""

    def __init__(self, leaves: list[Tensor], spec: Any, x_dtype: torch.dtype):
        self.spec = spec
        self.shapes = [leaf.shape[1:] for leaf in leaves]
        self.given = [leaf.dtype for leaf in leaves]
        self.dtypes = [dtype if dtype.is_floating_point else x_dtype for dtype in self.given]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.dtype = torch.float32
        if x_dtype == torch.float64 or any(map(_needs_double, leaves)):
            self.dtype = torch.float64

    @property
    def resolution(self) -> float:
        """The relative rounding error of what f computes."""
        floating = [dtype for dtype in self.given if dtype.is_floating_point]
        return max(torch.finfo(dtype).eps for dtype in floating or self.dtypes)

    @staticmethod
    def common(templates: Sequence[Any], x_dtype: torch.dtype) -> "Outputs":
        """That of all ranks, from their templates."""
        outputs = None
        for template in templates:
            leaves, spec = pytree.tree_flatten(template)
            own = Outputs(leaves, spec, x_dtype)
            outputs = outputs or own
            outputs.check(leaves, spec, "another rank of process_group")
            if own.dtype != outputs.dtype:
                raise ValueError(
                    f"f must return the same dtype on all ranks of process_group, got {own.dtype} "
                    f"and {outputs.dtype}; convert what it returns"
                )
        assert outputs is not None  # some rank has called f
        return outputs

    def template(self) -> Any:
        """f's outputs at no points."""
        leaves = [
            torch.empty(0, *shape, dtype=dtype)
            for shape, dtype in zip(self.shapes, self.given, strict=True)
        ]
        return pytree.tree_unflatten(leaves, self.spec)

    def pack(self, leaves: list[Tensor]) -> Tensor:
        """[rows, M]"""
        rows = [
            leaf.reshape(leaf.shape[0], size).to(self.dtype)
            for leaf, size in zip(leaves, self.sizes, strict=True)
        ]
        return rows[0] if len(rows) == 1 else torch.cat(rows, 1)

    def unpack(self, value: Tensor, batch: tuple[int, ...], statistic: AbstractStatistic) -> Any:
        """From [B, R] to f's structure, with the statistic's shape for [*out] in its leaves."""
        shapes = [statistic.shape(shape) for shape in self.shapes]
        leaves = [
            part.reshape((*batch, *shape)).to(dtype)
            for part, shape, dtype in zip(
                value.split([math.prod(shape) for shape in shapes], 1),
                shapes,
                self.dtypes,
                strict=True,
            )
        ]
        return pytree.tree_unflatten(leaves, self.spec)

    def check(self, leaves: list[Tensor], spec: Any, call: str) -> None:
        if spec != self.spec:
            raise ValueError(
                "f must return the same structure in every call, got "
                f"{structure(self.spec)} first and {structure(spec)} for {call}; return one "
                "structure for all points"
            )
        for leaf, shape in zip(leaves, self.shapes, strict=True):
            if leaf.shape[1:] != shape:
                raise ValueError(
                    "f must return the same shape in every call, got "
                    f"{_rows(shape)} first and {_rows(leaf.shape[1:])} for {call}; pad what varies "
                    "to one shape"
                )


def _needs_double(leaf: Tensor) -> bool:
    """Whether float32 would lose digits: of doubles, and of integers beyond 2^24."""
    wide = leaf.dtype == torch.float64 or not leaf.is_floating_point()
    return wide and leaf.itemsize > 2 and leaf.device.type != "mps"  # which has no doubles


def _rows(shape: Sequence[int]) -> str:
    return f"[{', '.join(('m', *map(str, shape)))}]"


def structure(spec: Any) -> str:
    """A structure of outputs in one line, with `...` for every tensor."""
    return repr(pytree.tree_unflatten([...] * spec.num_leaves, spec)).replace("Ellipsis", "...")
