"""Layers of branches and loops whose conditions are noisy."""

from collections.abc import Callable
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from .. import soft
from .._checks import check_floating, check_int
from ..distributions import AbstractDistribution, Triangular
from ._functions import check_function
from ._layer import P, R
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


Carry = TypeVar("Carry")

# Noise that turns no margin of size 1: its probabilities are 1 and 0.
_CERTAIN = Triangular(0.5)


class AbstractControlFlowLayer(AbstractSmoothingLayer[P, R]):
    """A smoothing layer whose function `margin_fn` decides what is done.

    **Arguments:** `margin_fn`: a function that returns a floating-point tensor. `distribution`,
    `learn_scale`, `eval_mode`: as for `AbstractSmoothingLayer`.
    """

    margin_fn: Callable[..., Tensor]

    def __init__(
        self,
        margin_fn: Callable[..., Tensor],
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.margin_fn = check_function(margin_fn, "margin_fn")
        # The function looks at the law here and now, not only in the first call.
        with torch.no_grad():
            soft.heaviside(torch.zeros(()), self.distribution)

    def _side(self, *args: Any) -> Tensor:
        """1 where the margin is positive, else -1; NaN stays."""
        margin = check_floating(self.margin_fn(*args), "margin")
        (margin,) = self._expand_to_scale(margin.detach())
        side = torch.where(margin > 0, 1.0, -1.0).to(margin.dtype)
        return torch.where(margin.isnan(), margin, side)


@final
class SoftCond(AbstractControlFlowLayer[P, R]):
    """`then_fn` or `else_fn`, blended by P(margin + noise > 0): `torchsmooth.soft.cond`.

    With p that probability, it is p then_fn(*operands) + (1 - p) else_fn(*operands). In evaluation
    with `eval_mode="hard"` it is, for every element of the margin, the result of `then_fn` where
    margin > 0, of `else_fn` elsewhere: no blend, and no gradient through the margin. Both are
    called in any case (Petersen et al., "Learning with algorithmic supervision via continuous
    relaxations", 2021, arXiv:2110.05651).

    **Arguments:**

    - `margin_fn`: a function of the operands, or a module, that returns the margin of
        `torchsmooth.soft.cond`.
    - `then_fn`, `else_fn`: functions of the operands, or modules, as for `torchsmooth.soft.cond`.
        Parameters of modules belong to the layer and are trained with it.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with the operands, the structure of tensors that both functions return.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.cond` raises, in training and in evaluation.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftCond(
    ...     lambda x: x - 1, lambda x: 2 * x, torch.zeros_like, ts.Logistic(0.5), eval_mode="hard"
    ... )
    >>> x = torch.tensor([0.0, 1.0, 2.0])
    >>> layer(x)
    tensor([0.0000, 1.0000, 3.5232])
    >>> layer.eval()(x)
    tensor([0., 0., 4.])
    """

    _options = ("margin_fn", "then_fn", "else_fn")

    def __init__(
        self,
        margin_fn: Callable[P, Tensor],
        then_fn: Callable[P, R],
        else_fn: Callable[P, R],
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(margin_fn, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.then_fn = check_function(then_fn, "then_fn")
        self.else_fn = check_function(else_fn, "else_fn")

    def _smooth(self, *operands: P.args, **_: P.kwargs) -> R:
        return self._blend(self.margin_fn(*operands), self.distribution, operands)

    def _hard(self, *operands: P.args, **_: P.kwargs) -> R:
        return self._blend(self._side(*operands), _CERTAIN, operands)

    def _blend(self, margin: Tensor, law: AbstractDistribution, operands: tuple[Any, ...]) -> R:
        blended: R = soft.cond(margin, self.then_fn, self.else_fn, *operands, distribution=law)
        return blended


@final
class SoftWhile(AbstractControlFlowLayer[[Carry], Carry]):
    """The expected carry at the exit of a loop with noisy tests: `torchsmooth.soft.while_loop`.

    In evaluation with `eval_mode="hard"` it is the loop itself: every element of the margin goes on
    while its margin is positive, at most `max_steps` times.

    **Arguments:**

    - `margin_fn`, `body_fn`: functions of the carry, or modules, as for
        `torchsmooth.soft.while_loop`. Parameters of modules belong to the layer and are trained
        with it.
    - `max_steps`: as for `torchsmooth.soft.while_loop`.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with the carry, a floating-point tensor or a structure of them, the same
    structure.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.while_loop` raises, in training and in evaluation.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([1.0, 30.0])  # double it while it is below 100: 128, 120
    >>> ts.nn.SoftWhile(lambda x: 100 - x, lambda x: 2 * x, 10, ts.Triangular(1.0))(x)
    tensor([128., 120.])
    """

    _options = ("margin_fn", "body_fn", "max_steps")

    def __init__(
        self,
        margin_fn: Callable[[Carry], Tensor],
        body_fn: Callable[[Carry], Carry],
        max_steps: int,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(margin_fn, distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.body_fn = check_function(body_fn, "body_fn")
        self.max_steps = check_int(max_steps, "max_steps", 0, 100)

    def _smooth(self, carry: Carry) -> Carry:
        return self._run(self.margin_fn, carry, self.distribution)

    def _hard(self, carry: Carry) -> Carry:
        return self._run(self._side, carry, _CERTAIN)

    def _run(
        self, margin_fn: Callable[[Any], Tensor], carry: Carry, law: AbstractDistribution
    ) -> Carry:
        last: Carry = soft.while_loop(
            margin_fn, self.body_fn, carry, self.max_steps, distribution=law
        )
        return last
