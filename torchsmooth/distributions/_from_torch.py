"""Laws of `torch.distributions` as noise."""

import copy
import math
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution, constraints
from torch.distributions.transforms import Transform

from .._torch_internals import values_are_readable
from ._distribution import AbstractDistribution
from ._expectation import Expectation, Scale
from ._expectations import (
    Expectations,
    between_by_tails,
    log_by_tail,
    negated,
    negative_by_tail,
    positive_by_tail,
    rise_by_quadrature,
    slopes_by_density,
)
from ._numeric import ratio_held_at
from ._scale import check_scales, constructor, describe_scales
from ._tail_law import WORDS
from ._traits import Traits


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

# So many scales away tails are taken for 0: far more than for laws of ours, because a law of torch
# may have a scale of its own.
_REACH = 1e60


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

    @constructor
    def __init__(
        self,
        distribution: Distribution,
        scale: float | Tensor = 1.0,
        *,
        scale_matrix: Tensor | None = None,  # [..., n, n]
    ) -> None:
        self.scale, self.scale_matrix = check_scales(scale, scale_matrix)
        self.distribution = _check_law(distribution)

    def __repr__(self) -> str:
        scales = describe_scales(self.scale, self.scale_matrix)
        return f"FromTorch({self.distribution}, {scales})"

    def draw(
        self,
        words: Tensor,  # [..., n], int64, in [0, 2^32); n: the event, flattened
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        u = (words.double() + 0.5) * (1 / WORDS)
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

    @property
    def traits(self) -> Traits:
        is_laplace = isinstance(self.distribution, torch.distributions.Laplace)
        return Traits(
            support=None,
            tails=None,
            symmetric=None,
            mean=None,
            finite_score_variance=None,
            kinks="at its location" if is_laplace else None,
        )

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

    def _standard_mean(self) -> Tensor | None:
        mean = self.distribution.mean
        is_known = not values_are_readable(mean) or bool(mean.isfinite().all())
        return mean if is_known else None

    @property
    def _expectations(self) -> Expectations:
        slopes = slopes_by_density(self._density, _REACH)
        positive = Expectation(positive_by_tail(self._tail), slopes, None)
        return Expectations(
            tail=self._tail,
            log_tail=log_by_tail(self._tail),
            positive=positive,
            negative=Expectation(negative_by_tail(self._tail), negated(slopes), None),
            gap=None,
            rise=rise_by_quadrature(positive),
            between=between_by_tails(self._tail, self._density, self._ratio),
            steps=None,
        )

    def _from_quantile(self, tail: Tensor, upper: Tensor) -> Tensor:
        tail = tail.clamp(min=torch.finfo(tail.dtype).eps)  # so that 1 - tail is not 1
        return self._icdf(torch.where(upper, 1 - tail, tail))

    def _operand(self, x: Tensor) -> Tensor:
        return x.expand(torch.broadcast_shapes(x.shape, self.distribution.batch_shape)).double()

    def _density(self, z: Tensor) -> Tensor:
        return self._log_prob(z).exp()

    def _tail(self, distance: Tensor, scale: Scale, upper: Tensor) -> Tensor:
        z = self._ratio(distance, scale)
        return torch.where(upper, 1 - self._cdf(z), self._cdf(-z))

    def _ratio(self, distance: Tensor, scale: Scale) -> Tensor:
        return ratio_held_at(_REACH, distance, scale)

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
