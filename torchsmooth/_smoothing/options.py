"""How an expectation is estimated: the keywords of `smooth`, once they are checked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, final

from torch import Tensor

from .._kernels.fused_op import Estimator
from .._typing import Covariate
from ..samplers import AbstractSampler
from ..statistics import AbstractStatistic
from .estimator import estimator
from .executor import SupportsSubmit


if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SmoothingOptions:
    """The keywords of `torchsmooth.smooth`, under their names; that page explains them."""

    num_samples: int
    sampler: AbstractSampler
    antithetic: bool
    covariate: Covariate
    statistic: AbstractStatistic
    event_dim: int
    vectorized: bool
    chunk_size: int | None
    seed: int | Tensor | None
    executor: SupportsSubmit | None
    process_group: ProcessGroup | None

    def __post_init__(self) -> None:
        _ = self.estimator  # checks what belongs together

    @property
    def estimator(self) -> Estimator:
        return estimator(
            self.covariate, self.sampler, self.antithetic, self.num_samples, self.statistic
        )
