"""The laws of the noise.

Every law has location 0. `cdf`, `icdf`, `log_prob` and `score` include the scale, as in
`torch.distributions`, and are plain differentiable PyTorch; `draw` turns the words of a sampler
into noise of scale 1 and its score, exactly as the compiled kernels do.

A law is a final class with a handful of functions at scale 1 (see `AbstractDistribution`). One
that kernels shall know too also needs its struct in `csrc/core/laws.h` and a line in
`LAWS` here.
"""

import abc
import copy
import math
import numbers
from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution, constraints
from torch.distributions.transforms import Transform

from ._torch_internals import (
    one_node,
    refuse_nested_forward_mode,
    stored_for_backward,
    values_are_readable,
)


_WORDS = 2**32
_HALF = (torch.float16, torch.bfloat16)


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


# Gauss-Legendre quadrature on [0, 1] with 4 points: nodes and weights.
_LEGENDRE = (
    (0.06943184420297371, 0.17392742256872693),
    (0.33000947820757187, 0.32607257743127307),
    (0.66999052179242813, 0.32607257743127307),
    (0.93056815579702629, 0.17392742256872693),
)


def _narrow(dtype: torch.dtype) -> float:
    """Intervals of so many scales are integrated by quadrature.

    Differences of what is known at their ends would cancel, and the quadrature is as good as exact.
    """
    return torch.finfo(dtype).eps ** 0.25


def _angle(distance: Tensor, scale: float | Tensor) -> Tensor:
    """atan(scale / distance) for distances >= 0."""
    # The angle does not change if both are divided by the larger one, but then no square overflows
    # or underflows, and the derivative in the scale is right where scale / distance is 0.
    infinite = distance.isinf()
    finite = torch.where(infinite, 0.0, distance)
    scale = distance.new_tensor(1.0) * scale
    size = torch.maximum(finite, scale).detach()
    return torch.where(infinite, 0.0, torch.atan2(scale / size, finite / size))


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


def _split_at_zero(x: Tensor) -> tuple[Tensor, Tensor]:
    """(x >= 0, |x|), with the derivative of |x| from that side."""
    above = ~(x < 0)
    return above, torch.where(above, x, -x)


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

    What `torchsmooth.soft` needs has defaults here, by the cdf or an error; a law that knows better
    overrides, for distances >= 0 from location 0 and with the scale: `_tail`, `_log_tail`,
    `_excess`, `_expected_steps` (or `_waves`, and how many terms its sums take).
    """

    name: ClassVar[str | None]
    """What the compiled kernels call the law; None if they do not know it."""

    _kinks: str | None = None  # where the density has no derivative, if it is so anywhere
    _mean: ClassVar[float | None] = None  # of scale 1; None if there is none, or none is known
    _crossover: ClassVar[float]  # up to this scale steps are summed, beyond it waves
    _steps: ClassVar[int]  # terms of the sum of steps, on each side
    _waves_needed: ClassVar[int]  # terms of the Fourier series

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

    def probability_positive(self, x: Tensor) -> Tensor:
        """P(x + noise > 0), elementwise: the smoothed step.

        Both tails are accurate, and so are the derivatives, as far as they are representable.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "probability_positive")
        return _differentiable(self, "positive", x, scale).to(dtype)

    def probability_negative(self, x: Tensor) -> Tensor:
        """P(x + noise < 0), elementwise, with derivatives as in `probability_positive`.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "probability_negative")
        return _differentiable(self, "negative", x, scale).to(dtype)

    def probability_above(self, x: Tensor) -> Tensor:
        """P(noise > x), elementwise: the survival function, see `probability_positive`."""
        return self.probability_positive(-x)

    def probability_below(self, x: Tensor) -> Tensor:
        """P(noise < x), elementwise: the cdf, with derivatives as in `probability_positive`."""
        return self.probability_negative(-x)

    def log_probability_above(self, x: Tensor) -> Tensor:
        """log P(noise > x), elementwise, as far out as the logarithm is representable.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape; -inf, with derivative 0, beyond the support.
        Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "log_probability_above")
        above, distance = _split_at_zero(x)
        return self._log_probability(distance, scale, above, near=above).to(dtype)

    def log_probability_below(self, x: Tensor) -> Tensor:
        """log P(noise < x), elementwise, as far out as the logarithm is representable.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape; -inf, with derivative 0, beyond the support.
        Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "log_probability_below")
        above, distance = _split_at_zero(x)
        return self._log_probability(distance, scale, above, near=~above).to(dtype)

    def mean(self) -> float | Tensor:
        """The expectation of the noise, of the shape of the scale.

        Raises a `ValueError` if there is none (Cauchy), or with a `scale_matrix`.
        """
        scale = self._elementwise_scale("mean")
        if self._mean is None:
            raise self._has_no_mean()
        return self._mean * scale

    def _has_no_mean(self) -> ValueError:
        return ValueError(
            "distribution must have a mean, because without one the expectation of an unbounded "
            f"function does not exist, got {self!r}; use Logistic or Gaussian"
        )

    def relu_gap(self, x: Tensor) -> Tensor:
        """E max(x + noise, 0) - max(x, 0), elementwise.

        What smoothing adds to the positive part. Its derivative in x is P(noise > -x) for x <= 0
        and -P(noise < -x) for x > 0: small where the gap is small, so that neither loses digits.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` if the noise has no
        mean (Cauchy), if no closed form is known (`FromTorch`), or with a `scale_matrix`.
        """
        self.mean()
        x, scale, dtype = self._prepare(x, "relu_gap")
        return self._gap(x, scale).to(dtype)

    def expected_clamp(self, x: Tensor, lo: float | Tensor, hi: float | Tensor) -> Tensor:
        """E clamp(x + noise, lo, hi), elementwise. It exists for every law.

        **Arguments:** `x`: as for `cdf`. `lo`, `hi`: numbers or tensors that broadcast, lo <= hi;
        finite if the noise has no mean.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` if no closed form is
        known (`FromTorch`), or with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "expected_clamp")
        lo, hi = (x.new_tensor(1.0) * bound for bound in (lo, hi))
        # Differences of infinities would be NaN; products with the upstream gradient need room.
        largest = 1e-6 * torch.finfo(x.dtype).max
        x = x.clamp(-largest, largest)
        # In wide intervals the gaps at both ends count. In narrow ones they cancel: there the
        # probabilities of lying above are averaged over the interval.
        narrow = hi - lo <= _narrow(x.dtype) * scale
        # Compiled code keeps the masks of a `where` as bool tensors, slowly; clamp has none. It has
        # the slope 1 at both ends. So the distance from the lower one counts as positive there.
        above_lo = x - lo + torch.finfo(x.dtype).tiny
        wide = x.clamp(lo, hi) + self._gap(above_lo, scale) - self._gap(x - hi, scale)
        start, width = torch.where(narrow, lo, 0.0), torch.where(narrow, hi - lo, 0.0)
        rise = self._narrow_rise(x - hi, width, scale)
        return torch.where(narrow, start + rise, wide).to(dtype)

    def probability_between(self, lo: Tensor, hi: Tensor) -> Tensor:
        """P(lo < noise < hi), elementwise, without cancellation in the tails or in short intervals.

        **Arguments:** `lo`, `hi`: tensors that broadcast against each other and against the scale,
        lo <= hi.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` with a `scale_matrix`.
        """
        lo, scale, dtype = self._prepare(lo, "probability_between")
        hi, _, _ = self._prepare(hi, "probability_between")
        return self._between(lo, hi, scale).to(dtype)

    def expected_steps(self, below: Tensor, above: Tensor, missing: Tensor | None = None) -> Tensor:
        """How many steps of a staircase the noise climbs, on average.

        The staircase rises by 1 at unit distances; the next step down is `below` away, the next one
        up `above`. Small scales sum the probabilities of reaching each step; large ones the Fourier
        series of the sawtooth, whose coefficients are values of the characteristic function (or,
        where those fall slowly, a closed form); both agree to rounding where they meet.

        **Arguments:** `below`, `above`: tensors that broadcast against the scale, >= 0, of sum 1.
        `missing`: a bool tensor; where it is true, the staircase has no step at the nearer of the
        two, and goes on beyond it. What the noise climbs there is small where the missing step is
        not, and would be lost in a difference of the two.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` if the noise has no
        mean, if no closed form is known (`FromTorch`), or with a `scale_matrix`.
        """
        self.mean()
        below, scale, dtype = self._prepare(below, "expected_steps")
        above, _, _ = self._prepare(above, "expected_steps")
        scale = below.new_tensor(1.0) * scale
        return self._expected_steps(below, above, scale, missing).to(dtype)

    def nodes(
        self, num_nodes: int, *, dtype: torch.dtype, device: torch.device | str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Nodes and weights of a quadrature: E f(noise) = sum of weights * f(nodes), for scale 1.

        The tanh-sinh rule in the uniform number (Takahasi and Mori, "Double exponential formulas
        for numerical integration", 1974): it reaches into both tails, and is exact to rounding for
        analytic integrands.

        **Arguments:** `num_nodes`: at least 2. `dtype`, `device`: of the result.

        **Returns:** two tensors [num_nodes]. Raises a `ValueError` if `num_nodes` is below 2.
        """
        if num_nodes < 2:
            raise ValueError(f"num_nodes must be at least 2, got {num_nodes}; pass for example 128")
        t = torch.linspace(-3.3, 3.3, num_nodes, dtype=torch.float64, device=device)
        tail = torch.special.expit(-math.pi * t.sinh().abs())
        weights = t.cosh() * tail * (1 - tail)
        noise = self._from_quantile(tail, t > 0)
        return noise.to(dtype), (weights / weights.sum()).to(dtype)

    def check_second_derivative(self) -> None:
        """Raises a `ValueError` unless scores and their slopes tell the second derivatives.

        They miss what stands at kinks of the density, where its second derivative is a point mass.
        """
        if self._kinks is not None:
            raise ValueError(
                "a second derivative needs a distribution whose density has no kink, got "
                f"{self!r}, whose density has one {self._kinks}: a point mass of its second "
                "derivative that no sample meets; use Gaussian, Logistic, Gumbel or Cauchy"
            )

    def with_scale(self, scale: float | Tensor) -> "AbstractDistribution":
        """The same law with another scale.

        **Arguments:** `scale`: as for the class; it takes the place of scale or scale_matrix.
        """
        law = copy.copy(self)
        law.scale, law.scale_matrix = _check_scale(scale), None
        return law

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

    def _joint_log_prob(self, z: Tensor) -> Tensor:  # [..., n] -> [...]
        """That of an event, flattened."""
        return self._log_prob(z).sum(-1)

    def _from_quantile(self, tail: Tensor, upper: Tensor) -> Tensor:
        """The noise with the probability `tail` beyond it, above where `upper`, below elsewhere."""
        tail = tail.clamp(min=torch.finfo(tail.dtype).eps)  # so that 1 - tail is not 1
        return self._icdf(torch.where(upper, 1 - tail, tail))

    def _tail(
        self,
        distance: Tensor,  # >= 0
        scale: float | Tensor,
        upper: Tensor,  # which of the two tails
    ) -> Tensor:
        """P(noise > distance) where `upper`, P(noise < -distance) elsewhere."""
        z = self._ratio(distance, scale)
        return torch.where(upper, 1 - self._cdf(z), self._cdf(-z))

    def _log_tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        """The logarithm of `_tail`."""
        tail = self._tail(distance, scale, upper)
        reached = tail > 0
        return torch.where(reached, torch.where(reached, tail, 1.0).log(), -math.inf)

    def _excess(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        """E max(noise - distance, 0) where `upper`, E max(-noise - distance, 0) elsewhere."""
        raise self._no_closed_form()

    def _no_closed_form(self) -> ValueError:
        return ValueError(
            f"distribution must be a law whose expectations are known in closed form, got {self!r};"
            " use one of torchsmooth's own laws, or smooth the function by ts.smooth"
        )

    def _gap(self, x: Tensor, scale: float | Tensor) -> Tensor:
        """`relu_gap`, up to a constant if it has no value, but its differences do."""
        return _differentiable(self, "gap", x, scale)

    # Values, of which no derivative is taken, and slopes in x and in the scale, times a factor.
    # Where the slope in the scale is a multiple of that in x it is computed from the product, which
    # is in the cache or a register already.

    def _narrow_rise(self, beyond: Tensor, width: Tensor, scale: float | Tensor) -> Tensor:
        """E clamp(beyond + width + noise, 0, width), for widths far below the scale."""
        slope = torch.zeros_like(beyond)
        for node, weight in _LEGENDRE:
            at_node = _differentiable(self, "positive", beyond + node * width, scale)
            slope = slope + weight * at_node
        return width * slope

    def _value_of_positive(self, x: Tensor, scale: float | Tensor) -> Tensor:
        positive = x > 0
        tail = self._tail(torch.where(positive, x, -x), scale, ~positive)
        return torch.where(positive, 1 - tail, tail)

    def _value_of_negative(self, x: Tensor, scale: float | Tensor) -> Tensor:
        positive = x > 0
        tail = self._tail(torch.where(positive, x, -x), scale, ~positive)
        return torch.where(positive, tail, 1 - tail)

    def _value_of_gap(self, x: Tensor, scale: float | Tensor) -> Tensor:
        positive = x > 0
        gap = self._excess(torch.where(positive, x, -x), scale, ~positive)
        return gap + positive.to(x.dtype) * (self._mean * scale) if self._mean else gap

    def _slopes_of_positive(
        self, x: Tensor, scale: float | Tensor, factor: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        z = (x / scale).clamp(-self._reach, self._reach)
        in_x = factor * (self._density(-z) / scale)
        return in_x, -z * in_x

    def _slopes_of_negative(
        self, x: Tensor, scale: float | Tensor, factor: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        return self._slopes_of_positive(x, scale, -factor)

    def _slopes_of_gap(
        self, x: Tensor, scale: float | Tensor, factor: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        # P(noise > -x) - 1 if x > 0, and E noise where x + noise > 0.
        positive = x > 0
        z = (torch.where(positive, x, -x) / scale).clamp(max=self._reach)
        tail = self._tail(z, 1.0, ~positive)
        in_scale = self._excess(z, 1.0, ~positive) + z * tail
        if self._mean:
            in_scale = in_scale + positive.to(x.dtype) * self._mean
        return factor * torch.where(positive, -tail, tail), factor * in_scale

    def _between(self, lo: Tensor, hi: Tensor, scale: float | Tensor) -> Tensor:
        lo_above, lo_distance = _split_at_zero(lo)
        hi_above, hi_distance = _split_at_zero(hi)
        lo_tail = self._tail(lo_distance, scale, lo_above)
        hi_tail = self._tail(hi_distance, scale, hi_above)
        straddling = ~lo_above & hi_above
        wide = torch.where(
            straddling,
            1 - lo_tail - hi_tail,
            torch.where(lo_above, lo_tail - hi_tail, hi_tail - lo_tail),
        )
        narrow = hi - lo <= _narrow(lo.dtype) * scale
        start, width = torch.where(narrow, lo, 0.0), torch.where(narrow, hi - lo, 0.0)
        density = torch.zeros_like(wide)
        for node, weight in _LEGENDRE:
            above, distance = _split_at_zero(start + node * width)
            z = self._ratio(distance, scale)
            density = density + weight * self._density(torch.where(above, z, -z))
        return torch.where(narrow, width / scale * density, wide)

    def _density(self, z: Tensor) -> Tensor:
        return self._log_prob(z).exp()

    def _expected_steps(
        self, below: Tensor, above: Tensor, scale: Tensor, missing: Tensor | None
    ) -> Tensor:
        small = scale <= self._crossover
        few, many = (torch.where(w, scale, self._crossover) for w in (small, ~small))
        waves = self._sum_of_waves(below, above, many)
        if missing is not None:
            lower = below < above
            tail = self._tail(torch.where(lower, below, above), many, ~lower)
            waves = waves + torch.where(missing, torch.where(lower, tail, -tail), 0.0)
            below = torch.where(missing & lower, below + 1, below)
            above = torch.where(missing & ~lower, above + 1, above)
        return torch.where(small, self._sum_of_steps(below, above, few), waves)

    def _sum_of_steps(self, below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        """The probability of reaching each of the nearest steps, at unit distances beyond both."""
        steps = torch.arange(self._steps, dtype=below.dtype, device=below.device)
        climbed = above.unsqueeze(-1) + steps
        fallen = below.unsqueeze(-1) + steps
        scale = scale.unsqueeze(-1)
        upper = torch.ones_like(climbed, dtype=torch.bool)
        up = self._tail(climbed, scale, upper)
        return (up - self._tail(fallen, scale, ~upper)).sum(-1)

    def _sum_of_waves(self, below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        """The same by the Fourier series of the sawtooth that floor(x) differs from x by."""
        count = torch.arange(1, self._waves_needed + 1, dtype=below.dtype, device=below.device)
        phase = (2 * math.pi * below).unsqueeze(-1) * count
        # Beyond 600 every coefficient is 0; their derivatives could overflow.
        cosine, sine = self._waves((2 * math.pi * scale.unsqueeze(-1) * count).clamp(max=600))
        waves = phase.sin() * cosine
        if sine is not None:
            waves = waves + phase.cos() * sine
        waves = (waves / (math.pi * count)).sum(-1)
        return (below - 0.5) + waves + (self._mean * scale if self._mean else 0.0)

    def _waves(self, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """E cos(t noise) and E sin(t noise) at scale 1, for t > 0; None if it is 0."""
        raise NotImplementedError

    def _log_probability(
        self, distance: Tensor, scale: float | Tensor, above: Tensor, near: Tensor
    ) -> Tensor:
        """log P(beyond x) where `near`, log(1 - P(beyond x)) elsewhere, beyond: away from 0."""
        # Of the first the derivative may be infinite where it is not taken.
        log_tail = self._log_tail(torch.where(near, distance, 0.0), scale, above)
        return torch.where(near, log_tail, torch.log1p(-self._tail(distance, scale, above)))

    @property
    def _reach(self) -> float:
        """So many scales away, both tails are 0 in every type."""
        # No attribute: under torch.compile(dynamic=True) that would be an input of the graph, which
        # the second autograd function in it cannot have.
        return 1e3

    def _ratio(self, distance: Tensor, scale: float | Tensor) -> Tensor:
        """distance / scale, held at the reach: there all derivatives are 0.

        The quotient's own derivative in the scale, distance / scale^2, can overflow, and 0 times
        infinity is NaN.
        """
        beyond = distance > self._reach * scale
        return torch.where(beyond, self._reach, torch.where(beyond, 0.0, distance) / scale)

    def _prepare(self, x: Tensor, method: str) -> tuple[Tensor, float | Tensor, torch.dtype]:
        """x and the scale in the type to compute in, and the type of the result."""
        scale = self._elementwise_scale(method)
        dtype, compute = _types(x, scale)
        return x.to(compute), scale.to(compute) if isinstance(scale, Tensor) else scale, dtype

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


class _Differentiable(torch.autograd.Function):
    """A function of x and the scale with the slopes that the law knows.

    Derivatives through the formula of the value would be products in which one factor can underflow
    (a small scale, or the rest of a probability near 1) before a large one comes. The slopes are
    differentiable themselves.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: float | Tensor, law: AbstractDistribution, name: str) -> Tensor:
        value: Tensor = getattr(law, f"_value_of_{name}")(x, scale)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, scale, ctx.law, ctx.name = inputs
        ctx.number = None if isinstance(scale, Tensor) else scale
        tensors = (x, scale if ctx.number is None else None)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        in_x, in_scale = _slopes(ctx, grad)
        return in_x, in_scale if ctx.needs_input_grad[1] else None, None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor | None, scale: Tensor | None, *_: None) -> Tensor:
        refuse_nested_forward_mode()
        in_x, in_scale = _slopes(ctx, 1.0)
        tangents = [t * slope for t, slope in ((x, in_x), (scale, in_scale)) if t is not None]
        return tangents[0] + tangents[1] if len(tangents) == 2 else tangents[0]


def _slopes(ctx: Any, factor: Tensor | float) -> tuple[Tensor, Tensor]:
    x, scale = ctx.saved_tensors
    slopes = getattr(ctx.law, f"_slopes_of_{ctx.name}")
    result: tuple[Tensor, Tensor] = slopes(x, scale if ctx.number is None else ctx.number, factor)
    return result


def _differentiable(
    law: AbstractDistribution, name: str, x: Tensor, scale: float | Tensor
) -> Tensor:
    if isinstance(scale, Tensor):
        x, scale = torch.broadcast_tensors(x, scale.to(x.device) if scale.ndim == 0 else scale)
    value: Tensor
    if not torch.compiler.is_compiling():
        value = _Differentiable.apply(x, scale, law, name)
    elif law.name is not None:
        value = _by_name(x, scale, law.name, name)
    else:  # what has no name cannot be an argument of a node
        value = getattr(law, f"_value_of_{name}")(x, scale)
    return value


@one_node
def _by_name(x: Tensor, scale: float | Tensor, law: str, name: str) -> Tensor:
    value: Tensor = _Differentiable.apply(x, scale, LAWS[law](), name)
    return value


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

    def _from_quantile(self, tail: Tensor, upper: Tensor) -> Tensor:
        return self._from_tail(tail, upper)[0]

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
    _mean = 0.0
    _crossover, _steps, _waves_needed = 0.4, 4, 3

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

    def _tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return 0.5 * torch.erfc(self._ratio(distance, scale) * math.sqrt(0.5))

    def _value_of_positive(self, x: Tensor, scale: float | Tensor) -> Tensor:
        return 0.5 * torch.erfc(x / scale * -math.sqrt(0.5))

    def _value_of_negative(self, x: Tensor, scale: float | Tensor) -> Tensor:
        return 0.5 * torch.erfc(x / scale * math.sqrt(0.5))

    def _log_tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        z = distance / scale
        far, near_z, far_z = self._split(z)
        log_mills = _weighted(far_z, lambda node: 1 / (1 + (node / far_z).square())).log()
        return torch.where(
            far,
            self._log_prob(far_z) - far_z.log() + log_mills,
            (0.5 * torch.erfc(near_z * math.sqrt(0.5))).log(),
        )

    def _excess(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        # density(z) - z tail(z), where the two terms do not cancel.
        far, near_z, far_z = self._split(self._ratio(distance, scale))
        near = self._log_prob(near_z).exp() - near_z * 0.5 * torch.erfc(near_z * math.sqrt(0.5))
        rest = _weighted(far_z, lambda node: node**2 / (far_z.square() + node**2))
        return scale * torch.where(far, self._log_prob(far_z).exp() * rest, near)

    def _waves(self, t: Tensor) -> tuple[Tensor, Tensor | None]:
        return torch.exp(-0.5 * t.square()), None

    @staticmethod
    def _split(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whether z is far out, z where it is not, and z where it is (0 and the limit else)."""
        # Where the quadrature of Mills' ratio is exact to rounding.
        limit = 6.0 if z.dtype == torch.float64 else 3.0
        far = z > limit
        return far, torch.where(far, 0.0, z), torch.where(far, z, limit)


# The positive nodes of Gauss-Hermite quadrature with 18 points for the standard normal law, and
# their weights with those of their mirror images. Mills' ratio tail(z) / density(z) is the
# expectation of z / (z^2 + noise^2), so that its series has positive terms only. From z = 3 on
# it is exact to 1e-8, from z = 6 on to 1e-15, and so are its derivatives.
_HERMITE = (
    (0.3652457555076976, 0.54556646930857575),
    (1.0983955180915012, 0.32137060778702527),
    (1.8397799215086455, 0.10979326496044526),
    (2.5958336889112403, 0.021033035503882684),
    (3.374736535778091, 0.002130969592583304),
    (4.1880202316294037, 0.00010359792288232412),
    (5.0540726854427398, 2.0431047952739625e-6),
    (6.0077459113595975, 1.1810976957673192e-8),
    (7.1394648491464789, 8.8331775387174105e-12),
)


def _weighted(like: Tensor, f: Callable[[float], Tensor]) -> Tensor:
    """The expectation of an even function of standard normal noise."""
    result = torch.zeros_like(like)
    for node, weight in _HERMITE:
        result = result + weight * f(node)
    return result


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
    _mean = 0.0
    _crossover, _steps, _waves_needed = 0.35, 13, 5

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

    def _tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return torch.sigmoid(-self._ratio(distance, scale))

    def _exponential(self, x: Tensor, scale: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z = x / scale, e = exp(-|z|) and 1 / (1 + e)."""
        z = x / scale
        negative = torch.where(z < 0, z, -z)
        with stored_for_backward(x):
            e = negative.exp()
        return z, e, (1 + e).reciprocal()

    def _softplus(self, e: Tensor) -> Tensor:
        """log(1 + e)."""
        with stored_for_backward(e):
            return torch.log1p(e)

    def _density(self, z: Tensor) -> Tensor:
        _, e, rest = self._exponential(z, 1.0)
        return e * rest * rest

    def _value_of_positive(self, x: Tensor, scale: float | Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return torch.sigmoid(x / scale)
        # The same, but of what the backward pass needs too.
        z, e, rest = self._exponential(x, scale)
        return torch.where(z < 0, e * rest, rest)

    def _value_of_negative(self, x: Tensor, scale: float | Tensor) -> Tensor:
        return self._value_of_positive(-x, scale)

    def _value_of_gap(self, x: Tensor, scale: float | Tensor) -> Tensor:
        _, e, _ = self._exponential(x, scale)
        return scale * self._softplus(e)

    def _slopes_of_positive(
        self, x: Tensor, scale: float | Tensor, factor: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        # The value times its distance from 1 would be 0 where the value rounds to 1.
        z, e, rest = self._exponential(x, scale)
        in_x = factor * (e * rest * rest) / scale
        return in_x, -z.clamp(-self._reach, self._reach) * in_x

    def _slopes_of_gap(
        self, x: Tensor, scale: float | Tensor, factor: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        z, e, rest = self._exponential(x, scale)
        tail = e * rest
        in_x = factor * torch.where(x > 0, -tail, tail)
        return in_x, factor * self._softplus(e) - z.clamp(-self._reach, self._reach) * in_x

    def _narrow_rise(self, beyond: Tensor, width: Tensor, scale: float | Tensor) -> Tensor:
        # The difference of two softplus, log(1 + (exp(width) - 1) P(noise < beyond)) at scale 1.
        # Both functions by their series, which is exact to rounding for such widths.
        w = width / scale
        u = w * _horner(w, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120)
        u = u * _differentiable(self, "positive", beyond, scale)
        return scale * u * _horner(u, 1.0, -1 / 2, 1 / 3, -1 / 4, 1 / 5)

    def _log_tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        e = torch.exp(-self._ratio(distance, scale))
        return -distance / scale - torch.log1p(e)

    def _excess(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return scale * torch.log1p(torch.exp(-self._ratio(distance, scale)))

    def _waves(self, t: Tensor) -> tuple[Tensor, Tensor | None]:
        return _modulus(t).square(), None


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
    _mean = 0.57721566490153286  # Euler's constant
    _crossover, _steps, _waves_needed = 0.35, 13, 10

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

    def _tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        w, v = self._exponentials(distance, scale, upper)
        return torch.where(upper, -torch.expm1(-w), torch.exp(-v))

    def _log_tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        z = distance / scale
        upper_z, lower_z = torch.where(upper, z, 0.0), torch.where(upper, 0.0, z)
        # log(1 - exp(-w)) for w = exp(-z), by two terms of its series where they are all.
        far = upper_z > 40
        w = torch.exp(-upper_z)
        near = (-torch.expm1(-torch.where(far, 1.0, w))).log()
        return torch.where(upper, torch.where(far, -upper_z - 0.5 * w, near), -lower_z.exp())

    def _excess(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        # Ein(w), the integral of (1 - exp(-w)) / w, above; E1(v) = Ein(v) - log(v) - Euler below.
        w, v = self._exponentials(distance, scale, upper)
        far = v > 4
        near = torch.where(upper, w, torch.where(far, 1.0, v))
        ein = near * _horner(near / -4, *_EIN)
        small = torch.where(upper, ein, ein - torch.where(upper, 1.0, near).log() - self._mean)
        large_v = torch.where(far, v, 4.0)
        fraction = large_v + 2 * _E1_DEPTH + 1  # of Stieltjes, from its end
        for k in range(_E1_DEPTH, 0, -1):
            fraction = large_v + (2 * k - 1) - k * k / fraction
        return scale * torch.where(far, torch.exp(-large_v) / fraction, small)

    def _density(self, z: Tensor) -> Tensor:
        # Below -7 it is 0 in every type, but its derivative would be 0 times infinity.
        return super()._density(z.clamp(min=-7))

    def _exponentials(
        self, distance: Tensor, scale: float | Tensor, upper: Tensor
    ) -> tuple[Tensor, Tensor]:
        """exp(-z) for the upper tail, exp(z) for the lower one (1 else), z = distance / scale."""
        z = self._ratio(distance, scale)
        # From 7 on exp(-exp(z)) is 0 in every type; without a bound exp(z) could be infinite.
        lower_z = torch.where(upper, 0.0, z).clamp(max=7)
        return torch.exp(-torch.where(upper, z, 0.0)), torch.exp(lower_z)

    def _waves(self, t: Tensor) -> tuple[Tensor, Tensor | None]:
        # The characteristic function is Gamma(1 - it). The modulus is known; the argument is
        # Stirling's at 9 + it, and 8 steps of the recurrence. Valid for t > 0.
        real, imaginary = 9.0, t
        radius, angle = torch.hypot(t, torch.full_like(t, real)), torch.atan2(t, t.new_tensor(real))
        argument = (real - 0.5) * angle + imaginary * (radius.log() - 1)
        for k, coefficient in enumerate(_STIRLING):
            power = 2 * k + 1
            argument = argument - coefficient * radius.pow(-power) * torch.sin(power * angle)
        for k in range(1, 9):
            argument = argument - torch.atan(t / k)
        modulus = _modulus(t)
        return modulus * argument.cos(), -modulus * argument.sin()


# Ein(w) / w in powers of -w / 4, for w up to 4; the depth of the continued fraction of E1 beyond;
# the coefficients of Stirling's series, B_2k / (2k (2k - 1)).
_EIN = tuple(4 ** (k - 1) / (k * math.factorial(k)) for k in range(1, 31))
_E1_DEPTH = 20
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _modulus(t: Tensor) -> Tensor:
    """|Gamma(1 + it)|, the root of pi t / sinh(pi t), for t > 0 and without overflow."""
    root = (2 * math.pi * t / -torch.expm1(-2 * math.pi * t)).sqrt()
    return root * torch.exp(-0.5 * math.pi * t)


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

    def _tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return _angle(distance, scale) / math.pi

    def _log_tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        # Far out, the logarithm of the quotient scale / distance is representable when it is not.
        scale = distance.new_tensor(1.0) * scale
        far = distance > 1e4 * scale
        near_angle = _angle(torch.where(far, 0.0, distance), scale)
        far_distance = torch.where(far, distance, 1e4 * scale)
        slope = -(scale / far_distance).square() / 3  # of log(atan(w) / w), w^4 is below rounding
        log_angle = torch.where(far, scale.log() - far_distance.log() + slope, near_angle.log())
        return log_angle - math.log(math.pi)

    def _slopes_of_positive(
        self, x: Tensor, scale: float | Tensor, factor: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        # scale / (x^2 + scale^2) and -x / (x^2 + scale^2): neither square may overflow.
        infinite = x.isinf()
        x = torch.where(infinite, 0.0, x)
        scale = x.new_tensor(1.0) * scale
        size = torch.maximum(x.abs(), scale).detach()
        x, scale = x / size, scale / size
        slope = torch.where(infinite, 0.0, 1 / (math.pi * (x.square() + scale.square()))) / size
        return factor * (scale * slope), factor * (-x * slope)

    def _gap(self, x: Tensor, scale: float | Tensor) -> Tensor:
        # Minus the integral of the tail from 0 to |x|.
        scale = x.new_tensor(1.0) * scale
        positive = x > 0
        distance = torch.where(positive, x, -x)
        far = distance > scale
        near_z = torch.where(far, 0.0, distance) / scale
        far_distance = torch.where(far, distance, scale)
        half_log_square = torch.where(  # of 1 + z^2
            far,
            far_distance.log() - scale.log() + 0.5 * torch.log1p((scale / far_distance).square()),
            0.5 * torch.log1p(near_z.square()),
        )
        return -(distance * _angle(distance, scale) + scale * half_log_square) / math.pi

    def _between(self, lo: Tensor, hi: Tensor, scale: float | Tensor) -> Tensor:
        # The difference of two arctangents is one arctangent.
        infinite = lo.isinf() | hi.isinf()
        start, stop = torch.where(infinite, 0.0, lo), torch.where(infinite, 0.0, hi)
        height = lo.new_tensor(1.0) * scale
        size = torch.maximum(torch.maximum(start.abs(), stop.abs()), height).detach()
        start, stop, height = start / size, stop / size, height / size
        angle = torch.atan2(height * (stop - start), height.square() + start * stop)
        return torch.where(infinite, super()._between(lo, hi, scale), angle / math.pi)

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
    _kinks = "at 0 (at scale 1)"
    _support = (-math.inf, math.inf)
    _mean = 0.0
    _crossover = 1.0

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

    def _tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return 0.5 * torch.exp(-self._ratio(distance, scale))

    def _log_tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return -distance / scale - math.log(2)

    def _excess(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return scale * self._tail(distance, scale, upper)

    def _sum_of_steps(self, below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        # The tails of all steps are a geometric series.
        up, down, one = (
            torch.exp(-self._ratio(distance, scale))
            for distance in (above, below, torch.ones_like(below))
        )
        return 0.5 * (up - down) / (1 - one)

    def _sum_of_waves(self, below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        # The same sum is sinh(c q) / (2 sinh q) for c = below - above and q = 1 / (2 scale): for
        # small q in powers of q^2, because the exponentials and the derivatives of the sinh cancel.
        c = below - above
        square = (0.5 / scale).square()
        return 0.5 * c * _horner(c.square() * square, *_SINH) / _horner(square, *_SINH)


# The Taylor coefficients of sinh(q) / q in powers of q^2, for q up to 1/2.
_SINH = tuple(1 / math.factorial(2 * k + 1) for k in range(8))


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
    _kinks = "at -1, 0 and 1 (at scale 1)"
    _support = (-1.0, 1.0)
    _mean = 0.0
    _crossover, _steps = 1.0, 1

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

    def _tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return 0.5 * self._edge(distance, scale).square()

    def _log_tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        edge = self._edge(distance, scale)
        inside = ~(edge <= 0)
        log_edge = torch.where(inside, edge, 1.0).log()
        return torch.where(inside, 2 * log_edge - math.log(2), -math.inf)

    def _excess(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return scale * self._edge(distance, scale).pow(3) / 6

    def _edge(self, distance: Tensor, scale: float | Tensor) -> Tensor:
        """How far inside the support, 0 outside."""
        return (1 - self._ratio(distance, scale)).clamp(min=0)

    def _sum_of_waves(self, below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        # The density is the second derivative of a broken line: the expectation of the sawtooth is
        # the second difference of its second integral, a cubic of period 1.
        def cubic(t: Tensor) -> Tensor:
            t = t - t.floor()
            return t * (t - 0.5) * (t - 1) / 6

        difference = cubic(below + scale) - 2 * cubic(below) + cubic(below - scale)
        return (below - 0.5) - difference / scale / scale


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
    _kinks = "at -1 and 1 (at scale 1)"
    _support = (-1.0, 1.0)
    _mean = 0.0
    _crossover, _steps = 9.0, 10

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

    def _tail(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        return self._cdf(-self._ratio(distance, scale))

    def _excess(self, distance: Tensor, scale: float | Tensor, upper: Tensor) -> Tensor:
        # (2/3 sin^3 a - cos a (a - sin a cos a)) / pi for z = cos a: in powers of a, because the
        # terms cancel down to a^5.
        z = self._ratio(distance, scale)
        outside = z >= 1
        angle = torch.acos(torch.where(outside, 0.0, z))
        excess = angle.pow(5) * _horner(angle.square(), *_SEMICIRCLE_EXCESS)
        return scale * torch.where(outside, 0.0, excess)

    def _sum_of_waves(self, below: Tensor, above: Tensor, scale: Tensor) -> Tensor:
        # The Fourier coefficients fall slowly, because of the edges of the support: what is left of
        # the sum of steps minus its integral comes from the edges alone.
        return (below - 0.5) + self._edge_sum(above, scale) - self._edge_sum(below, scale)

    def _edge_sum(self, distance: Tensor, scale: Tensor) -> Tensor:
        """The sum over the steps near an edge of the support, minus the integral.

        The steps stand `distance` + 0, 1, 2, ... away. The outermost 8 are summed, the others by
        the formula of Euler and Maclaurin.
        """
        steps = scale - distance
        first = steps - steps.floor()  # from the edge to the outermost step
        cut = first + 8
        inset = torch.cat([first.unsqueeze(-1) + k for k in range(8)] + [cut.unsqueeze(-1)], -1)
        upper = torch.ones_like(inset, dtype=torch.bool)
        wide = scale.unsqueeze(-1)
        tails = self._tail(wide - inset, wide, upper)
        inner = cut / scale
        z2 = (1 - inner).square()
        room = cut * (2 - inner)  # scale (1 - z^2)
        slopes = room.sqrt() / 12
        slopes = slopes + room.pow(-1.5) / 720
        slopes = slopes - 3 * room.pow(-3.5) * (1 + 4 * z2) / 30240
        slopes = slopes + 45 * room.pow(-5.5) * _horner(z2, 1.0, 12.0, 8.0) / 1209600
        return (
            tails[..., :-1].sum(-1)
            + 0.5 * tails[..., -1]
            - self._excess(scale - cut, scale, upper[..., 0])
            - 2 / math.pi * slopes * scale.pow(-1.5)
        )


# The Taylor coefficients of (3/4 sin a + 1/12 sin 3a - a cos a) / (pi a^5) in powers of a^2.
_SEMICIRCLE_EXCESS = tuple(
    (-1) ** k * ((3 + 9**k) / 4 - (2 * k + 1)) / (math.factorial(2 * k + 1) * math.pi)
    for k in range(2, 18)
)


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
    accurate as the type of their parameters, so give those in float64. Second derivatives of
    smoothed functions take those of `log_prob`, and miss what stands at kinks of the density.

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
        if isinstance(self.distribution, torch.distributions.Laplace):
            self._kinks = "at its location"

    def __repr__(self) -> str:
        return f"FromTorch({self.distribution}, {self._repr_scale()})"

    @property
    def _reach(self) -> float:
        return 1e60  # the law may have a scale of its own

    def mean(self) -> float | Tensor:
        mean = self.distribution.mean
        if values_are_readable(mean) and not bool(mean.isfinite().all()):
            raise self._has_no_mean()
        return mean * self._elementwise_scale("mean")

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

    def _joint_log_prob(self, z: Tensor) -> Tensor:
        batch = self.distribution.batch_shape
        events = z.reshape(*z.shape[:-1], z.shape[-1] // max(1, batch.numel()), *batch)
        return self._log_prob(events).flatten(z.ndim - 1).sum(-1)

    def _score(self, z: Tensor) -> Tensor:
        inside, inner = self._inside(z)
        slope = torch.func.grad(lambda y: self.distribution.log_prob(y).sum())(inner)
        return torch.where(inside, -slope, torch.where(z.isnan(), z, 0.0))

    def _expected_steps(
        self, below: Tensor, above: Tensor, scale: Tensor, missing: Tensor | None
    ) -> Tensor:
        raise self._no_closed_form()

    def _prepare(self, x: Tensor, method: str) -> tuple[Tensor, float | Tensor, torch.dtype]:
        x, scale, dtype = super()._prepare(x, method)
        x = x.expand(torch.broadcast_shapes(x.shape, self.distribution.batch_shape))
        return x.double(), scale.double() if isinstance(scale, Tensor) else scale, dtype

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
