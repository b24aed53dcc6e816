"""Layers of bisection: with noisy decisions, and with the derivative of the root."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from .. import soft
from .._checks import check_int
from ..distributions import AbstractDistribution
from ..soft._bisection import bracket, evaluate
from ._functions import check_function
from ._layer import AbstractLayer, own
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


@final
class SoftBisect(AbstractSmoothingLayer[..., Tensor]):
    """The point where bisection with noisy decisions ends: `torchsmooth.soft.bisect`.

    In evaluation with `eval_mode="hard"` it is bisection itself, whose result has no gradient in
    the parameters of g (A. Kovalov, "Smooth relaxation of discrete structure-induced
    discontinuities", 2025).

    **Arguments:**

    - `g`: a function, or a module, as for `torchsmooth.soft.bisect`. Parameters of a module belong
        to the layer and are trained with it.
    - `lo`, `hi`: as for `torchsmooth.soft.bisect`. Tensors become buffers of the layer; an
        `nn.Parameter` is learned.
    - `num_steps`: as for `torchsmooth.soft.bisect`.
    - `distribution`, and all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with the parameters of g, a tensor of the shape and the type of its values.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.bisect` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftBisect(lambda x, c: x - c, 0.0, 1.0, ts.Logistic(1e-8), num_steps=8)
    >>> layer(torch.tensor(0.3))
    tensor(0.2988)
    """

    _options = ("g", "lo", "hi", "num_steps")
    lo: float | Tensor
    hi: float | Tensor

    def __init__(
        self,
        g: Callable[..., Tensor],
        lo: float | Tensor,
        hi: float | Tensor,
        distribution: AbstractDistribution,
        *,
        num_steps: int,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(distribution, learn_scale=learn_scale, eval_mode=eval_mode)
        self.g = check_function(g, "g")
        self._hold("lo", own(lo, "lo"))
        self._hold("hi", own(hi, "hi"))
        self.num_steps = check_int(num_steps, "num_steps", 0, 20)
        # The function looks at the law here and now, not only in the first call.
        with torch.no_grad():
            soft.heaviside(torch.zeros(()), self.distribution)

    def _smooth(self, *params: Tensor) -> Tensor:
        return soft.bisect(
            self.g,
            self.lo,
            self.hi,
            *params,
            num_steps=self.num_steps,
            distribution=self.distribution,
        )

    def _hard(self, *params: Tensor) -> Tensor:
        a, b = bracket(self.g, self.lo, self.hi, params)
        width = 0.5 * (b - a)
        for _ in range(self.num_steps):
            with torch.no_grad():
                product = evaluate(self.g, a, params) * evaluate(self.g, a + width, params)
                # NaN stays.
                beyond = torch.where(product.isnan(), product, (product > 0).to(product.dtype))
            a = a + beyond * width
            width = 0.5 * width
        (root,) = self._expand_to_scale(a + width)
        return root


@final
class SoftImplicitBisect(AbstractLayer[..., Tensor]):
    """The root that bisection finds, with its derivative: `torchsmooth.soft.implicit_bisect`.

    There is no noise: it is the same in training and in evaluation.

    **Arguments:**

    - `g`: a function, or a module, as for `torchsmooth.soft.implicit_bisect`. Parameters of a
        module belong to the layer and are trained with it.
    - `lo`, `hi`: as for `torchsmooth.soft.implicit_bisect`. Tensors become buffers of the layer.
    - `num_steps`: as for `torchsmooth.soft.implicit_bisect`.

    **Returns:** called with the parameters of g, a tensor of the shape and the type of its values.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.implicit_bisect` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.SoftImplicitBisect(lambda x, c: x**2 - c, 0.0, 2.0)
    >>> c = torch.tensor(2.0, requires_grad=True)
    >>> root = layer(c)
    >>> root, torch.autograd.grad(root, c)  # sqrt(2), 1 / (2 sqrt(2))
    (tensor(1.4142, grad_fn=<SubBackward0>), (tensor(0.3536),))
    """

    _options = ("g", "lo", "hi", "num_steps")
    lo: float | Tensor
    hi: float | Tensor

    def __init__(
        self,
        g: Callable[..., Tensor],
        lo: float | Tensor,
        hi: float | Tensor,
        *,
        num_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.g = check_function(g, "g")
        self._hold("lo", own(lo, "lo"))
        self._hold("hi", own(hi, "hi"))
        self.num_steps = None if num_steps is None else check_int(num_steps, "num_steps", 0, 55)

    def _compute(self, *params: Tensor) -> Tensor:
        return soft.implicit_bisect(self.g, self.lo, self.hi, *params, num_steps=self.num_steps)
