"""The loss of an estimated or relaxed permutation matrix against the true one."""

import torch
from torch import Tensor


def permutation_loss(
    probabilities: Tensor,  # [b, n, n]
    truth: Tensor,  # [b, n, n]
    num_samples: int,
) -> Tensor:
    """Binary cross entropy between a permutation matrix estimated from s samples and the true one.

    An entry that no sample (or every sample) hit is exactly 0 (or 1), and its logarithm infinite
    if the truth says otherwise. Clamping would make it finite, but with zero gradient just where
    the network is most wrong. Half a sample is therefore added on either side, the usual estimate
    of a probability from counts: 0 of s becomes (0 + 1/2) / (s + 1). No entry is then 0 or 1,
    and the slope is at most 2 s, about that of an entry that one sample hit.
    """
    softened = (probabilities * num_samples + 0.5) / (num_samples + 1)
    # Written out, because `F.binary_cross_entropy` raises if scores have become NaN: on a GPU,
    # without recovery. Here the loss is NaN, which is reported.
    return -torch.where(truth > 0, softened, 1 - softened).log().mean()
