"""The sorted values."""

from typing import final

from .. import functional, hard
from ._sort_layer import AbstractSortLayer


@final
class Sort(AbstractSortLayer):
    """The expected sorted values of perturbed `x`: `torchsmooth.functional.sort`.

    Maps [..., n] to [..., n]. In evaluation with `eval_mode="hard"` it is `torchsmooth.hard.sort`.

    **Arguments:**

    - `dim`, `descending`: as for `torchsmooth.functional.sort`.
    - `distribution`, and all other keywords: as for `AbstractSampledLayer`.

    >>> import torch, torchsmooth as ts
    >>> layer = ts.nn.Sort(ts.Gaussian(scale=0.1), descending=True, eval_mode="hard")
    >>> layer.eval()(torch.tensor([0.5, -1.0, 0.25]))
    tensor([ 0.5000,  0.2500, -1.0000])
    """

    _smoothed = staticmethod(functional.sort)
    _exact = staticmethod(hard.sort)
