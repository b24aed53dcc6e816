"""The ranks of elements."""

from typing import final

from .. import functional, hard
from ._sort_layer import AbstractSortLayer


@final
class Rank(AbstractSortLayer):
    """The expected ranks of the elements of perturbed `x`: `torchsmooth.functional.rank`.

    Maps [..., n] to [..., n], counting from 1. In evaluation with `eval_mode="hard"` it is
    `torchsmooth.hard.rank`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.rank`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Rank(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([3., 1., 2.])
    """

    _smoothed = staticmethod(functional.rank)
    _exact = staticmethod(hard.rank)
