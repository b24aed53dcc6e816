"""The base of all layers with noise: a law, its scale as state, and the mode after `eval()`."""

import abc
import copy
import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .._checks import check_bool, check_distribution
from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution, Gaussian
from ._layer import AbstractLayer, P, R
from ._scale import LogCholesky, exp_in_range, own_scale


EvalMode = Literal["smooth", "hard"]


class AbstractSmoothingLayer(AbstractLayer[P, R]):
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
        of parameters without it.

        A learned `scale_matrix` L is written as C Q, with C lower triangular, its diagonal
        positive, and Q orthogonal. C is learned: the parameter `log_cholesky` holds its entries,
        with the logarithms of the diagonal, so that L stays invertible. Q is the buffer
        `fixed_rotation`: the identity if the given matrix is lower triangular with a positive
        diagonal. Learning reaches every covariance, that is every product of L with its transpose.
        Under a Gaussian that is every law of the noise. Under other laws L and a rotated L differ,
        and only the matrices C Q with this Q are reached.
    - `eval_mode`: what `forward` computes after `module.eval()`: "smooth", the same as in training,
        or "hard", the exact algorithm (soft in training, hard in use).

    **Raises:** TypeError or ValueError if an argument is not what is said above.

    **Subclassing.** Subclasses are final or abstract. Final ones implement `_smooth` and `_hard`,
    which get what the layer is called with, and name their own options in `_options`. `_smooth`
    gives `self.distribution` to a function of torchsmooth, anew in every call.
    """

    learn_scale: bool
    log_scale: Tensor
    log_cholesky: Tensor
    fixed_scale: Tensor
    fixed_scale_matrix: Tensor
    fixed_rotation: Tensor

    def __init__(
        self,
        distribution: AbstractDistribution,
        *,
        learn_scale: bool = False,
        eval_mode: EvalMode = "smooth",
    ) -> None:
        super().__init__()
        law = copy.copy(check_distribution(distribution))
        self.learn_scale = check_bool(learn_scale, "learn_scale")
        self.eval_mode = eval_mode
        if law.scale_matrix is not None:
            matrix = own_scale(law.scale_matrix, "scale_matrix")
            if learn_scale:
                logarithms, rotation = LogCholesky.of(matrix)
                self.log_cholesky = nn.Parameter(logarithms)
                self.register_buffer("fixed_rotation", rotation)
            else:
                self.register_buffer("fixed_scale_matrix", matrix)
        else:
            assert law.scale is not None  # exactly one of the two is given
            scale = own_scale(law.scale, "scale")
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
        return exp_in_range(self.log_scale) if self.learn_scale else self.fixed_scale

    @scale.setter
    def scale(self, scale: float | Tensor) -> None:
        if self._has_matrix:
            raise ValueError(
                "scale must not be set for a layer with a scale_matrix, which takes its place; "
                "assign to layer.scale_matrix"
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
        _check_expands(value, state, "scale")
        _fill(state, value.log() if self.learn_scale else value)

    @property
    def scale_matrix(self) -> Tensor | None:
        """The matrix that mixes the dimensions of the noise; None with a `scale`.

        It is differentiable if it is learned. Assigning a matrix changes it in place.

        >>> import torch, torchsmooth as ts
        >>> noise = ts.Gaussian(scale_matrix=torch.tensor([[0.5, 0.0], [0.2, 0.8]]))
        >>> layer = ts.nn.ArgSort(noise, learn_scale=True)
        >>> layer.scale_matrix.detach()
        tensor([[0.5000, 0.0000],
                [0.2000, 0.8000]])
        """
        if not self._has_matrix:
            return None
        if self.learn_scale:
            return LogCholesky(self.log_cholesky, self.fixed_rotation).matrix()
        return self.fixed_scale_matrix

    @scale_matrix.setter
    def scale_matrix(self, scale_matrix: Tensor) -> None:
        if not self._has_matrix:
            raise ValueError(
                "scale_matrix must not be set for a layer with a scale, which takes its place; "
                "assign to layer.scale, or make a new layer"
            )
        state = self.log_cholesky if self.learn_scale else self.fixed_scale_matrix
        checked = Gaussian(scale_matrix=scale_matrix).scale_matrix  # a law checks its matrix
        assert checked is not None
        value = checked.detach().to(state.dtype)
        _check_expands(value, state, "scale_matrix")
        if self.learn_scale:
            value, rotation = LogCholesky.of(value)
            _fill(self.fixed_rotation, rotation)
        _fill(state, value)

    @property
    def distribution(self) -> AbstractDistribution:
        """The law of the noise with the scale as it is now."""
        # A copy instead of a new law, whose checks would read the scale in every call.
        law = copy.copy(self._law)
        law.scale, law.scale_matrix = self.scale, self.scale_matrix
        return law

    @property
    def eval_mode(self) -> EvalMode:
        """The mode of `forward` after `eval()`: "smooth" or "hard"."""
        return self._eval_mode

    @eval_mode.setter
    def eval_mode(self, eval_mode: EvalMode) -> None:
        modes = get_args(EvalMode)
        if eval_mode not in modes:
            raise ValueError(
                f"eval_mode must be one of {', '.join(map(repr, modes))}, got {eval_mode!r}; "
                "pass 'hard' for the exact algorithm after module.eval()"
            )
        self._eval_mode: EvalMode = eval_mode

    def _compute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.eval_mode == "hard" and not self.training:
            return self._hard(*args, **kwargs)
        return self._smooth(*args, **kwargs)

    @abc.abstractmethod
    def _smooth(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The smoothed algorithm under `self.distribution`."""

    @abc.abstractmethod
    def _hard(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The exact algorithm, in the shapes of the smoothed one."""

    def _expand_to_scale(self, *tensors: Tensor) -> list[Tensor]:
        """For exact algorithms: the dimensions of the scale, which smoothed results have too."""
        scale = self.scale
        assert scale is not None  # the functions that need this refuse a scale_matrix
        expanded: list[Tensor]
        *expanded, _ = torch.broadcast_tensors(*tensors, scale)
        return expanded

    def extra_repr(self) -> str:
        law = self.distribution
        scale = None if law.scale is None else torch.as_tensor(law.scale).detach()
        if scale is not None and scale.numel() == 1 and values_are_readable(scale):
            law.scale = float(f"{scale.item():.6g}")  # the digits that float32 holds
        options = super().extra_repr()
        text = f"{law}, learn_scale={self.learn_scale}, eval_mode={self.eval_mode!r}"
        return f"{text}, {options}" if options else text


def _check_expands(value: Tensor, state: Tensor, name: str) -> None:
    try:
        value.expand(state.shape)
    except RuntimeError:
        raise ValueError(
            f"{name} must broadcast against that of the layer, {list(state.shape)}, got shape "
            f"{list(value.shape)}; make a new layer for another shape"
        ) from None


def _fill(state: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        if value.ndim == 0:
            state.fill_(value)  # a number is no copy from the host, so that it can be captured
        else:
            state.copy_(value)
