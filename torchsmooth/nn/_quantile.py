"""Quantiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from torch import Tensor

from .. import functional, hard
from ..distributions import AbstractDistribution
from ._sampled_layer import AbstractSampledLayer, SampledLayerOptions


if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


@final
class Quantile(AbstractSampledLayer):
    """The expected quantiles of perturbed `x`: `torchsmooth.functional.quantile`.

    Maps [..., n] to [...], or to [Q, ...] for a tensor of Q fractions. In evaluation with
    `eval_mode="hard"` it is `torchsmooth.hard.quantile`.

    **Arguments:**

    - `q`, `dim`, `keepdim`: as for `torchsmooth.functional.quantile`. A tensor of fractions moves
        with the layer, but keeps its type and is not part of the `state_dict`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Quantile(0.25, ts.Gaussian(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor(-0.3750)
    """

    q: float | Tensor

    def __init__(
        self,
        q: float | Tensor,
        distribution: AbstractDistribution,
        *,
        dim: int = -1,
        keepdim: bool = False,
        **options: Unpack[SampledLayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        if isinstance(q, Tensor):
            self.register_buffer("q", q, persistent=False)
        else:
            self.q = q
        self.dim = dim
        self.keepdim = keepdim

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        q = self.q
        super()._apply(fn, recurse)
        if isinstance(q, Tensor):  # in half precision, fractions would be others
            self.q = q.to(self.get_buffer("q").device)
        return self

    def _smooth(self, x: Tensor) -> Tensor:
        return functional.quantile(
            x, self.q, self.distribution, dim=self.dim, keepdim=self.keepdim, **self.sampling
        )

    def _hard(self, x: Tensor) -> Tensor:
        return hard.quantile(x, self.q, dim=self.dim, keepdim=self.keepdim)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, q={self.q}, dim={self.dim}, keepdim={self.keepdim}"
