"""What all schedules of the scale share."""

import abc
from collections.abc import Iterable
from typing import Any

from torch import nn

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


def _find(layers: nn.Module | Iterable[nn.Module]) -> list[AbstractSmoothingLayer]:
    expected = "layers must be a module or an iterable of modules"
    try:
        roots = [layers] if isinstance(layers, nn.Module) else list(layers)
    except TypeError:
        raise TypeError(f"{expected}, got {layers!r}; pass the model") from None
    found: dict[AbstractSmoothingLayer, str] = {}  # a layer that is shared is found once
    for root in roots:
        if not isinstance(root, nn.Module):
            raise TypeError(f"{expected}, got one that holds {root!r}; pass the model")
        for name, module in root.named_modules():
            if isinstance(module, AbstractSmoothingLayer):
                found.setdefault(module, name or "it")
    if not found:
        raise ValueError(
            "layers must hold a smoothing layer, such as torchsmooth.nn.ArgSort, got none; pass "
            "the model that holds them"
        )
    for layer, name in found.items():
        _check(layer, f"layers: the scale of {type(layer).__name__} ({name})")
    return list(found)


def _check(layer: AbstractSmoothingLayer, which: str) -> None:
    if layer.learn_scale:
        raise ValueError(
            f"{which} must not be learned, because the schedule and the optimizer would both set "
            "it, got learn_scale=True; pass a list of the other layers"
        )
    scale = layer.scale
    if scale is None:
        raise ValueError(
            f"{which} must be one number, got a scale_matrix; pass a list of the other layers"
        )
    if scale.numel() != 1:
        raise ValueError(
            f"{which} must be one number, got shape {list(scale.shape)}; assign to its scale in "
            "the training loop, or pass a list of the other layers"
        )
