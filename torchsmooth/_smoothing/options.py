"""How an expectation is estimated: the keywords of `smooth`, once they are checked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict, final, get_args

from torch import Tensor

from .._kernels.fused_op import Estimator
from .._typing import Covariate, Inputs, NanPolicy, SamplerName, StatisticName
from ..samplers import AbstractSampler
from ..statistics import AbstractStatistic, Mean
from .estimator import estimator
from .executor import SupportsSubmit
from .user_function import Convention


if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class SmoothingKeywords(TypedDict, total=False):
    """The keywords of `torchsmooth.smooth`, for type checkers."""

    num_samples: int
    sampler: SamplerName | AbstractSampler
    antithetic: bool
    covariate: Covariate
    statistic: StatisticName | AbstractStatistic
    event_dim: int
    vectorized: bool
    inputs: Inputs
    chunk_size: int | None
    seed: int | Tensor | None
    executor: SupportsSubmit | None
    process_group: ProcessGroup | None
    check: bool
    nan_policy: NanPolicy


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
    convention: Convention
    chunk_size: int | None
    seed: int | Tensor | None
    executor: SupportsSubmit | None
    process_group: ProcessGroup | None
    check: bool
    nan_policy: NanPolicy

    estimator: Estimator = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        policies = get_args(NanPolicy)
        if self.nan_policy not in policies:
            raise ValueError(
                f"nan_policy must be one of {', '.join(map(repr, policies))}, got "
                f"{self.nan_policy!r}; pass 'raise' to find where f is undefined"
            )
        if self.nan_policy == "omit" and not isinstance(self.statistic, Mean):
            raise ValueError(
                "nan_policy must be 'propagate' or 'raise' with statistic="
                f"{self.statistic}, which takes all samples, got 'omit'; pass statistic='mean'"
            )
        how = estimator(
            self.covariate, self.sampler, self.antithetic, self.num_samples, self.statistic
        )
        object.__setattr__(self, "estimator", how)
