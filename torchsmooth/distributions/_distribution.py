"""The distribution of noise that the whole package takes: a law with its expectations."""

import abc
import math
from typing import final

import torch
from torch import Tensor

from ._expectation import Value
from ._expectations import Expectations
from ._law import AbstractLaw
from ._numeric import is_narrow, split_at_zero
from ._operands import types


class AbstractDistribution(AbstractLaw):
    """A law for the noise, at location 0.

    `scale` is a number or a tensor that broadcasts against the event (or batch x event), 1 unless
    it is given; `scale_matrix` an invertible matrix `[..., n, n]` that mixes the n dimensions of
    the event. At most one of them is given. If either is a tensor that requires grad, smoothing
    differentiates with respect to it.

    **Subclassing.** Subclasses are final and implement two contracts: `AbstractLaw`, for sampling,
    and `_expectations`, for `torchsmooth.soft`. Laws that are simple functions of the distance of u
    from the nearer end of (0, 1) derive from `AbstractTailLaw`, which needs one function for both
    `_icdf` and `draw`.
    """

    @final
    def probability_positive(self, x: Tensor) -> Tensor:
        """P(x + noise > 0), elementwise: the smoothed step.

        Both tails are accurate, and so are the derivatives, as far as they are representable.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "probability_positive")
        return self._expectations.positive(x, scale).to(dtype)

    @final
    def probability_negative(self, x: Tensor) -> Tensor:
        """P(x + noise < 0), elementwise, with derivatives as in `probability_positive`.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "probability_negative")
        return self._expectations.negative(x, scale).to(dtype)

    @final
    def probability_above(self, x: Tensor) -> Tensor:
        """P(noise > x), elementwise: the survival function, see `probability_positive`."""
        return self.probability_positive(-x)

    @final
    def probability_below(self, x: Tensor) -> Tensor:
        """P(noise < x), elementwise: the cdf, with derivatives as in `probability_positive`."""
        return self.probability_negative(-x)

    @final
    def log_probability_above(self, x: Tensor) -> Tensor:
        """log P(noise > x), elementwise, as far out as the logarithm is representable.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape; -inf, with derivative 0, beyond the support.
        Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "log_probability_above")
        above, distance = split_at_zero(x)
        return self._log_probability(distance, scale, above, near=above).to(dtype)

    @final
    def log_probability_below(self, x: Tensor) -> Tensor:
        """log P(noise < x), elementwise, as far out as the logarithm is representable.

        **Arguments:** `x`: as for `cdf`.

        **Returns:** a tensor of the broadcast shape; -inf, with derivative 0, beyond the support.
        Raises a `ValueError` with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "log_probability_below")
        above, distance = split_at_zero(x)
        return self._log_probability(distance, scale, above, near=~above).to(dtype)

    @final
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
        return self._gap()(x, scale).to(dtype)

    @final
    def expected_clamp(self, x: Tensor, lo: float | Tensor, hi: float | Tensor) -> Tensor:
        """E clamp(x + noise, lo, hi), elementwise. It exists for every law.

        **Arguments:** `x`: as for `cdf`. `lo`, `hi`: numbers or tensors that broadcast, lo <= hi;
        finite if the noise has no mean.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` if no closed form is
        known (`FromTorch`), or with a `scale_matrix`.
        """
        x, scale, dtype = self._prepare(x, "expected_clamp")
        gap = self._gap()
        lo, hi = (x.new_tensor(1.0) * bound for bound in (lo, hi))
        # Differences of infinities would be NaN; products with the upstream gradient need room.
        largest = 1e-6 * torch.finfo(x.dtype).max
        x = x.clamp(-largest, largest)
        # In wide intervals the gaps at both ends count. In narrow ones they cancel: there the
        # probabilities of lying above are averaged over the interval.
        narrow = is_narrow(hi - lo, scale)
        # Compiled code keeps the masks of a `where` as bool tensors, slowly; clamp has none. It has
        # the slope 1 at both ends. So the distance from the lower one counts as positive there.
        above_lo = x - lo + torch.finfo(x.dtype).tiny
        wide = x.clamp(lo, hi) + gap(above_lo, scale) - gap(x - hi, scale)
        start, width = torch.where(narrow, lo, 0.0), torch.where(narrow, hi - lo, 0.0)
        rise = self._expectations.rise(x - hi, width, scale)
        return torch.where(narrow, start + rise, wide).to(dtype)

    @final
    def probability_between(self, lo: Tensor, hi: Tensor) -> Tensor:
        """P(lo < noise < hi), elementwise, without cancellation in the tails or in short intervals.

        **Arguments:** `lo`, `hi`: tensors that broadcast against each other and against the scale,
        lo <= hi.

        **Returns:** a tensor of the broadcast shape. Raises a `ValueError` with a `scale_matrix`.
        """
        lo, scale, dtype = self._prepare(lo, "probability_between")
        hi, _, _ = self._prepare(hi, "probability_between")
        return self._expectations.between(lo, hi, scale).to(dtype)

    @final
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
        steps = self._expectations.steps
        if steps is None:
            raise self._no_closed_form()
        return steps(below, above, below.new_tensor(1.0) * scale, missing).to(dtype)

    @final
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

    @property
    @abc.abstractmethod
    def _expectations(self) -> Expectations: ...

    @abc.abstractmethod
    def _from_quantile(self, tail: Tensor, upper: Tensor) -> Tensor:
        """The noise with the probability `tail` beyond it, above where `upper`, below elsewhere."""

    @abc.abstractmethod
    def _operand(self, x: Tensor) -> Tensor:
        """x in the shape and the type that the expectations take it in."""

    @final
    def _gap(self) -> Value:
        gap = self._expectations.gap
        if gap is None:
            raise self._no_closed_form()
        return gap

    @final
    def _no_closed_form(self) -> ValueError:
        return ValueError(
            f"distribution must be a law whose expectations are known in closed form, got {self!r};"
            " use one of torchsmooth's own laws, or smooth the function by ts.smooth"
        )

    @final
    def _log_probability(
        self, distance: Tensor, scale: float | Tensor, above: Tensor, near: Tensor
    ) -> Tensor:
        """log P(beyond x) where `near`, log(1 - P(beyond x)) elsewhere, beyond: away from 0."""
        known = self._expectations
        # Of the first the derivative may be infinite where it is not taken.
        log_tail = known.log_tail(torch.where(near, distance, 0.0), scale, above)
        return torch.where(near, log_tail, torch.log1p(-known.tail(distance, scale, above)))

    @final
    def _prepare(self, x: Tensor, method: str) -> tuple[Tensor, float | Tensor, torch.dtype]:
        """x and the scale in the type to compute in, and the type of the result."""
        scale = self._elementwise_scale(method)
        dtype, compute = types(x, scale)
        operand = self._operand(x.to(compute))
        if isinstance(scale, Tensor):
            scale = scale.to(compute).to(operand.dtype)
        return operand, scale, dtype
