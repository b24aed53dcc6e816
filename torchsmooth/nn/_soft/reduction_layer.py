"""What all layers share that reduce or compare along a dimension without sampling."""

import abc
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._checks import check_dim, check_nonempty
from ...distributions import AbstractDistribution
from ...soft._operands import elementwise
from .._smoothing_layer import AbstractSmoothingLayer


class AbstractReductionLayer(AbstractSmoothingLayer):
    """A smoothing layer over one dimension: in closed form or by quadrature, never by sampling.

    **Arguments:**

    - `dim`: the dimension, as for the function of torchsmooth.soft.
    - `distribution`, `learn_scale`, `eval_mode`: as for `AbstractSmoothingLayer`.

    **Raises:** TypeError or ValueError if an argument is not what is said above, or the law is none
    that the function takes.

    **Subclassing.** Subclasses are final or abstract. Final ones implement `_reduce` and `_exact`.
    The names of further options stand in `_options`; `__init__` ends with `_hold` of their values.
    """

    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        dim: int,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: str = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.dim = dim
        if not self._options:
            self._hold()

    def _hold(self, *options: Any) -> None:
        for name, value in zip(self._options, options, strict=True):
            setattr(self, name, value)
        # The function looks at the law and the options here and now, not only in the first call.
        law = self.distribution
        with torch.no_grad():
            self._reduce(torch.zeros(1), 0, law if law.scale is None else law.with_scale(1.0))

    def _smooth(self, x: Tensor) -> Tensor:
        return self._reduce(x, self.dim, self.distribution)

    def _hard(self, x: Tensor) -> Tensor:
        law, dtype, (x,) = elementwise(x, self.distribution)
        dim = check_dim(self.dim, x) - x.ndim
        assert isinstance(law.scale, Tensor)  # the layer's state
        # With the scale, because the smoothed result has its dimensions too.
        x, _ = torch.broadcast_tensors(x, law.scale)
        return self._exact(x, dim).to(dtype)

    @abc.abstractmethod
    def _reduce(self, x: Tensor, dim: int, distribution: AbstractDistribution) -> Tensor:
        """The function of torchsmooth.soft."""

    @abc.abstractmethod
    def _exact(self, x: Tensor, dim: int) -> Tensor:
        """The operator that it smooths, for a dimension that counts from the end."""

    def extra_repr(self) -> str:
        own = (f", {name}={getattr(self, name)!r}" for name in ("dim", *self._options))
        return super().extra_repr() + "".join(own)


def extremum(x: Tensor, dim: int, keepdim: bool, *, largest: bool) -> Tensor:
    """torch's amax or amin, with the error of the smoothed ones for no elements."""
    check_nonempty(x.movedim(dim, -1), "amax" if largest else "amin")
    return (torch.amax if largest else torch.amin)(x, dim, keepdim)
