"""A branch whose condition is noisy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from ... import soft
from ..._checks import check_floating
from ...distributions import AbstractDistribution, Triangular
from ...soft._control_flow import cond
from .._smoothing_layer import AbstractSmoothingLayer
from .elementwise_layer import LayerOptions
from .functions import check_function, describe_functions


if TYPE_CHECKING:
    from typing_extensions import Unpack


@final
class SoftBranch(AbstractSmoothingLayer):
    """`then` or `else_`, blended by P(margin + noise > 0): `torchsmooth.soft.cond`.

    Maps operands to p then(*operands) + (1 - p) else_(*operands). In evaluation with
    `eval_mode="hard"` it is, for every element of the margin, the result of `then` where
    margin > 0, of `else_` elsewhere: no blend, and no gradient through the margin. Both are called
    in any case.

    **Arguments:**

    - `margin`: a function of the operands, or a module, that returns the margin of
        `torchsmooth.soft.cond`.
    - `then`, `else_`: functions of the operands, or modules, as for `torchsmooth.soft.cond`.
        Parameters of modules belong to the layer and are trained with it.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Raises:** TypeError or ValueError if an argument is not what is said above; what
    `torchsmooth.soft.cond` raises, in training and in evaluation.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftBranch(
    ...     lambda x: x - 1, lambda x: 2 * x, torch.zeros_like, ts.Logistic(0.5), eval_mode="hard"
    ... )
    >>> x = torch.tensor([0.0, 1.0, 2.0])
    >>> layer(x)
    tensor([0.0000, 1.0000, 3.5232])
    >>> layer.eval()(x)
    tensor([0., 0., 4.])
    """

    def __init__(
        self,
        margin: Callable[..., Tensor],
        then: Callable[..., Any],
        else_: Callable[..., Any],
        distribution: AbstractDistribution,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(distribution, **options)
        self.margin = check_function(margin, "margin")
        self.then = check_function(then, "then")
        self.else_ = check_function(else_, "else_")
        # The function looks at the law here and now, not only in the first call.
        with torch.no_grad():
            soft.heaviside(torch.zeros(()), self.distribution)

    def _smooth(self, *operands: Any) -> Any:
        margin = self.margin(*operands)
        return cond(margin, self.then, self.else_, *operands, distribution=self.distribution)

    def _hard(self, *operands: Any) -> Any:
        margin = check_floating(self.margin(*operands), "margin")
        assert self.scale is not None  # looked at in __init__
        # With the scale, because the smoothed result has its dimensions too.
        margin, _ = torch.broadcast_tensors(margin.detach(), self.scale)
        # Margins that the noise cannot turn: their probabilities are 1 and 0.
        side = torch.where(margin > 0, 1.0, -1.0).to(margin.dtype)
        side = torch.where(margin.isnan(), margin, side)
        return cond(side, self.then, self.else_, *operands, distribution=Triangular(0.5))

    def extra_repr(self) -> str:
        functions = describe_functions(self, "margin", "then", "else_")
        return f"{super().extra_repr()}, {functions}" if functions else super().extra_repr()
