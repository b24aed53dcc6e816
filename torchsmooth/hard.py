"""The exact algorithms themselves: batched, and without a gradient.

They are what `torchsmooth.functional` smooths, under the same names.
"""

import torch
from torch import Tensor

from ._arguments import check_bool, check_dim, check_floating


def argsort(x: Tensor, *, dim: int = -1, descending: bool = False) -> Tensor:
    """Returns the permutation matrix that sorts `x`.

    **Arguments:**

    - `x`: floating-point tensor of shape [..., n].
    - `dim`: the dimension to sort.
    - `descending`: whether the largest element comes first.

    **Returns:** a tensor of shape [..., n, n] and the dtype of `x` (the sorted dimension is moved
    to the end first). Entry [..., k, i] is 1 if element i is the k-th smallest (largest if
    `descending`), else 0. Ties go to the lower index. A row with a NaN gives NaN. It carries no
    gradient.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    >>> import torch, torchsmooth as ts
    >>> ts.hard.argsort(torch.tensor([0.3, -1.0, 0.2]))
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [1., 0., 0.]])
    """
    x = check_floating(x, "x").detach()
    x = x.movedim(check_dim(dim, x), -1)
    check_bool(descending, "descending")
    order = torch.sort(x, dim=-1, descending=descending, stable=True).indices
    matrix = x.new_zeros((*x.shape, x.shape[-1])).scatter_(-1, order.unsqueeze(-1), 1.0)
    return torch.where(x.isnan().any(-1)[..., None, None], torch.nan, matrix)
