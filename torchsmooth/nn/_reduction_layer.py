"""The base of all layers that reduce or compare along a dimension without sampling."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._checks import check_dim, check_nonempty
from ..distributions import AbstractDistribution
from ..soft._operands import elementwise
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


class AbstractReductionLayer(AbstractSmoothingLayer[[Tensor], Tensor]):
    """A smoothing layer over one dimension: in closed form or by quadrature, never by sampling.

    **Arguments:**

    - `dim`: the dimension, as for the function of torchsmooth.soft.
    - `distribution`, `learn_scale`, `eval_mode`: as for `AbstractSmoothingLayer`.

    **Raises:** TypeError or ValueError if an argument is not what is said above, or the law is none
    that the function takes.

    **Subclassing.** Subclasses are final or abstract. Final ones name the function of
    torchsmooth.soft as `_smoothed` and implement `_exact`. If there are further options, `_options`
    names "dim" and them, and `__init__` ends with `_hold_options` of their values. `_least` is a
    number of elements for which the function is defined under every law that it takes.
    """

    _options: ClassVar[tuple[str, ...]] = ("dim",)
    _smoothed: ClassVar[Callable[..., Tensor]]
    _least: ClassVar[int] = 1
    dim: int

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.dim = dim
        if self._options == AbstractReductionLayer._options:
            self._hold_options()

    def _hold_options(self, **options: Any) -> None:
        for name, value in options.items():
            setattr(self, name, value)
        # The function looks at the law and the options here and now, not only in the first call:
        # at one short row, whatever the dimension and the scale.
        law = self.distribution
        law = law if law.scale is None else law.with_scale(1.0)
        with torch.no_grad():
            self._smoothed(
                torch.zeros(self._least), distribution=law, **{**self._given(), "dim": 0}
            )

    def _smooth(self, x: Tensor) -> Tensor:
        return self._smoothed(x, distribution=self.distribution, **self._given())

    def _hard(self, x: Tensor) -> Tensor:
        _, dtype, (x,) = elementwise(x, self.distribution)
        dim = check_dim(self.dim, x) - x.ndim
        (x,) = self._expand_to_scale(x)
        return self._exact(x, dim).to(dtype)

    @abc.abstractmethod
    def _exact(self, x: Tensor, dim: int) -> Tensor:
        """The operator that is smoothed, for a dimension that counts from the end."""


def extremum(x: Tensor, dim: int, keepdim: bool, *, largest: bool) -> Tensor:
    """torch's amax or amin, with the error of the smoothed ones for no elements."""
    check_nonempty(x.movedim(dim, -1), "amax" if largest else "amin")
    return (torch.amax if largest else torch.amin)(x, dim, keepdim)
