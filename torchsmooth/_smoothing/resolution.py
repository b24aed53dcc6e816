"""Whether the dtype of x resolves the noise."""

import warnings

import torch
from torch import Tensor

from .._torch_internals import frames_of_the_package, values_are_readable


# Fewer distances between neighbouring floating-point numbers than this within a scale of the noise
# leave so few perturbed points that ties and steps decide.
_LEAST_STEPS = 2.0


def warn_of_coarse_points(
    rows: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n], or a scale matrix, which is not looked at
    dtype: torch.dtype,  # of the perturbed points
) -> None:
    """Warns at the user's line if a scale is lost in the rounding of the perturbed points."""
    if scale.ndim != 2 or rows.numel() == 0:
        return
    if not (values_are_readable(rows) and values_are_readable(scale)):
        return
    step = torch.finfo(dtype).eps * rows.abs()
    coarse = (scale < _LEAST_STEPS * step) & rows.isfinite()
    if not bool(coarse.any()):
        return
    where = tuple(coarse.nonzero()[0].tolist())
    warnings.warn(
        f"the noise has a scale of {scale.expand_as(rows)[where].item():.3g} at "
        f"{rows[where].item():.8g}, where neighbouring numbers of {dtype} are about "
        f"{step[where].item():.2g} apart, so that perturbed points fall on few of them; pass "
        "x.double(), subtract an offset from x, or pass a larger scale",
        UserWarning,
        stacklevel=frames_of_the_package(),
    )
