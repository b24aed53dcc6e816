"""Schedules of the scale."""

import abc
import math
import numbers
from collections.abc import Iterable
from typing import Any, final

from torch import nn

from .._checks import check_int
from ._smoothing_layer import AbstractSmoothingLayer


class AbstractScaleSchedule(abc.ABC):
    """Sets the scale of smoothing layers to a function of the number of steps.

    It steps like a scheduler of `torch.optim.lr_scheduler`: the scales are set for step 0 when it
    is made, and for the next one by every `step()`. They are changed in place, so that compiled
    layers and captured CUDA graphs see the new values and nothing is compiled again. What is
    restored by `load_state_dict` goes on bit for bit.

    **Arguments:**

    - `layers`: a smoothing layer, a module that holds some, at any depth, or an iterable of both.

    **Raises:** a TypeError if `layers` is something else; a ValueError if it holds no smoothing
    layer, or one whose scale is learned, is a matrix or has more than one element.

    **Subclassing.** Subclasses are final and implement `scale_at`, a function of the step and of
    attributes that they set before they call `super().__init__(layers)`. These attributes are what
    `state_dict` saves, so they are plain numbers.

    >>> import torchsmooth as ts
    >>> class Reciprocal(ts.nn.AbstractScaleSchedule):
    ...     def scale_at(self, step):
    ...         return 1 / (1 + step)
    >>> layer = ts.nn.ArgSort(ts.Logistic())
    >>> schedule = Reciprocal(layer)
    >>> schedule.step()
    >>> layer.scale
    tensor(0.5000)
    """

    last_step: int
    """How often `step` was called."""

    def __init__(self, layers: nn.Module | Iterable[nn.Module]) -> None:
        self._layers = _find(layers)
        self.last_step = 0
        self._set()

    @abc.abstractmethod
    def scale_at(self, step: int) -> float:
        """The scale after that many steps, a positive number."""

    def step(self) -> None:
        """Goes on to the next scale."""
        self.last_step += 1
        self._set()

    def get_last_scale(self) -> float:
        """The scale as it is now, before it is rounded to the type of a layer."""
        return self.scale_at(self.last_step)

    def state_dict(self) -> dict[str, Any]:
        """All but the layers: the step, and what the schedule was made with."""
        return {name: value for name, value in vars(self).items() if name != "_layers"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the schedule of that `state_dict` was, and sets the scales accordingly.

        Raises a `ValueError` if it is the `state_dict` of another kind of schedule.
        """
        expected, got = sorted(self.state_dict()), sorted(state_dict)
        if expected != got:
            raise ValueError(
                f"state_dict must have the keys {expected}, got {got}; pass one that "
                f"{type(self).__name__}.state_dict() returned"
            )
        vars(self).update(state_dict)
        self._set()

    def _set(self) -> None:
        scale = self.get_last_scale()
        for layer in self._layers:
            layer.scale = scale


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
        scale: float = self.start ** (1 - t) * self.end**t
        return scale


def _find(layers: nn.Module | Iterable[nn.Module]) -> list[AbstractSmoothingLayer[..., Any]]:
    expected = "layers must be a module or an iterable of modules"
    try:
        roots = [layers] if isinstance(layers, nn.Module) else list(layers)
    except TypeError:
        raise TypeError(f"{expected}, got {type(layers).__name__}; pass the model") from None
    # A layer that is shared is found once.
    found: dict[AbstractSmoothingLayer[..., Any], str] = {}
    for root in roots:
        if not isinstance(root, nn.Module):
            raise TypeError(
                f"{expected}, got one that holds a {type(root).__name__}; pass the model"
            )
        for name, module in root.named_modules():
            if isinstance(module, AbstractSmoothingLayer):
                found.setdefault(module, name)
    if not found:
        raise ValueError(
            "layers must hold a smoothing layer, such as torchsmooth.nn.ArgSort, got none; pass "
            "the model that holds them"
        )
    for layer, name in found.items():
        _check(layer, type(layer).__name__ + (f" ({name})" if name else ""))
    return list(found)


def _check(layer: AbstractSmoothingLayer[..., Any], which: str) -> None:
    if layer.learn_scale:
        raise ValueError(
            f"layers must not hold one with a learned scale, which an optimizer sets too, got "
            f"{which} with learn_scale=True; pass a list of the other layers"
        )
    scale = layer.scale
    if scale is None or scale.numel() != 1:
        got = "a scale_matrix" if scale is None else f"a scale of shape {list(scale.shape)}"
        raise ValueError(
            f"layers must hold those whose scale is one number, got {which} with {got}; assign to "
            "its scale in the training loop, and pass a list of the other layers"
        )


def _check_positive(value: object, name: str) -> float:
    expected = f"{name} must be a number, finite and positive"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{expected}, got {value!r}; pass for example 0.1")
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{expected}, got {value!r}; pass for example 0.1")
    return number
