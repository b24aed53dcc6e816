"""Every operator of one noisy variable, under every law, against quadrature, limits and types."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch
import torch._dynamo
from laws import FACTS, SCIPY, UNBOUNDED, WITH_MEAN
from operators import OPERATORS, Operator, expectation
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import torchsmooth as ts
from torchsmooth import soft
from torchsmooth.distributions import LAWS


CASES = [
    pytest.param(law, name, id=f"{law}-{name}")
    for law in LAWS
    for name, operator in OPERATORS.items()
    if operator.bounded or FACTS[law].mean is not None
]
STAIRCASES = ("round", "floor", "ceil", "trunc")
POINTS = (-2.31, -0.57, 0.0, 0.302, 0.7, 1.93)


def evaluate(operator: Operator, law: str, x: Tensor, scale: float | Tensor) -> Tensor:
    return operator.soft(x, LAWS[law](scale))


def staircase(law: str, name: str, x: float, scale: float) -> float:
    """The expectation of a staircase: its value at 0 plus the steps that the noise climbs."""
    noise = SCIPY[law]
    reach = scale * min(FACTS[law].support[1], 42.0)
    steps = np.arange(-math.ceil(reach) - 5, math.ceil(reach) + 6).astype(float)
    steps = steps + {"round": 0.5}.get(name, 0.0)
    if name == "trunc":
        steps = steps[steps != 0]
    up, down = steps[steps >= x], steps[steps < x]
    climbed = noise.sf((up - x) / scale).sum() - noise.cdf((down - x) / scale).sum()
    hard = {"round": round, "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc}[name]
    return hard(x) + climbed + (name == "ceil" and x == math.floor(x)) - (x in steps)


@pytest.mark.parametrize("law, name", CASES)
@pytest.mark.parametrize("scale", [0.28, 1.7])
def test_value_is_the_expectation(law: str, name: str, scale: float) -> None:
    operator = OPERATORS[name]
    x = torch.tensor(POINTS, dtype=torch.float64)
    if name in STAIRCASES and scale > 1:
        with np.errstate(over="ignore"):
            expected = [staircase(law, name, point, scale) for point in POINTS]
    else:
        with warnings.catch_warnings():
            # The integral is too close to 0 for a relative error of 1e-10.
            warnings.simplefilter("ignore", scipy.integrate.IntegrationWarning)
            expected = [
                expectation(law, operator.hard, operator.breaks, point, scale) for point in POINTS
            ]
    actual = evaluate(operator, law, x, scale)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-6, atol=1e-11)
    as_tensor = torch.full((1,), scale, dtype=torch.float64)
    torch.testing.assert_close(evaluate(operator, law, x, as_tensor), actual, rtol=1e-13, atol=0)


@pytest.mark.parametrize("law, name", CASES)
def test_derivatives(law: str, name: str) -> None:
    # Away from the points where a breakpoint meets a kink of the density (-1, 0 or 1 scale away).
    x = torch.tensor([-1.93, -0.23, 0.36, 1.24], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.47, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor, scale: Tensor) -> Tensor:
        return evaluate(OPERATORS[name], law, x, scale)

    assert gradcheck(function, (x, scale))
    # Wigner's density is not differentiable at its edges, but here it is.
    assert gradgradcheck(function, (x, scale))


@pytest.mark.parametrize("law, name", CASES)
def test_hard_limit(law: str, name: str) -> None:
    operator = OPERATORS[name]
    x = torch.tensor([-2.31, -0.57, 0.302, 0.71, 1.93], dtype=torch.float64)
    # The Cauchy law has 1e-12 of its mass beyond 1e12 / pi scales.
    scale = torch.tensor([1e-30, 1e-14], dtype=torch.float64).unsqueeze(-1)
    if "narrow" in name:
        x = x[[0, 1, 4]]
    expected = torch.tensor([float(operator.hard(y)) for y in x.tolist()], dtype=torch.float64)
    actual = evaluate(operator, law, x, scale)
    torch.testing.assert_close(actual, expected.expand_as(actual), rtol=0, atol=1e-8)


MAGNITUDES = (0.0, *(10.0**k for k in range(-30, 31, 2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("law, name", CASES)
def test_extreme_arguments(law: str, name: str, dtype: torch.dtype) -> None:
    """No NaN and no overflow, in values and first derivatives."""
    magnitudes = torch.tensor((*MAGNITUDES, math.inf), dtype=dtype)
    x = torch.cat([-magnitudes, magnitudes]).unsqueeze(-1)
    scale = torch.tensor([10.0**k for k in range(-30, 31, 3)], dtype=dtype)
    x, scale = (t.clone().requires_grad_() for t in torch.broadcast_tensors(x, scale))
    value = evaluate(OPERATORS[name], law, x, scale)
    assert value.isfinite()[x.isfinite()].all()
    assert not value.isnan().any()
    slopes = torch.autograd.grad(value.sum(), (x, scale))
    for slope in slopes:
        assert not slope.isnan().any()
    if name not in ("narrow clamp", "narrow equal"):  # their factor 2^16
        assert all(slope.isfinite().all() for slope in slopes)
        bound = 3 if name in ("abs", "relu", "maximum", "minimum", "clamp") else math.inf
        assert (slopes[0].abs() <= bound).all()


@pytest.mark.parametrize("law", LAWS)
def test_log_heaviside(law: str) -> None:
    z = np.array([-40.0, -7.0, -5.9, -0.99, -0.5, 0.0, 0.5, 3.0, 20.0])
    with np.errstate(all="ignore"):
        expected = SCIPY[law].logsf(-z)
    x = torch.tensor(z * 0.3)
    actual = soft.log_heaviside(x, LAWS[law](0.3)).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-300)
    single = soft.log_heaviside(x.float(), LAWS[law](0.3)).numpy()
    np.testing.assert_allclose(
        single, expected, rtol=2e-4 if FACTS[law].is_compact else 1e-5, atol=1e-30
    )


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_log_heaviside_far_out(law: str, dtype: torch.dtype) -> None:
    z = torch.tensor([-1e15, -1e6, -1e3, 1e3, 1e6, 1e15], dtype=dtype, requires_grad=True)
    value = soft.log_heaviside(z, LAWS[law]())
    (slope,) = torch.autograd.grad(value.sum(), z)
    d = z.detach().abs()[:3]
    known, infinite = FACTS[law].log_tail, torch.full_like(d, -math.inf)
    tail = (infinite.numpy(), np.zeros(3)) if known is None else known(d.double().numpy())
    expected, expected_slope = (torch.as_tensor(t).to(dtype) for t in tail)
    torch.testing.assert_close(value[:3], expected, rtol=2e-6, atol=0)
    torch.testing.assert_close(slope[:3], expected_slope, rtol=2e-6, atol=0)
    near_one = torch.as_tensor(SCIPY[law].sf(z[3:].detach().double().numpy())).to(dtype)
    torch.testing.assert_close(value[3:], -near_one, rtol=1e-2, atol=0)


@pytest.mark.parametrize("law", UNBOUNDED)
def test_gradients_have_no_dead_zone(law: str) -> None:
    """In float32, wherever the density and the tail are representable."""
    noise = np.concatenate([np.linspace(*FACTS[law].float32_range, 61), np.linspace(-1, 1, 8)])
    for scale in (1.0, 1e-6, 1e-30):
        x = torch.tensor(-noise * scale, dtype=torch.float32, requires_grad=True)
        gamma = torch.tensor(scale, requires_grad=True)
        e = -x.detach().double().numpy() / gamma.item()
        density = np.exp(SCIPY[law].logpdf(e))
        heaviside = soft.heaviside(x, LAWS[law](gamma))
        (slope,) = torch.autograd.grad(heaviside.sum(), x)
        # In the tails a rounding error of z is amplified z times.
        tails = FACTS[law].tails
        rtol = {"squared exponential": 3e-5, "exponential": 2e-5, "power": 1e-6}[tails]
        np.testing.assert_allclose(slope.numpy() * scale, density, rtol=rtol)
        if FACTS[law].mean is not None:
            below = soft.less(x, 0.0, LAWS[law](gamma))
            (fall,) = torch.autograd.grad(below.sum(), x)
            np.testing.assert_allclose(fall.numpy() * scale, -density, rtol=rtol)
            (rise,) = torch.autograd.grad(soft.relu(x, LAWS[law](gamma)).sum(), x)
            np.testing.assert_allclose(rise.numpy(), SCIPY[law].sf(e), rtol=rtol)


def test_gradient_in_the_scale_far_out() -> None:
    # P(x + scale noise > 0) = atan(scale / -x) / pi there: its slope in the scale is 1 / (-x pi).
    x = torch.tensor([-1e30, -1e20, -1e10])
    scale = torch.full_like(x, 1e-30).requires_grad_()
    (slope,) = torch.autograd.grad(soft.heaviside(x, ts.Cauchy(scale)).sum(), scale)
    torch.testing.assert_close(slope, -1 / (math.pi * x), rtol=1e-6, atol=0)


@pytest.mark.parametrize("law", LAWS)
def test_slopes_of_clamp_at_its_bounds(law: str) -> None:
    """There the hard clamp has a kink, the expectation none."""
    noise, scale = SCIPY[law], 0.3
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64, requires_grad=True)
    bounds = [torch.full((2,), b, dtype=torch.float64, requires_grad=True) for b in (-1.0, 1.0)]
    slopes = torch.autograd.grad(soft.clamp(x, *bounds, LAWS[law](scale)).sum(), (x, *bounds))
    to_lo, to_hi = (bound.detach() - x.detach() for bound in bounds)
    below, above = noise.cdf(to_lo / scale), noise.sf(to_hi / scale)
    for actual, expected in zip(slopes, (1 - below - above, below, above), strict=True):
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("law", WITH_MEAN)
def test_gap_of_the_relu_does_not_drown(law: str) -> None:
    # The slope of E relu(x + scale noise) in the scale is E[noise; noise > -x / scale].
    x = torch.tensor([1e6, 1e9])
    scale = torch.ones((), requires_grad=True)
    (slope,) = torch.autograd.grad(soft.relu(x, LAWS[law](scale)).sum(), scale)
    assert slope.item() == pytest.approx(2 * float(SCIPY[law].mean()), rel=1e-6, abs=1e-30)


def test_heaviside_of_an_asymmetric_law() -> None:
    x = torch.zeros((), dtype=torch.float64)
    assert soft.heaviside(x, ts.Gumbel()).item() == pytest.approx(1 - math.exp(-1), rel=1e-15)


def test_known_forms() -> None:
    x = torch.linspace(-3, 3, 31, dtype=torch.float64)
    torch.testing.assert_close(soft.heaviside(x, ts.Logistic(0.5)), torch.sigmoid(2 * x))
    torch.testing.assert_close(
        soft.relu(x, ts.Logistic(0.5)), torch.nn.functional.softplus(x, beta=2)
    )
    torch.testing.assert_close(soft.sign(x, ts.Gaussian(2.0)), torch.erf(x / math.sqrt(8)))
    torch.testing.assert_close(soft.abs(x, ts.Laplace()), x.abs() + torch.exp(-x.abs()))
    # The difference of two Gumbel variables is logistic.
    pair = torch.stack([x, torch.zeros_like(x)])
    torch.testing.assert_close(
        soft.maximum(x, 0.0, ts.Logistic(0.7)) + 0.7 * 0.57721566490153286,
        soft.amax(pair, 0, ts.Gumbel(0.7)),
    )


@pytest.mark.parametrize("law", WITH_MEAN)
def test_maximum_and_minimum_share_the_sum(law: str) -> None:
    noise = LAWS[law](0.6)
    a, b = torch.randn(2, 20, dtype=torch.float64)
    total = soft.maximum(a, b, noise) + soft.minimum(a, b, noise)
    torch.testing.assert_close(total, a + b + noise.mean())
    torch.testing.assert_close(soft.maximum(1e10 + a, 0.0, noise), 1e10 + a + noise.mean())


@pytest.mark.parametrize("law", WITH_MEAN)
def test_both_sums_of_round_agree_where_they_meet(law: str) -> None:
    # Off the points where the edge of the semicircle's support meets a step.
    x = torch.linspace(-1.47, 1.52, 61, dtype=torch.float64, requires_grad=True)
    results = []
    for scale in np.nextafter(FACTS[law].crossover, (0, 100)):
        gamma = torch.tensor(scale, requires_grad=True)
        value = soft.round(x, LAWS[law](gamma))
        results.append((value, *torch.autograd.grad(value.sin().sum(), (x, gamma))))
    for small, large in zip(*results, strict=True):
        torch.testing.assert_close(small, large, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("law", WITH_MEAN)
@pytest.mark.parametrize("scale", [1e2, 1e10, 1e30])
def test_round_for_large_scales(law: str, scale: float) -> None:
    x = torch.linspace(-1.5, 1.5, 61, dtype=torch.float64)
    noise = LAWS[law](scale)
    expected = x + noise.mean()
    # The semicircle's wave is the largest: its amplitude falls as scale^-3/2.
    torch.testing.assert_close(soft.round(x, noise), expected, rtol=1e-12, atol=scale**-1.5 + 1e-15)


def test_round_of_large_numbers() -> None:
    x = torch.tensor([1e30, -1e30, 2.0**24 + 2, math.inf, -math.inf, 8388607.5])
    torch.testing.assert_close(
        soft.round(x, ts.Gaussian(0.1)),
        torch.tensor([1e30, -1e30, 2.0**24 + 2, math.inf, -math.inf, 8388607.5]),
    )


def test_floor_keeps_small_distances() -> None:
    # -1e-10 is one scale below a step: the probability of climbing it is known exactly.
    x = torch.tensor(-1e-10, dtype=torch.float32)
    value = soft.floor(x, ts.Logistic(1e-10))
    assert value.item() == pytest.approx(-1 + 1 / (1 + math.e), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("law, name", CASES)
def test_half_types_compute_in_float32(law: str, name: str, dtype: torch.dtype) -> None:
    x = torch.tensor(POINTS, dtype=dtype, requires_grad=True)
    operator = OPERATORS[name]
    value = evaluate(operator, law, x, 0.5)
    assert value.dtype == dtype
    wide = x.detach().float().requires_grad_()
    if name in ("narrow clamp", "narrow equal"):
        return  # their bounds are one number in half types
    # The other operands are numbers of the half type.
    expected = evaluate(operator, law, wide, 0.5)
    torch.testing.assert_close(value.float(), expected, rtol=2e-2, atol=2e-2)
    (slope,) = torch.autograd.grad(value.sum(), x)
    (expected_slope,) = torch.autograd.grad(expected.sum(), wide)
    torch.testing.assert_close(slope.float(), expected_slope, rtol=2e-2, atol=3e-2)


def test_types_and_shapes() -> None:
    x = torch.zeros(2, 3)
    assert soft.relu(x, ts.Gaussian(torch.ones(3, dtype=torch.float64))).dtype == torch.float64
    assert soft.relu(x, ts.Gaussian(torch.tensor(1.0, dtype=torch.float64))).dtype == torch.float32
    assert soft.relu(x, ts.Gaussian(torch.ones(4, 1, 1))).shape == (4, 2, 3)
    assert soft.quantize(x, [0.0, 1.0], ts.Gaussian(torch.ones(4, 1, 1))).shape == (4, 2, 3)
    assert soft.maximum(x, torch.zeros(5, 1, 1), ts.Gaussian()).shape == (5, 2, 3)
    assert soft.maximum(1.0, x.half(), ts.Gaussian()).dtype == torch.float16
    assert soft.round(x[:0], ts.Gaussian()).shape == (0, 3)
    assert soft.round(x.T, ts.Gaussian()).shape == (3, 2)
    assert soft.relu(torch.tensor(0.0), ts.Gaussian()).shape == ()


def test_nan_stays_with_its_element() -> None:
    x = torch.tensor([math.nan, 0.3])
    for name, operator in OPERATORS.items():
        value = operator.soft(x, ts.Gumbel(0.2))
        assert value.isnan().tolist() == [True, False], name


def test_gradients_reach_the_other_operands() -> None:
    a, b, c = torch.tensor([[0.3, -1.1], [-0.2, -0.9], [1.4, 0.3]], dtype=torch.float64).unbind()
    operands = [t.clone().requires_grad_() for t in (a, b, c)]
    noise = ts.Gumbel(0.8)
    assert gradcheck(lambda x, lo, hi: soft.clamp(x, lo, hi, noise), operands)
    assert gradcheck(lambda x, lo, hi: soft.threshold(x, lo, hi, noise), operands)
    assert gradcheck(lambda a, b, c: soft.equal(a, b, c, noise), operands)
    assert gradcheck(lambda a, b, c: soft.maximum(a, b, noise) * c, operands)
    assert gradcheck(lambda x, b, c: soft.hardshrink(x, c, noise) * b, operands)
    levels = torch.tensor([-1.0, 0.2, 0.9], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, levels: soft.quantize(x, levels, noise), (operands[0], levels))


# Laws of torch.distributions.


def test_from_torch_by_its_cdf() -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    ours, theirs = ts.Gaussian(0.5), ts.FromTorch(torch.distributions.Normal(0.0, 1.0), 0.5)
    for operator in (
        soft.heaviside,
        soft.log_heaviside,
        soft.sign,
        lambda x, d: soft.greater(x, 0.3, d),
        lambda x, d: soft.less(x, 0.3, d),
        lambda x, d: soft.equal(x, 0.3, 0.2, d),
        lambda x, d: soft.quantize(x, [-1.0, 0.0, 1.0], d),
    ):
        torch.testing.assert_close(operator(x, theirs), operator(x, ours), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["abs", "relu", "clamp", "maximum", "round", "floor"])
def test_from_torch_has_no_closed_form(name: str) -> None:
    noise = ts.FromTorch(torch.distributions.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="known in closed form.*ts.smooth"):
        OPERATORS[name].soft(torch.zeros(2), noise)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", WITH_MEAN)
def test_trunc_near_zero(law: str, dtype: torch.dtype) -> None:
    """There the floor's step at 0 is far larger than all that is left without it."""
    noise, scale = SCIPY[law], 0.08
    for value in (-0.31, 0.0, 0.04, 0.45):
        x = torch.tensor(value, dtype=dtype, requires_grad=True)
        at = x.item()
        y = soft.trunc(x, LAWS[law](scale))
        (slope,) = torch.autograd.grad(y, x)
        up, down = (1 - at) / scale, (-1 - at) / scale
        expected = (
            noise.sf(up) - noise.cdf(down),  # the next steps are 1e5 times smaller, or more
            (noise.pdf(up) + noise.pdf(down)) / scale,
        )
        tolerance = 1e-3 if dtype == torch.float32 else 1e-5
        assert [y.item(), slope.item()] == pytest.approx(expected, rel=tolerance, abs=1e-37)


# Transforms.


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of jacfwd
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ts.soft.heaviside(x, ts.Logistic()),
        lambda x: ts.soft.relu(x, ts.Gaussian()),
        lambda x: ts.soft.where(x.sigmoid(), x, x.square()),
    ],
    ids=["heaviside", "relu", "where"],
)
def test_forward_over_forward_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    """Torch would take the inner derivative for a constant, and answer zero."""
    jacfwd = torch.func.jacfwd
    with pytest.raises(NotImplementedError, match="forward mode of forward mode.*func.hessian"):
        jacfwd(jacfwd(function))(torch.tensor(0.3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of jacfwd
@pytest.mark.parametrize("law", LAWS)
def test_transforms(law: str) -> None:
    """vmap, reverse over forward and forward over reverse, on all operators at once."""
    has_mean = FACTS[law].mean is not None
    operators = [o for o in OPERATORS.values() if o.bounded or has_mean]

    def function(x: Tensor, scale: Tensor) -> Tensor:
        return torch.stack([o.soft(x, LAWS[law](scale)) for o in operators])

    x = torch.tensor([-0.23, 0.36, 1.24], dtype=torch.float64)
    scale = torch.tensor([0.47, 0.6, 1.3], dtype=torch.float64)
    value = function(x, scale)
    torch.testing.assert_close(torch.vmap(function, out_dims=1)(x, scale), value)
    reverse = torch.func.jacrev(function, (0, 1))(x, scale)
    forward = torch.func.jacfwd(function, (0, 1))(x, scale)
    torch.testing.assert_close(reverse, forward)
    for i in range(len(x)):
        assert (reverse[0][:, i].abs().sum(-1) == reverse[0][:, i, i].abs()).all()


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("law", LAWS)
def test_compiles_whole(law: str) -> None:
    has_mean = FACTS[law].mean is not None
    operators = [o for o in OPERATORS.values() if o.bounded or has_mean]

    def function(x: Tensor, scale: Tensor) -> Tensor:
        return torch.stack([o.soft(x, LAWS[law](scale)) for o in operators])

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    x = torch.tensor([-0.23, 0.36, 1.24], requires_grad=True)
    scale = torch.tensor(0.47, requires_grad=True)
    results = []
    for f in (compiled, function):
        value = f(x, scale)
        results.append((value, *torch.autograd.grad(value.sin().sum(), (x, scale))))
    torch.testing.assert_close(*results)
    torch._dynamo.reset()


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("transform", [torch.func.jacrev, torch.func.jacfwd])
def test_second_derivatives_of_compiled_transforms(transform: Any, law: str) -> None:
    def function(x: Tensor) -> Tensor:
        noise = LAWS[law](0.8)
        return soft.heaviside(x, noise) + soft.clamp(x, -0.3, 0.4, noise)

    torch._dynamo.reset()
    x = torch.tensor([-0.23, 0.36, 1.24], dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(transform(function), fullgraph=True, backend="eager")
    results = []
    for f in (compiled, transform(function)):
        jacobian = f(x)
        results.append((jacobian, *torch.autograd.grad(jacobian.sum(), x)))
    torch.testing.assert_close(*results)
    torch._dynamo.reset()


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("law", LAWS)
def test_compiles_for_every_size(law: str) -> None:
    """Two calls in one graph: what the first one reads must not bind the second."""

    def function(x: Tensor) -> Tensor:
        noise = LAWS[law](0.8)
        return soft.heaviside(soft.clamp(x, -0.3, 0.4, noise), noise)

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="eager", dynamic=True)
    for size in (3, 5):
        x = torch.linspace(-1, 1, size, requires_grad=True)
        torch.testing.assert_close(
            torch.autograd.grad(compiled(x).sum(), x), torch.autograd.grad(function(x).sum(), x)
        )
    torch._dynamo.reset()


# Bad input.


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if not o.bounded])
def test_expectations_that_do_not_exist(name: str) -> None:
    with pytest.raises(ValueError, match="must have a mean.*does not exist.*Cauchy"):
        OPERATORS[name].soft(torch.zeros(2), ts.Cauchy())


@pytest.mark.parametrize("name", OPERATORS)
def test_bad_operands(name: str) -> None:
    operator = OPERATORS[name].soft
    with pytest.raises(TypeError, match="must be a floating-point tensor, got torch.int64"):
        operator(torch.tensor([1, 2]), ts.Gaussian())
    with pytest.raises(TypeError, match="must be a distribution of torchsmooth"):
        operator(torch.zeros(2), 0.3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scale_matrix"):
        operator(torch.zeros(2), ts.Gaussian(scale_matrix=torch.eye(2)))


def test_bad_bounds() -> None:
    x, noise = torch.zeros(2), ts.Gaussian()
    with pytest.raises(ValueError, match="lo must not be larger than hi, got lo=2.0 and hi=1.0"):
        soft.clamp(x, 2.0, 1.0, noise)
    with pytest.raises(ValueError, match="must have a mean"):
        soft.clamp(x, -math.inf, 1.0, ts.Cauchy())
    with pytest.raises(TypeError, match="hi must be a number or a floating-point tensor, got '1'"):
        soft.clamp(x, 0.0, "1", noise)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lambd must not be negative, got -1.0"):
        soft.hardshrink(x, -1.0, noise)
    with pytest.raises(ValueError, match="tolerance must not be negative, got -0.1"):
        soft.equal(x, 0.0, -0.1, noise)
    with pytest.raises(TypeError, match="b must be a torch.Tensor, got float"):
        soft.maximum(1.0, 2.0, noise)
    for levels in ([1.0, 0.0], [0.0, 0.0], torch.zeros(0), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match="levels must be one row of increasing numbers"):
            soft.quantize(x, levels, noise)
    with pytest.raises(TypeError, match="levels must be a floating-point tensor"):
        soft.quantize(x, torch.tensor([0, 1]), noise)


def test_infinite_bounds() -> None:
    x = torch.tensor([-1.0, 0.5], dtype=torch.float64)
    noise = ts.Gumbel(0.7)
    torch.testing.assert_close(soft.clamp(x, 0.0, math.inf, noise), soft.relu(x, noise))
