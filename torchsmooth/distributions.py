"""The laws of the noise.

Every law has location 0. `cdf`, `icdf`, `log_prob` and `score` include the scale, as in
`torch.distributions`, and are plain differentiable PyTorch; `draw` turns the words of a sampler
into noise of scale 1 and its score, exactly as the compiled kernels do.

A law is a final class with a handful of functions at scale 1 (see `AbstractDistribution`). One
that kernels shall know too also needs its struct in `csrc/core/distributions.h` and a line in
`LAWS` here.
"""

import abc
import copy
import math
import numbers
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution, constraints
from torch.distributions.transforms import Transform


_WORDS = 2**32
_HALF = (torch.float16, torch.bfloat16)


def values_are_readable(tensor: Tensor) -> bool:
    """Whether looking at the tensor's values costs nothing and breaks nothing.

    That is: on the CPU, in eager mode, and not a stand-in for other values (fake tensors and other
    subclasses, tensors under `torch.func` transforms).
    """
    return (
        not torch.compiler.is_compiling()
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def _describe(tensor: Tensor) -> str:
    return f"a {tensor.dtype} tensor of shape {tuple(tensor.shape)}"


def _check_scale(scale: object) -> float | Tensor:
    expected = "scale must be a number or a floating-point tensor, finite and positive"
    if isinstance(scale, Tensor):
        if not scale.dtype.is_floating_point:
            raise TypeError(f"{expected}, got {_describe(scale)}; convert it with .float()")
        if values_are_readable(scale):
            values = scale.detach()
            if not bool(((values > 0) & (values < math.inf)).all()):
                raise ValueError(
                    f"{expected}, got {_describe(scale)} that holds other values; parametrise "
                    "it so that it stays positive, for example as log_scale.exp()"
                )
        return scale
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real):
        raise TypeError(f"{expected}, got {scale!r}; pass a float or a tensor")
    number = float(scale)
    if not 0 < number < math.inf:
        raise ValueError(f"{expected}, got {scale!r}; pass a number such as 0.1")
    return number


def _is_singular(matrix: Tensor) -> bool:
    # Rows and columns are brought to size 1 first, so that diag(1e-30, 1) counts as invertible;
    # then a pivot no larger than a few rounding errors is no pivot.
    m = matrix.detach()
    m = m.float() if m.dtype in _HALF else m
    m = m / m.abs().amax(-1, keepdim=True)
    m = m / m.abs().amax(-2, keepdim=True)
    if not bool(m.isfinite().all()):  # a row or a column of zeros
        return True
    lu, _, info = torch.linalg.lu_factor_ex(m)
    smallest = lu.diagonal(dim1=-2, dim2=-1).abs().amin(-1)
    return bool(((info != 0) | (smallest <= 10 * torch.finfo(matrix.dtype).eps)).any())


def _check_scale_matrix(matrix: object) -> Tensor:
    expected = "scale_matrix must be a finite, invertible floating-point tensor [..., n, n]"
    if not isinstance(matrix, Tensor):
        raise TypeError(f"{expected}, got {matrix!r}; pass a tensor, or a number as scale=")
    if not matrix.dtype.is_floating_point:
        raise TypeError(f"{expected}, got {_describe(matrix)}; convert it with .float()")
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(
            f"{expected}, got {_describe(matrix)}; for one scale per dimension use scale="
        )
    if values_are_readable(matrix) and matrix.numel() > 0:
        if not bool(matrix.detach().isfinite().all()):
            raise ValueError(
                f"{expected}, got {_describe(matrix)} with NaN or infinite entries; check where "
                "it was computed"
            )
        if _is_singular(matrix):
            raise ValueError(
                f"{expected}, got {_describe(matrix)} that is singular to rounding; noise of a "
                "singular matrix has no density, so add a multiple of the identity"
            )
    return matrix


def _divide(x: Tensor, scale: float | Tensor) -> Tensor:
    if not isinstance(scale, Tensor):
        return x / scale
    # The derivative of an infinite quotient in the scale is infinite; times a slope of 0, NaN.
    infinite = (x / scale).isinf()
    infinity = torch.where(x > 0, math.inf, -math.inf).to(x.dtype)
    return torch.where(infinite, x + infinity, torch.where(infinite, 0.0, x) / scale)


def _solve(matrix: Tensor, x: Tensor) -> Tensor:
    batch = torch.broadcast_shapes(matrix.shape[:-2], x.shape[:-1])
    columns = x.expand(*batch, x.shape[-1]).unsqueeze(-1)
    # solve_ex, because solve waits for the device to tell whether the matrix is singular.
    return torch.linalg.solve_ex(matrix, columns).result.squeeze(-1)


def _horner(x: Tensor, *coefficients: float) -> Tensor:
    result = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def _fold(z: Tensor) -> tuple[Tensor, Tensor]:
    """(z < 0, |z|), where |z| has a one-sided derivative at 0 instead of abs's zero."""
    negative = z < 0
    return negative, torch.where(negative, -z, z)


def _unfold(lower: Tensor, tail: Tensor) -> Tensor:
    """The probability whose distance from the nearer of 0 and 1 is `tail`."""
    return torch.where(lower, tail, 1 - tail)


class AbstractDistribution(abc.ABC):
    """A law for the noise, at location 0.

    `scale` is a number or a tensor that broadcasts against the event (or batch x event);
    `scale_matrix` an invertible matrix `[..., n, n]` that mixes the n dimensions of the event. At
    most one of them is given; without both the scale is 1. If either is a tensor that requires
    grad, smoothing differentiates with respect to it.

    **Subclassing.** Subclasses are final and implement, at scale 1: `_cdf`, `_icdf`, `_log_prob`,
    `_score` (elementwise and differentiable, for float32 and float64) and `draw`. Laws that are
    simple functions of the distance of u from the nearer end of (0, 1) derive from
    `AbstractTailLaw`, which needs one function for both `_icdf` and `draw`.
    """

    name: ClassVar[str | None]
    """What the compiled kernels call the law; None if they do not know it."""

    scale: float | Tensor | None
    scale_matrix: Tensor | None

    def __init__(
        self,
        scale: float | Tensor | None = None,
        *,
        scale_matrix: Tensor | None = None,  # [..., n, n]
    ) -> None:
        if scale is not None and scale_matrix is not None:
            raise ValueError(
                "scale and scale_matrix exclude each other, but both were given; multiply the "
                "matrix by the scale instead"
            )
        if scale_matrix is None:
            self.scale = _check_scale(1.0 if scale is None else scale)
            self.scale_matrix = None
        else:
            self.scale = None
            self.scale_matrix = _check_scale_matrix(scale_matrix)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._repr_scale()})"

    def _repr_scale(self) -> str:
        name = "scale" if self.scale_matrix is None else "scale_matrix"
        value = getattr(self, name)
        # The values of a tensor stay out: they may be many, or on a busy device.
        return (
            f"{name}=<{_describe(value)[2:]}>" if isinstance(value, Tensor) else f"{name}={value}"
        )

    def cdf(self, x: Tensor) -> Tensor:
        """P(noise <= x), elementwise.

        **Arguments:** `x`: a tensor that broadcasts against the scale, of any floating-point type;
        float16 and bfloat16 compute in float32.

        **Returns:** a tensor of the broadcast shape. Both tails are accurate as far as numbers near
        0 and 1 can tell. Raises a `ValueError` with a `scale_matrix`.
        """
        z, dtype = self._standardise(x, self._elementwise_scale("cdf"))
        return self._cdf(z).to(dtype)

    def icdf(self, u: Tensor) -> Tensor:
        """The quantile function, elementwise: NaN outside [0, 1], the ends of the support at 0, 1.

        **Arguments:** `u`: a tensor that broadcasts against the scale, of any floating-point type.

        **Returns:** a tensor of the broadcast shape. The derivative is 1/density, except at u = 0
        and 1, where it is set to 0. Raises a `ValueError` with a `scale_matrix`.
        """
        scale = self._elementwise_scale("icdf")
        dtype, compute = _types(u, scale, "u")
        noise = self._icdf(u.to(compute))
        if isinstance(scale, Tensor):
            # As in _divide: 0 times an infinite quantile is not part of the scale's gradient.
            infinite = noise.isinf()
            finite = torch.where(infinite, 0.0, noise) * scale.to(compute)
            return torch.where(infinite, noise, finite).to(dtype)
        return (noise * scale).to(dtype)

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
            return (self._log_prob(z).sum(-1) - logabsdet).to(dtype)
        scale = self._elementwise_scale("log_prob")
        z, dtype = self._standardise(x, scale)
        log_scale = scale.to(z.dtype).log() if isinstance(scale, Tensor) else math.log(scale)
        return (self._log_prob(z) - log_scale).to(dtype)

    def score(self, x: Tensor) -> Tensor:
        """The derivative of -log density; 0 outside the support and where it is undefined.

        **Arguments:** `x`: as for `log_prob`.

        **Returns:** a tensor of the broadcast shape; with `scale_matrix` L it is
        L^-T score(L^-1 x), the gradient over the event.
        """
        if self.scale_matrix is not None:
            z, matrix, dtype = self._whiten(x, self.scale_matrix)
            return _solve(matrix.mT, self._score(z)).to(dtype)
        scale = self._elementwise_scale("score")
        z, dtype = self._standardise(x, scale)
        return (self._score(z) / (scale.to(z.dtype) if isinstance(scale, Tensor) else scale)).to(
            dtype
        )

    @abc.abstractmethod
    def draw(
        self,
        words: Tensor,  # int64, in [0, 2^32)
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Noise of scale 1 and its score, for the uniform numbers (words + 1/2) / 2^32."""

    @abc.abstractmethod
    def _cdf(self, z: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _icdf(self, u: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _log_prob(self, z: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _score(self, z: Tensor) -> Tensor: ...

    def _elementwise_scale(self, method: str) -> float | Tensor:
        if self.scale is None:
            raise ValueError(
                f"{method} is elementwise, but scale_matrix mixes the dimensions of the event; "
                f"use scale=, or log_prob and score, which act on whole events"
            )
        return self.scale

    def _standardise(self, x: Tensor, scale: float | Tensor) -> tuple[Tensor, torch.dtype]:
        dtype, compute = _types(x, scale)
        scale = scale.to(compute) if isinstance(scale, Tensor) else scale
        return _divide(x.to(compute), scale), dtype

    def _whiten(self, x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
        dtype, compute = _types(x, matrix)
        if x.ndim == 0 or x.shape[-1] != matrix.shape[-1]:
            raise ValueError(
                f"x must have a last dimension of size {matrix.shape[-1]}, as scale_matrix has, "
                f"got {_describe(x)}; flatten the event into the last dimension"
            )
        matrix = matrix.to(compute)
        return _solve(matrix, x.to(compute)), matrix, dtype


def _types(x: object, scale: float | Tensor, name: str = "x") -> tuple[torch.dtype, torch.dtype]:
    """The type of the result, and the one to compute in."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {x!r}; convert it with torch.tensor")
    if x.is_complex():
        raise TypeError(f"{name} must be real, got {_describe(x)}; pass its real part")
    # What torch.result_type answers for x * scale; torch.compile cannot trace it.
    floating = x.is_floating_point()
    dtype = x.dtype if floating else torch.get_default_dtype()
    if isinstance(scale, Tensor):
        if not floating or (scale.ndim > 0 and x.ndim == 0):
            dtype = scale.dtype
        elif scale.ndim > 0 or x.ndim == 0:
            dtype = torch.promote_types(dtype, scale.dtype)
    return dtype, torch.float32 if dtype in _HALF else dtype


class AbstractTailLaw(AbstractDistribution):
    """A law whose quantiles are told from the distance of u to the nearer end of (0, 1).

    A float next to 1 resolves 2^-24, a float next to 0 far more: so both tails are reached, and
    each with full relative accuracy. Subclasses implement `_from_tail` in place of `_icdf` and
    `draw`, and say in `_support` where the noise lies.
    """

    _support: ClassVar[tuple[float, float]]

    @abc.abstractmethod
    def _from_tail(
        self,
        tail: Tensor,  # min(u, 1 - u), in (0, 1/2]
        upper: Tensor,  # u > 1/2
    ) -> tuple[Tensor, Tensor]:
        """icdf(u) and score(icdf(u))."""

    def draw(self, words: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        compute = torch.float32 if dtype in _HALF else dtype
        upper = words >= _WORDS // 2
        distance = torch.where(upper, _WORDS - 1 - words, words)
        noise, score = self._from_tail((distance.to(compute) + 0.5) * (1 / _WORDS), upper)
        return noise.to(dtype), score.to(dtype)

    def _icdf(self, u: Tensor) -> Tensor:
        # The ends are answered apart: the derivatives there are infinite, and their products NaN.
        inside = (u > 0) & (u < 1)
        upper = u > 0.5
        tail = torch.where(inside, torch.where(upper, 1 - u, u), 0.25)
        noise, _ = self._from_tail(tail, upper)
        lower_end, upper_end = self._support
        outside = torch.where(u == 0, lower_end, torch.where(u == 1, upper_end, math.nan))
        return torch.where(inside, noise, outside.to(u.dtype))


def _with_sign(upper: Tensor, magnitude: Tensor) -> Tensor:
    return torch.where(upper, magnitude, -magnitude)


@final
class Gaussian(AbstractTailLaw):
    """The normal law: density exp(-x^2 / 2) / sqrt(2 pi), score x, for scale 1.

    The scale is the standard deviation; with a `scale_matrix` L, the covariance is L L^T. Table 1
    of Petersen et al., "Generalizing Stochastic Smoothing for Differentiation and Gradient
    Estimation", 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Gaussian(2.0).score(torch.tensor([1.0, -4.0]))
    tensor([ 0.2500, -1.0000])
    """

    name = "gaussian"
    _support = (-math.inf, math.inf)

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        noise = _with_sign(upper, -torch.special.ndtri(tail))
        return noise, noise

    def _cdf(self, z: Tensor) -> Tensor:
        # torch.special.ndtr is (1 + erf) / 2, which loses the lower tail to cancellation.
        return 0.5 * torch.erfc(z * -math.sqrt(0.5))

    def _log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)

    def _score(self, z: Tensor) -> Tensor:
        return z


@final
class Logistic(AbstractTailLaw):
    """The logistic law: density exp(-x) / (1 + exp(-x))^2, score tanh(x / 2), for scale 1.

    Its distribution function is the sigmoid. Heavier tails than the Gaussian, and a bounded score.
    Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> x = torch.tensor([-0.3, 0.0, 0.6])
    >>> torch.allclose(ts.Logistic(0.3).cdf(x), torch.sigmoid(x / 0.3))
    True
    """

    name = "logistic"
    _support = (-math.inf, math.inf)

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        # log((1 - t) / t) without cancellation at t = 1/2, where it is 0.
        central = 2 * torch.atanh(1 - 2 * tail.clamp(min=0.25))
        outer = torch.log1p(-tail) - tail.log()
        magnitude = torch.where(tail < 0.25, outer, central)
        return _with_sign(upper, magnitude), _with_sign(upper, 1 - 2 * tail)

    def _cdf(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def _log_prob(self, z: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(z) + torch.nn.functional.logsigmoid(-z)

    def _score(self, z: Tensor) -> Tensor:
        return torch.tanh(0.5 * z)


@final
class Gumbel(AbstractTailLaw):
    """The Gumbel law: density exp(-x - exp(-x)), score 1 - exp(-x), for scale 1.

    The law of a maximum. It is not symmetric, and its mean is Euler's constant times the scale:
    the upper tail falls as exp(-x), the lower one as exp(-exp(-x)). An argmax smoothed by it is the
    softmax, an argsort the Plackett-Luce law. Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Gumbel().cdf(torch.tensor(0.0))  # 1/e, not 1/2
    tensor(0.3679)
    """

    name = "gumbel"
    _support = (-math.inf, math.inf)

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        log_u = torch.where(upper, torch.log1p(-tail), tail.log())
        return -torch.log(-log_u), 1 + log_u

    def _cdf(self, z: Tensor) -> Tensor:
        # Below -20 the value is 0 in every type, but the derivative would be 0 times infinity.
        return torch.exp(-torch.exp(-z.clamp(min=-20)))

    def _log_prob(self, z: Tensor) -> Tensor:
        # At -inf: inf - inf.
        lowest = z == -math.inf
        finite = torch.where(lowest, 0.0, z)
        return torch.where(lowest, z, -finite - torch.exp(-finite))

    def _score(self, z: Tensor) -> Tensor:
        return -torch.expm1(-z)


@final
class Cauchy(AbstractTailLaw):
    """The Cauchy law: density 1 / (pi (1 + x^2)), score 2x / (1 + x^2), for scale 1.

    It has no mean, so the smoothed function exists only where f grows slower than |x|; f must be
    bounded, or nearly so. The scale is the half width at half maximum. Table 1 of Petersen et al.,
    2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Cauchy(0.5).icdf(torch.tensor([0.25, 0.75]))
    tensor([-0.5000,  0.5000])
    """

    name = "cauchy"
    _support = (-math.inf, math.inf)

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        sine = torch.sin(math.pi * tail)
        cosine = torch.sin(math.pi * (0.5 - tail))
        return _with_sign(upper, cosine / sine), _with_sign(upper, 2 * sine * cosine)

    def _cdf(self, z: Tensor) -> Tensor:
        # 1/2 + atan(z) / pi would cancel in the lower tail.
        return torch.atan2(torch.ones_like(z), -z) / math.pi

    def _log_prob(self, z: Tensor) -> Tensor:
        large, small_z, large_z = self._split(z)
        log_square = torch.where(
            large,
            2 * large_z.abs().log() + torch.log1p(large_z.reciprocal().square()),
            torch.log1p(small_z.square()),
        )
        return -log_square - math.log(math.pi)

    def _score(self, z: Tensor) -> Tensor:
        large, small_z, large_z = self._split(z)
        y = torch.where(large, large_z.reciprocal(), small_z)  # the score is the same at z and 1/z
        return 2 * y / (1 + y.square())

    @staticmethod
    def _split(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whether z^2 could overflow, z where it could not, and z where it could (0 and 1 else)."""
        large = z.abs() > 1
        return large, torch.where(large, 0.0, z), torch.where(large, z, 1.0)


@final
class Laplace(AbstractTailLaw):
    """The Laplace law: density exp(-|x|) / 2, score sign(x), for scale 1.

    All samples have a score of the same size. The density has a kink at 0, where the score is set
    to 0. Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Laplace(0.5).score(torch.tensor([-3.0, 0.1]))
    tensor([-2.,  2.])
    """

    name = "laplace"
    _support = (-math.inf, math.inf)

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        magnitude = -torch.log(2 * tail)
        return _with_sign(upper, magnitude), _with_sign(upper, torch.ones_like(tail))

    def _cdf(self, z: Tensor) -> Tensor:
        negative, magnitude = _fold(z)
        return _unfold(negative, 0.5 * torch.exp(-magnitude))

    def _log_prob(self, z: Tensor) -> Tensor:
        return -z.abs() - math.log(2)

    def _score(self, z: Tensor) -> Tensor:
        return torch.where(z.isnan(), z, z.sign())  # sign(NaN) is 0


@final
class Triangular(AbstractTailLaw):
    """The triangular law: density 1 - |x| on [-1, 1], score sign(x) / (1 - |x|), for scale 1.

    f is evaluated at most one scale away from x. The variance of the score is infinite (the
    integral of score^2 diverges at the edge of the support), so that averages of it have no plain
    confidence bound. Table 1 of Petersen et al., 2024 (arXiv:2410.08125).

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.Triangular(2.0).log_prob(torch.tensor([0.0, 1.0, 3.0])).exp()
    tensor([0.5000, 0.2500, 0.0000])
    """

    name = "triangular"
    _support = (-1.0, 1.0)

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        edge = torch.sqrt(2 * tail)  # 1 - |noise|
        magnitude = (1 - 2 * tail) / (1 + edge)  # 1 - edge, without its cancellation
        return _with_sign(upper, magnitude), _with_sign(upper, edge.reciprocal())

    def _cdf(self, z: Tensor) -> Tensor:
        negative, magnitude = _fold(z)
        return _unfold(negative, 0.5 * (1 - magnitude.clamp(max=1)).square())

    def _log_prob(self, z: Tensor) -> Tensor:
        outside = z.abs() >= 1
        return torch.where(outside, -math.inf, torch.log1p(-torch.where(outside, 0.0, z).abs()))

    def _score(self, z: Tensor) -> Tensor:
        outside = z.abs() >= 1
        inner = torch.where(outside, 0.0, z)
        return inner.sign() / (1 - inner.abs())


@final
class WignerSemicircle(AbstractTailLaw):
    """Wigner's semicircle: density 2/pi sqrt(1 - x^2) on [-1, 1], score x / (1 - x^2), for scale 1.

    The scale is the radius (as in `scipy.stats.semicircular`); the standard deviation is half of
    it. f is evaluated at most one scale away from x. The variance of the score is infinite, as for
    `Triangular`. Smoothing with compact support: section 2 of Petersen et al., 2024
    (arXiv:2410.08125); the law: Wigner, "Characteristic vectors of bordered matrices with infinite
    dimensions", 1955.

    >>> import torch
    >>> import torchsmooth as ts
    >>> ts.WignerSemicircle(2.0).icdf(torch.tensor([0.0, 1.0]))
    tensor([-2.,  2.])
    """

    name = "wigner_semicircle"
    _support = (-1.0, 1.0)

    def _from_tail(self, tail: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        # |noise| = cos(t / 2) where t - sin t = 2 pi tail: Kepler's equation of eccentricity 1, by
        # its series in (12 pi tail)^(1/3) and Newton's iteration. All is in powers of t, so that
        # small t keep their relative accuracy. Differentiating through the iterations gives the
        # derivatives of the root, of any order that is needed: each iteration doubles the orders
        # that are right.
        anomaly = 2 * math.pi * tail
        x = (6 * anomaly).pow(1 / 3)
        t = x * _horner(
            x.square(), 1.0, 1 / 60, 1 / 1400, 1 / 25200, 43 / 17248000, 1213 / 7207200000
        )
        for _ in range(3):
            square = t.square()
            excess = t * _horner(square, *_EXCESS)  # (t - sin t) / t^2
            slope = _horner(square, *_SLOPE)  # (1 - cos t) / t^2
            t = t - (excess - anomaly / square) / slope
        angle = 0.5 * t
        noise = torch.sin(0.5 * math.pi - angle).clamp(min=0)
        return _with_sign(upper, noise), _with_sign(upper, noise / angle.sin().square())

    def _cdf(self, z: Tensor) -> Tensor:
        negative, magnitude = _fold(z)
        outside = magnitude >= 1
        t = 2 * torch.acos(torch.where(outside, 0.0, magnitude))
        # t - sin t cancels for small t; its Taylor series does not.
        small = t < 0.5
        small_t, large_t = torch.where(small, t, 0.25), torch.where(small, 1.0, t)
        excess = torch.where(
            small,
            small_t.pow(3) * _horner(small_t.square(), *_EXCESS[:7]),
            large_t - large_t.sin(),
        )
        return _unfold(negative, torch.where(outside, 0.0, excess / (2 * math.pi)))

    def _log_prob(self, z: Tensor) -> Tensor:
        outside = z.abs() >= 1
        inner = torch.where(outside, 0.0, z)
        log_root = 0.5 * torch.log((1 - inner) * (1 + inner))
        return torch.where(outside, -math.inf, log_root + math.log(2 / math.pi))

    def _score(self, z: Tensor) -> Tensor:
        inner = torch.where(z.abs() >= 1, 0.0, z)
        return inner / ((1 - inner) * (1 + inner))


# The Taylor coefficients of (t - sin t) / t^3 and (1 - cos t) / t^2 in powers of t^2.
_EXCESS = tuple((-1) ** k / math.factorial(2 * k + 3) for k in range(13))
_SLOPE = tuple((-1) ** k / math.factorial(2 * k + 2) for k in range(13))


# Laws of torch.distributions whose density has a jump (or a pole) at an edge of the support.
_JUMPS = (
    torch.distributions.ContinuousBernoulli,
    torch.distributions.Exponential,
    torch.distributions.GeneralizedPareto,
    torch.distributions.HalfCauchy,
    torch.distributions.HalfNormal,
    torch.distributions.Pareto,
    torch.distributions.Uniform,
)


@final
class FromTorch(AbstractDistribution):
    """A law of `torch.distributions`, scaled: the noise is `scale` times a sample of it.

    The law needs `icdf` and `log_prob` and a continuous density: smoothing differentiates the
    density, and a jump (as at the ends of a uniform law) has no derivative, so that the estimate of
    the gradient would be wrong. Jumps are looked for at the edges of the support only. There is no
    compiled kernel for such laws: the noise is `icdf` of the sampler's uniform numbers, in float64,
    and the score comes from automatic differentiation of `log_prob`. Laws made of transforms are as
    accurate as the type of their parameters, so give those in float64.

    **Arguments:**

    - `distribution`: a univariate, continuous law, whose `batch_shape` is `()` or the shape of the
        event, or of its last dimensions.
    - `scale`, `scale_matrix`: as for all laws. Gradients reach these, but not the parameters of
        `distribution`, which must not require any.

    Raises a `TypeError` if `distribution` is no `torch.distributions.Distribution`, and a
    `ValueError` if it is discrete or multivariate, has no `icdf` or no `log_prob`, has a density
    with a jump, has parameters that require grad, or a `batch_shape` with dimensions that are still
    to be broadcast.

    >>> import torch
    >>> import torchsmooth as ts
    >>> noise = ts.FromTorch(torch.distributions.Normal(0.0, 1.0), scale=0.5)
    >>> x = torch.tensor([0.1, -2.0])
    >>> torch.allclose(noise.log_prob(x), ts.Gaussian(0.5).log_prob(x))
    True
    """

    name = None

    distribution: Distribution

    def __init__(
        self,
        distribution: Distribution,
        scale: float | Tensor | None = None,
        *,
        scale_matrix: Tensor | None = None,  # [..., n, n]
    ) -> None:
        super().__init__(scale, scale_matrix=scale_matrix)
        self.distribution = _check_law(distribution)

    def __repr__(self) -> str:
        return f"FromTorch({self.distribution}, {self._repr_scale()})"

    def draw(
        self,
        words: Tensor,  # [..., n], int64, in [0, 2^32); n: the event, flattened
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        u = (words.double() + 0.5) * (1 / _WORDS)
        batch = self.distribution.batch_shape
        if len(batch) > 0:
            if words.ndim == 0 or words.shape[-1] % batch.numel() != 0:
                raise ValueError(
                    f"distribution must have a batch_shape that fits the event, got {tuple(batch)} "
                    f"for an event of shape {tuple(words.shape[-1:])}; expand it to that"
                )
            u = u.reshape(*words.shape[:-1], words.shape[-1] // batch.numel(), *batch)
        noise = self.distribution.icdf(u)
        score = self._score(noise)
        return noise.reshape(words.shape).to(dtype), score.reshape(words.shape).to(dtype)

    def _cdf(self, z: Tensor) -> Tensor:
        inside, inner = self._inside(z)
        beyond = torch.where(z < inner, 0.0, torch.where(z > inner, 1.0, z))
        return torch.where(inside, self.distribution.cdf(inner).to(z.dtype), beyond.to(z.dtype))

    def _icdf(self, u: Tensor) -> Tensor:
        inside = (u >= 0) & (u <= 1)
        noise = self.distribution.icdf(torch.where(inside, u, 0.5).double())
        return torch.where(inside, noise, math.nan).to(u.dtype)

    def _log_prob(self, z: Tensor) -> Tensor:
        inside, inner = self._inside(z)
        beyond = torch.where(z.isnan(), z, -math.inf)
        return torch.where(inside, self.distribution.log_prob(inner).to(z.dtype), beyond)

    def _score(self, z: Tensor) -> Tensor:
        inside, inner = self._inside(z)
        slope = torch.func.grad(lambda y: self.distribution.log_prob(y).sum())(inner)
        return torch.where(inside, -slope, torch.where(z.isnan(), z, 0.0))

    def _inside(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Where z lies in the support, and z with the median in all other places."""
        shape = torch.broadcast_shapes(z.shape, self.distribution.batch_shape)
        z = z.expand(shape)
        inside = _support_of(self.distribution).check(z) & z.isfinite()
        middle = self.distribution.icdf(torch.full_like(z, 0.5))
        return inside, torch.where(inside, z, middle.to(z.dtype))


def _check_law(law: object) -> Distribution:
    """The law without its own checks of values, which would wait for the device."""
    if not isinstance(law, Distribution):
        raise TypeError(
            f"distribution must be a law of torch.distributions, got {law!r}; pass for example "
            "torch.distributions.Normal(0.0, 1.0)"
        )
    name = type(law).__name__
    if law.event_shape != ():
        raise ValueError(
            f"distribution must be univariate, but {name} has event_shape "
            f"{tuple(law.event_shape)}; use a univariate law and mix it by scale_matrix="
        )
    if law.batch_shape.numel() != 1 and 1 in law.batch_shape:
        raise ValueError(
            f"distribution must have a batch_shape without broadcasting, got {name} with "
            f"{tuple(law.batch_shape)}; expand it to the event's shape with law.expand(...)"
        )
    if isinstance(law, _JUMPS):
        raise _jump(name)
    if _support_of(law).is_discrete:
        raise ValueError(
            f"distribution must have a continuous density, but {name} is discrete, so that the "
            "gradient is undefined; use Triangular or another law with a continuous density"
        )
    if any(tensor.requires_grad for tensor in _tensors(law)):
        raise ValueError(
            f"The parameters of distribution must not require grad, but those of {name} do, and "
            "no gradient would reach them; pass the scale as scale= instead"
        )
    law = _without_validation(law)
    parameter = next(iter(_tensors(law)), torch.empty(0))
    tail = torch.tensor([2.0**-20, 2.0**-16], dtype=torch.float64, device=parameter.device)
    values = torch.stack((tail, 1 - tail)).reshape(2, 2, *(1 for _ in law.batch_shape))
    for needed in ("icdf", "log_prob"):
        try:
            values = getattr(law, needed)(values)
        except NotImplementedError:
            raise ValueError(
                f"distribution must have icdf and log_prob, but {name} has no {needed}; "
                "use a law that has both"
            ) from None
    # Towards an edge without a jump the density falls as a power of the tail's probability; towards
    # a jump it stays, towards a pole it grows.
    if values_are_readable(values) and values_are_readable(parameter):
        exponent = (values[:, 1] - values[:, 0]) / math.log(2.0**4)
        if not bool((exponent > 0.01).all()):
            raise _jump(name)
    return law


def _support_of(law: Distribution) -> constraints.Constraint:
    try:
        return constraints.real if law.support is None else law.support
    except NotImplementedError:  # a law that does not say
        return constraints.real


def _jump(name: str) -> ValueError:
    return ValueError(
        f"distribution must have a continuous density, but that of {name} has a jump at an edge "
        "of its support, so that the gradient is undefined; use Triangular or another law with a "
        "continuous density"
    )


def _tensors(law: Distribution) -> list[Tensor]:
    """The tensors that a law is made of, those of its transforms and base law included."""
    found: list[Tensor] = []
    pending: list[object] = [law]
    seen: set[int] = set()  # a transform and its inverse hold each other
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        elif isinstance(item, (Distribution, Transform)):
            pending.extend(vars(item).values())
    return found


def _without_validation(law: Distribution) -> Distribution:
    law = copy.copy(law)
    law._validate_args = False
    if isinstance(law, TransformedDistribution):
        law.base_dist = _without_validation(law.base_dist)
    return law


LAWS: dict[str, type[AbstractTailLaw]] = {
    law.name: law
    for law in (Gaussian, Logistic, Gumbel, Cauchy, Laplace, Triangular, WignerSemicircle)
}
"""The laws that the compiled kernels know, by the name they use."""
