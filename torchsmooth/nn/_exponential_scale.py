"""A scale that falls, or grows, by the same factor in every step."""

import math
import numbers
from collections.abc import Iterable
from typing import final

from torch import nn

from .._checks import check_int
from ._scale_schedule import AbstractScaleSchedule


@final
class ExponentialScale(AbstractScaleSchedule):
    """Takes the scale from `start` to `end`, by the same factor in every step, and stays there.

    After k steps the scale is start^(1 - t) end^t with t = min(k / num_steps, 1). Much noise first
    gives gradients that see far, little noise later a bias that vanishes.

    **Arguments:**

    - `layers`: as for `AbstractScaleSchedule`.
    - `start`, `end`: numbers, finite and positive.
    - `num_steps`: how many steps lead from one to the other, at least 1.

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    >>> import torch, torchsmooth as ts
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), ts.nn.ArgSort(ts.Logistic()))
    >>> schedule = ts.nn.ExponentialScale(model, start=1.0, end=0.25, num_steps=2)
    >>> for _ in range(3):
    ...     schedule.step()
    ...     print(schedule.get_last_scale())
    0.5
    0.25
    0.25
    """

    def __init__(
        self, layers: nn.Module | Iterable[nn.Module], start: float, end: float, num_steps: int
    ) -> None:
        self.start = _check_positive(start, "start")
        self.end = _check_positive(end, "end")
        self.num_steps = check_int(num_steps, "num_steps", 1, 1000)
        super().__init__(layers)

    def scale_at(self, step: int) -> float:
        t = min(step / self.num_steps, 1.0)
        return self.start ** (1 - t) * self.end**t


def _check_positive(value: object, name: str) -> float:
    expected = f"{name} must be a number, finite and positive"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{expected}, got {value!r}; pass for example 0.1")
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{expected}, got {value!r}; pass for example 0.1")
    return number
