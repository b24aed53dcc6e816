"""Layers that index by probabilities instead of integers."""

from typing import final

from torch import Tensor

from .. import soft
from ._layer import AbstractLayer


@final
class SoftTake(AbstractLayer[[Tensor, Tensor], Tensor]):
    """The expected entry of `x`, for an index that is random: `torchsmooth.soft.take`.

    There is no noise: an index that is one-hot, as `ArgMax` makes it in hard evaluation, takes the
    entry itself.

    **Arguments:** `dim`: as for `torchsmooth.soft.take`.

    **Returns:** called with x and probabilities [..., n], the shape of x, with the leading
    dimensions of the probabilities in place of `dim`.

    **Raises:** the call, what `torchsmooth.soft.take` raises.

    >>> import torch, torchsmooth as ts
    >>> table = torch.tensor([[1.0, 10.0], [2.0, 20.0]])
    >>> ts.nn.SoftTake()(table, torch.tensor([0.25, 0.75]))
    tensor([ 1.7500, 17.5000])
    """

    _options = ("dim",)

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim

    def _compute(self, x: Tensor, soft_index: Tensor) -> Tensor:
        return soft.take(x, soft_index, self.dim)


@final
class SoftTakeAlongDim(AbstractLayer[[Tensor, Tensor], Tensor]):
    """The expected entry of every row of `x`, for its own index: `torchsmooth.soft.take_along_dim`.

    There is no noise: an index that is one-hot, as `ArgMax` makes it in hard evaluation, takes the
    entry itself.

    **Arguments:** `dim`: as for `torchsmooth.soft.take_along_dim`.

    **Returns:** called with x and probabilities of a shape that broadcasts against it, the
    broadcast shape without `dim`.

    **Raises:** the call, what `torchsmooth.soft.take_along_dim` raises.

    >>> import torch, torchsmooth as ts
    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> ts.nn.SoftTakeAlongDim(1)(x, ts.soft.argmax(x, 1, ts.Gumbel(0.1)))
    tensor([2.0000, 4.0000])
    """

    _options = ("dim",)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def _compute(self, x: Tensor, soft_index: Tensor) -> Tensor:
        return soft.take_along_dim(x, soft_index, self.dim)
