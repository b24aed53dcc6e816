"""Relaxed samples of categorical variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from ... import hard, soft
from ...distributions import Gumbel
from .._smoothing_layer import AbstractSmoothingLayer
from .elementwise_layer import LayerOptions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class GumbelSoftmax(AbstractSmoothingLayer):
    """A sample of a categorical variable, relaxed: `torchsmooth.soft.gumbel_softmax`.

    The temperature is the scale of the layer: that of the Gumbel noise under which the argmax of
    the sampled logits is smoothed. So it can be learned, and annealed by `ExponentialScale`. In
    evaluation with `eval_mode="hard"` it is the one-hot vector of the most probable category,
    `torchsmooth.hard.argmax`, without noise.

    **Arguments:**

    - `temperature`: a positive number or a tensor of one element.
    - `dim`, `hard`: as for `torchsmooth.soft.gumbel_softmax`. The noise comes from torch's
        generator.
    - all other keywords: as for `AbstractSmoothingLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.GumbelSoftmax(0.5, eval_mode="hard")
    >>> logits = torch.tensor([0.0, 5.0, -torch.inf])
    >>> bool((layer(logits).sum() - 1).abs() < 1e-6)
    True
    >>> layer.eval()(logits)
    tensor([0., 1., 0.])
    """

    def __init__(
        self,
        temperature: float | Tensor = 1.0,
        *,
        dim: int = -1,
        hard: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(Gumbel(temperature), **options)
        self.dim = dim
        self.hard = hard

    def _smooth(self, logits: Tensor) -> Tensor:
        assert self.scale is not None  # a Gumbel with a scale was given
        return soft.gumbel_softmax(logits, self.scale, dim=self.dim, hard=self.hard)

    def _hard(self, logits: Tensor) -> Tensor:
        return hard.argmax(logits, dim=self.dim)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dim={self.dim}, hard={self.hard}"
