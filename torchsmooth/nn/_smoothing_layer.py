"""What all layers share: a law, its scale as state, and what they are after `eval()`."""

import abc
import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_bool, check_distribution
from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution, Gaussian


EVAL_MODES = ("smooth", "hard")


class AbstractSmoothingLayer(nn.Module, abc.ABC):
    """A layer that replaces an algorithm by its smoothed twin and owns the scale of the noise.

    **Arguments:**

    - `distribution`: the law of the noise. Its scale is copied into the layer, as a tensor of its
        own shape and type (a number: a scalar of torch's default type), and moves with the layer.
        It must not require grad: the layer's own copy is what an optimizer may change. Parameters
        of a `FromTorch` law are constants: they stay as they are.
    - `learn_scale`: False: the scale is a buffer, `fixed_scale`, or `fixed_scale_matrix` for a law
        with a `scale_matrix`. True: a parameter, `log_scale`, of which the scale is the
        exponential, clamped to what the parameter's type holds. So the scale is positive and finite
        after every step of every optimizer. A step changes it by a factor, which means the same for
        a scale of 0.01 and one of 100; under softplus it would be a factor for small scales and a
        difference for large ones. Weight decay pulls the scale to 1: put `log_scale` into a group
        of parameters without it. A `scale_matrix` cannot be learned: no such parameter reaches all
        matrices and keeps them invertible.
    - `eval_mode`: what `forward` computes after `module.eval()`: "smooth", the same as in training,
        or "hard", the exact algorithm (soft in training, hard in use).

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    **Subclassing.** Subclasses are final or abstract. Final ones implement `_smooth` and `_hard`,
    which get what `forward` is called with, and extend `extra_repr` by their own options. `_smooth`
    gives `self.distribution` to a function of torchsmooth, anew in every call.
    """

    learn_scale: bool
    log_scale: Tensor
    fixed_scale: Tensor
    fixed_scale_matrix: Tensor

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: str = "smooth",
    ) -> None:
        super().__init__()
        law = copy.copy(check_distribution(distribution))
        self.learn_scale = check_bool(learn_scale, "learn_scale")
        self.eval_mode = eval_mode
        if law.scale_matrix is not None:
            if learn_scale:
                raise ValueError(
                    "learn_scale must be False for a distribution with a scale_matrix, which would "
                    "not stay invertible in every step of an optimizer, got True; pass one scale "
                    "per dimension as scale=, or learn the matrix through torchsmooth.smooth"
                )
            matrix = _own(law.scale_matrix, "scale_matrix")
            self.register_buffer("fixed_scale_matrix", matrix)
        else:
            assert law.scale is not None  # exactly one of the two is given
            scale = _own(law.scale, "scale")
            if learn_scale:
                self.log_scale = nn.Parameter(scale.log())
            else:
                self.register_buffer("fixed_scale", scale)
        # The law alone; `distribution` puts the state in.
        self._has_matrix = law.scale_matrix is not None
        law.scale = law.scale_matrix = None
        self._law = law

    @property
    def scale(self) -> Tensor | None:
        """The scale of the noise, differentiable if it is learned; None with a `scale_matrix`.

        Assigning a number or a tensor that broadcasts against it changes its values in place: what
        is compiled or captured with the layer sees the new ones, and nothing is compiled again.

        >>> import torchsmooth as ts
        >>> layer = ts.nn.ArgSort(ts.Logistic(scale=0.5))
        >>> layer.scale = 0.25
        >>> layer.scale
        tensor(0.2500)
        """
        if self._has_matrix:
            return None
        if not self.learn_scale:
            return self.fixed_scale
        info = torch.finfo(self.log_scale.dtype)
        return self.log_scale.clamp(math.log(info.tiny) + 1, math.log(info.max) - 1).exp()

    @scale.setter
    def scale(self, scale: float | Tensor) -> None:
        if self._has_matrix:
            raise ValueError(
                "scale must not be set for a layer with a scale_matrix, which takes its place; "
                "fill layer.scale_matrix in place"
            )
        state = self.log_scale if self.learn_scale else self.fixed_scale
        checked = Gaussian(scale).scale  # a law checks its scale; any law will do
        # On the device of what came: no other one is waited for.
        value = torch.as_tensor(checked, dtype=state.dtype).detach()
        if values_are_readable(value) and not bool(((value > 0) & (value < math.inf)).all()):
            raise ValueError(
                f"scale must be finite and positive in the layer's type, {state.dtype}, got "
                f"{scale!r}, which is not; convert the layer with .float()"
            )
        try:
            value.expand(state.shape)
        except RuntimeError:
            raise ValueError(
                f"scale must broadcast against that of the layer, {list(state.shape)}, got shape "
                f"{list(value.shape)}; make a new layer for another shape"
            ) from None
        value = value.log() if self.learn_scale else value
        with torch.no_grad():
            if value.ndim == 0:
                state.fill_(value)  # a number is no copy from the host, so that it can be captured
            else:
                state.copy_(value)

    @property
    def scale_matrix(self) -> Tensor | None:
        """The matrix that mixes the dimensions of the noise; None with a `scale`."""
        return self.fixed_scale_matrix if self._has_matrix else None

    @property
    def distribution(self) -> AbstractDistribution:
        """The law of the noise with the scale as it is now."""
        # A copy instead of a new law, whose checks would read the scale in every call.
        law = copy.copy(self._law)
        law.scale, law.scale_matrix = self.scale, self.scale_matrix
        return law

    @property
    def eval_mode(self) -> str:
        """What `forward` computes after `eval()`: "smooth" or "hard"."""
        return self._eval_mode

    @eval_mode.setter
    def eval_mode(self, eval_mode: str) -> None:
        if eval_mode not in EVAL_MODES:
            raise ValueError(
                f"eval_mode must be one of {', '.join(map(repr, EVAL_MODES))}, got {eval_mode!r}; "
                "pass 'hard' for the exact algorithm after module.eval()"
            )
        self._eval_mode = eval_mode

    def forward(self, *args: Any) -> Any:
        """The smoothed algorithm, or the exact one in evaluation with `eval_mode="hard"`."""
        if self.eval_mode == "hard" and not self.training:
            return self._hard(*args)
        return self._smooth(*args)

    @abc.abstractmethod
    def _smooth(self, *args: Any) -> Any:
        """The smoothed algorithm under `self.distribution`."""

    @abc.abstractmethod
    def _hard(self, *args: Any) -> Any:
        """The exact algorithm, in the shapes of the smoothed one."""

    def extra_repr(self) -> str:
        law = self.distribution
        scale = None if law.scale is None else torch.as_tensor(law.scale).detach()
        if scale is not None and scale.numel() == 1 and values_are_readable(scale):
            law.scale = float(f"{scale.item():.6g}")  # the digits that float32 holds
        return f"{law}, learn_scale={self.learn_scale}, eval_mode={self.eval_mode!r}"


def _own(value: float | Tensor, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.tensor(value, dtype=torch.get_default_dtype())
    if value.requires_grad:
        raise ValueError(
            f"{name} must not require grad, because the layer owns a copy that its gradient would "
            f"not leave, got a tensor that does; pass {name}.detach(), with learn_scale=True if it "
            "is to be learned, or use torchsmooth.functional"
        )
    return value.clone()
