"""The layer of relaxed samples of categorical variables."""

from typing import final

from torch import Tensor

from .. import hard as exact, soft
from ..distributions import Gumbel
from ..samplers import seed_tensor
from ._smoothing_layer import AbstractSmoothingLayer, EvalMode


@final
class GumbelSoftmax(AbstractSmoothingLayer[[Tensor], Tensor]):
    """A sample of a categorical variable, relaxed: `torchsmooth.soft.gumbel_softmax`.

    The temperature is the scale of the layer: that of the Gumbel noise under which the argmax of
    the sampled logits is smoothed. So it can be learned, and annealed by `ExponentialScale`. In
    evaluation with `eval_mode="hard"` it is the one-hot vector of the most probable category,
    `torchsmooth.hard.argmax`, without noise (Jang, Gu and Poole, "Categorical reparameterization
    with Gumbel-softmax", 2017, arXiv:1611.01144).

    **Arguments:**

    - `temperature`: a positive number or a tensor of one element.
    - `dim`, `hard`, `seed`: as for `torchsmooth.soft.gumbel_softmax`. A seed that is a tensor
        becomes a buffer of the layer.
    - all other keywords: as for `AbstractSmoothingLayer`.

    **Returns:** called with logits, a tensor of their shape and dtype, which sums to 1 along `dim`.

    **Raises:** TypeError or ValueError if an argument is not what is said above; the call, what
    `torchsmooth.soft.gumbel_softmax` raises.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.GumbelSoftmax(0.5, eval_mode="hard")
    >>> logits = torch.tensor([0.0, 5.0, -torch.inf])
    >>> bool((layer(logits).sum() - 1).abs() < 1e-6)
    True
    >>> layer.eval()(logits)
    tensor([0., 1., 0.])
    """

    _options = ("dim", "hard", "seed")
    seed: int | Tensor | None

    def __init__(
        self,
        temperature: float | Tensor = 1.0,
        *,
        dim: int = -1,
        hard: bool = False,
        seed: int | Tensor | None = None,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__(Gumbel(temperature), learn_scale=learn_scale, eval_mode=eval_mode)
        self.dim = dim
        self.hard = hard
        self._hold("seed", seed)
        if seed is not None:
            seed_tensor(seed, "cpu")  # looks at it here and now

    def _smooth(self, logits: Tensor) -> Tensor:
        assert self.scale is not None  # a Gumbel with a scale was given
        return soft.gumbel_softmax(logits, self.scale, **self._given())

    def _hard(self, logits: Tensor) -> Tensor:
        return exact.argmax(logits, dim=self.dim)
