"""The contract of what sampling needs of a law."""

import abc
import copy
import math
from typing import ClassVar, TypeVar, final

import torch
from torch import Tensor

from ._numeric import divide, solve
from ._operands import describe, types
from ._scale import check_scale
from ._traits import Traits


L = TypeVar("L", bound="AbstractLaw")


class AbstractLaw(abc.ABC):
    """A law of noise at location 0, with its scale: what can be computed from its density.

    **Subclassing.** `traits`, and at scale 1 `draw`, `_cdf`, `_icdf`, `_log_prob` and `_score`,
    elementwise and differentiable, for float32 and float64.
    """

    name: ClassVar[str | None]
    """The law's name in the compiled kernels; None if they do not know it."""

    scale: float | Tensor | None
    """None with a scale matrix."""
    scale_matrix: Tensor | None

    @final
    def cdf(self, x: Tensor) -> Tensor:
        """P(noise <= x), elementwise.

        **Arguments:** `x`: a tensor that broadcasts against the scale, of any floating-point type;
        float16 and bfloat16 compute in float32.

        **Returns:** a tensor of the broadcast shape. Both tails are accurate as far as numbers near
        0 and 1 can tell. Raises a `ValueError` with a `scale_matrix`.
        """
        z, dtype = self._standardise(x, self._elementwise_scale("cdf"))
        return self._cdf(z).to(dtype)

    @final
    def icdf(self, u: Tensor) -> Tensor:
        """The quantile function, elementwise: NaN outside [0, 1], the ends of the support at 0, 1.

        **Arguments:** `u`: a tensor that broadcasts against the scale, of any floating-point type.

        **Returns:** a tensor of the broadcast shape. The derivative is 1/density, except at u = 0
        and 1, where it is set to 0. Raises a `ValueError` with a `scale_matrix`.
        """
        scale = self._elementwise_scale("icdf")
        dtype, compute = types(u, scale, "u")
        noise = self._icdf(u.to(compute))
        if isinstance(scale, Tensor):
            # As in `divide`: 0 times an infinite quantile is not part of the scale's gradient.
            infinite = noise.isinf()
            finite = torch.where(infinite, 0.0, noise) * scale.to(compute)
            return torch.where(infinite, noise, finite).to(dtype)
        return (noise * scale).to(dtype)

    @final
    def log_prob(self, x: Tensor) -> Tensor:
        """The logarithm of the density, -inf outside the support.

        **Arguments:** `x`: a tensor, of any floating-point type. With `scale`, it broadcasts
        against it; with `scale_matrix`, its last dimension is the event.

        **Returns:** with `scale`, the elementwise log density, of the broadcast shape; with
        `scale_matrix`, the joint log density of the event, without the last dimension.
        """
        if self.scale_matrix is not None:
            z, matrix, dtype = self._whiten(x, self.scale_matrix)
            logabsdet = torch.linalg.slogdet(matrix).logabsdet
            result: Tensor = (self._log_prob(z).sum(-1) - logabsdet).to(dtype)
            return result
        scale = self._elementwise_scale("log_prob")
        z, dtype = self._standardise(x, scale)
        log_scale = scale.to(z.dtype).log() if isinstance(scale, Tensor) else math.log(scale)
        log_density: Tensor = self._log_prob(z) - log_scale
        return log_density.to(dtype)

    @final
    def score(self, x: Tensor) -> Tensor:
        """The derivative of -log density; 0 outside the support and where it is undefined.

        **Arguments:** `x`: as for `log_prob`.

        **Returns:** a tensor of the broadcast shape; with `scale_matrix` L it is
        L^-T score(L^-1 x), the gradient over the event.
        """
        if self.scale_matrix is not None:
            z, matrix, dtype = self._whiten(x, self.scale_matrix)
            return solve(matrix.mT, self._score(z)).to(dtype)
        scale = self._elementwise_scale("score")
        z, dtype = self._standardise(x, scale)
        divisor = scale.to(z.dtype) if isinstance(scale, Tensor) else scale
        return (self._score(z) / divisor).to(dtype)

    @final
    def mean(self) -> float | Tensor:
        """The expectation of the noise, of the shape of the scale.

        Raises a `ValueError` if there is none (Cauchy), or with a `scale_matrix`.
        """
        mean = self._standard_mean()
        if mean is None:
            raise ValueError(
                "distribution must have a mean, because without one the expectation of an "
                f"unbounded function does not exist, got {self!r}; use Logistic or Gaussian"
            )
        return mean * self._elementwise_scale("mean")

    @final
    def check_second_derivative(self) -> None:
        """Raises a `ValueError` unless scores and their slopes tell the second derivatives.

        They miss what stands at kinks of the density, where its second derivative is a point mass.
        """
        if self.traits.kinks is not None:
            raise ValueError(
                "a second derivative needs a distribution whose density has no kink, got "
                f"{self!r}, whose density has one {self.traits.kinks}: a point mass of its second "
                "derivative that no sample meets; use Gaussian, Logistic, Gumbel or Cauchy"
            )

    @final
    def with_scale(self: L, scale: float | Tensor) -> L:
        """The same law with another scale.

        **Arguments:** `scale`: as for the class; it takes the place of scale or scale_matrix.
        """
        law = copy.copy(self)
        law.scale, law.scale_matrix = check_scale(scale), None
        return law

    @abc.abstractmethod
    def draw(
        self,
        words: Tensor,  # int64, in [0, 2^32)
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Noise of scale 1 and its score, for the uniform numbers (words + 1/2) / 2^32."""

    @property
    @abc.abstractmethod
    def traits(self) -> Traits:
        """The properties of the law at scale 1."""

    @abc.abstractmethod
    def _cdf(self, z: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _icdf(self, u: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _log_prob(self, z: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _joint_log_prob(self, z: Tensor) -> Tensor:  # [..., n] -> [...]
        """That of an event, flattened."""

    @abc.abstractmethod
    def _score(self, z: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _standard_mean(self) -> float | Tensor | None:
        """The mean at scale 1; None if there is none."""

    @final
    def _elementwise_scale(self, method: str) -> float | Tensor:
        if self.scale is None:
            raise ValueError(
                f"{method} is elementwise, but scale_matrix mixes the dimensions of the event; "
                f"use scale=, or log_prob and score, which act on whole events"
            )
        return self.scale

    @final
    def _standardise(self, x: Tensor, scale: float | Tensor) -> tuple[Tensor, torch.dtype]:
        dtype, compute = types(x, scale)
        scale = scale.to(compute) if isinstance(scale, Tensor) else scale
        return divide(x.to(compute), scale), dtype

    @final
    def _whiten(self, x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
        dtype, compute = types(x, matrix)
        if x.ndim == 0 or x.shape[-1] != matrix.shape[-1]:
            raise ValueError(
                f"x must have a last dimension of size {matrix.shape[-1]}, as scale_matrix has, "
                f"got {describe(x)}; flatten the event into the last dimension"
            )
        matrix = matrix.to(compute)
        return solve(matrix, x.to(compute)), matrix, dtype
