"""Laws by the distance of u from the nearer end of (0, 1)."""

import abc
import math
from typing import ClassVar, final

import torch
from torch import Tensor

from .._dtypes import compute_dtype
from ._distribution import AbstractDistribution
from ._expectations import Expectations
from ._scale import check_scales, constructor, describe_scales
from ._traits import Traits


WORDS = 2**32


class AbstractTailLaw(AbstractDistribution):
    """A law whose quantiles are told from the distance of u to the nearer end of (0, 1).

    A float next to 1 resolves 2^-24, a float next to 0 far more: so both tails are reached, and
    each with full relative accuracy. **Subclassing.** Subclasses are final and have `name`,
    `traits` and `_expectations`, and implement, at scale 1: `_from_tail` in place of `_icdf` and
    `draw`, `_cdf`, `_log_prob`, `_score`.
    """

    name: ClassVar[str]
    traits: ClassVar[Traits]
    _expectations: ClassVar[Expectations]

    @final
    @constructor
    def __init__(
        self,
        scale: float | Tensor = 1.0,
        *,
        scale_matrix: Tensor | None = None,  # [..., n, n]
    ) -> None:
        self.scale, self.scale_matrix = check_scales(scale, scale_matrix)

    @final
    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe_scales(self.scale, self.scale_matrix)})"

    @final
    def draw(self, words: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        compute = compute_dtype(dtype)
        upper = words >= WORDS // 2
        distance = torch.where(upper, WORDS - 1 - words, words)
        noise, score = self._from_tail((distance.to(compute) + 0.5) * (1 / WORDS), upper)
        return noise.to(dtype), score.to(dtype)

    @abc.abstractmethod
    def _from_tail(
        self,
        tail: Tensor,  # min(u, 1 - u), in (0, 1/2]
        upper: Tensor,  # u > 1/2
    ) -> tuple[Tensor, Tensor]:
        """icdf(u) and score(icdf(u))."""

    @final
    def _icdf(self, u: Tensor) -> Tensor:
        # The ends are answered apart: the derivatives there are infinite, and their products NaN.
        inside = (u > 0) & (u < 1)
        upper = u > 0.5
        tail = torch.where(inside, torch.where(upper, 1 - u, u), 0.25)
        noise, _ = self._from_tail(tail, upper)
        assert self.traits.support is not None  # known of all laws but those of torch
        lower_end, upper_end = self.traits.support
        outside = torch.where(u == 0, lower_end, torch.where(u == 1, upper_end, math.nan))
        return torch.where(inside, noise, outside.to(u.dtype))

    @final
    def _joint_log_prob(self, z: Tensor) -> Tensor:
        return self._log_prob(z).sum(-1)

    @final
    def _standard_mean(self) -> float | None:
        return self.traits.mean

    @final
    def _from_quantile(self, tail: Tensor, upper: Tensor) -> Tensor:
        return self._from_tail(tail, upper)[0]

    @final
    def _operand(self, x: Tensor) -> Tensor:
        return x
