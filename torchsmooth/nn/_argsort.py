"""The permutation that sorts."""

from typing import final

from .. import functional, hard
from ._sort_layer import AbstractSortLayer


@final
class ArgSort(AbstractSortLayer):
    """The expected permutation matrix that sorts perturbed `x`: `torchsmooth.functional.argsort`.

    Maps [..., n] to [..., n, n]. In evaluation with `eval_mode="hard"` it is the 0/1 matrix of
    `torchsmooth.hard.argsort`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.argsort`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.ArgSort(ts.Logistic(scale=0.1), eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.3, -1.0, 0.2]))
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [1., 0., 0.]])
    """

    _smoothed = staticmethod(functional.argsort)
    _exact = staticmethod(hard.argsort)
