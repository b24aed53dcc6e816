"""Extrema over a dimension: closed forms against scipy, quadrature against both."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import torch
import torch._dynamo
from laws import FACTS, SCIPY, SMOOTH, difference
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import torchsmooth as ts
from torchsmooth import soft
from torchsmooth.distributions import LAWS


EULER = 0.57721566490153286
X = (0.3, -0.9, 1.1, 0.75)


def by_quadrature(law: str, x: tuple[float, ...], scale: float, sign: int) -> tuple[list, float]:
    """P(i is the largest of x + sign * scale * noise), and the expectation of the largest."""
    noise = SCIPY[law]
    compact = FACTS[law].is_compact
    kinks = {(a - b) / scale + e for a in x for b in x for e in (-1, 0, 1)}
    breaks = sorted(kinks) if compact else [-4, 0, 4]

    def integral(i: int, weight: Callable[[float], float]) -> float:
        def integrand(e: float) -> float:
            others = [
                noise.cdf((x[i] - y) / scale + e) if sign > 0 else noise.sf((y - x[i]) / scale + e)
                for j, y in enumerate(x)
                if j != i
            ]
            return weight(x[i] + sign * scale * e) * math.prod(others) * FACTS[law].density(e)

        low, high = (-1, 1) if compact else (-30, 60)
        points = [low, *(e for e in breaks if low < e < high), high]
        return sum(
            scipy.integrate.quad(integrand, a, b, epsabs=1e-10)[0]
            for a, b in itertools.pairwise(points)
        )

    with np.errstate(over="ignore"):
        probabilities = [integral(i, lambda y: 1.0) for i in range(len(x))]
        return probabilities, sum(integral(i, lambda y: y) for i in range(len(x)))


def test_closed_forms() -> None:
    x = torch.tensor(X, dtype=torch.float64)
    noise = ts.Gumbel(0.6)
    probabilities, maximum = by_quadrature("gumbel", X, 0.6, 1)
    torch.testing.assert_close(
        soft.argmax(x, 0, noise), x.new_tensor(probabilities), rtol=1e-7, atol=1e-9
    )
    assert soft.amax(x, 0, noise).item() == pytest.approx(maximum, rel=1e-7)
    # The smallest of x - noise is minus the largest of -x + noise.
    mirrored, minimum = by_quadrature("gumbel", tuple(-v for v in X), 0.6, 1)
    torch.testing.assert_close(
        soft.argmin(x, 0, noise, mirrored=True), x.new_tensor(mirrored), rtol=1e-7, atol=1e-9
    )
    assert soft.amin(x, 0, noise, mirrored=True).item() == pytest.approx(-minimum, rel=1e-7)


@pytest.mark.parametrize("law", ["gaussian", "gumbel", "triangular", "wigner_semicircle"])
def test_quadrature(law: str) -> None:
    x, noise = torch.tensor(X, dtype=torch.float64), LAWS[law](0.6)
    tolerance = 1e-7 if law in SMOOTH else 1e-4
    for sign, argument, value in (
        (1, soft.argmax_quadrature, soft.amax_quadrature),
        (-1, soft.argmin_quadrature, soft.amin_quadrature),
    ):
        # The smallest of x + noise is minus the largest of -x - noise.
        points = X if sign > 0 else tuple(-v for v in X)
        probabilities, extremum = by_quadrature(law, points, 0.6, sign)
        actual = argument(x, 0, noise)
        torch.testing.assert_close(actual, x.new_tensor(probabilities), rtol=0, atol=tolerance)
        assert value(x, 0, noise).item() == pytest.approx(sign * extremum, abs=tolerance)


@pytest.mark.parametrize("law", LAWS)
def test_quadrature_of_two(law: str) -> None:
    """P(a + noise > b + noise'), which is 1/2 for a tie, and E max of a tie."""
    noise = LAWS[law](0.3)
    x = torch.tensor([[1.0, 1.0], [-1e30, 1e30], [0.0, 0.4]], dtype=torch.float64)
    p = soft.argmax_quadrature(x, -1, noise)
    tolerance = 1e-12 if law in SMOOTH else 1e-4
    torch.testing.assert_close(p[0], x.new_tensor([0.5, 0.5]), rtol=0, atol=tolerance)
    torch.testing.assert_close(p.sum(-1), torch.ones(3, dtype=x.dtype), rtol=0, atol=tolerance)
    expected, _ = difference(law, 0.4 / 0.3)
    assert p[2, 1].item() == pytest.approx(expected, abs=1e-9 if law in SMOOTH else 1e-4)
    if FACTS[law].mean is None:
        with pytest.raises(ValueError, match="must have a mean"):
            soft.amax_quadrature(x, -1, noise)
        # For x at 1e30 the Cauchy law still has 1e-31 of its mass that far out.
        torch.testing.assert_close(p[1], x.new_tensor([0.0, 1.0]), rtol=0, atol=1e-12)
    else:
        value = soft.amax_quadrature(x, -1, noise)
        assert value[1].item() == pytest.approx(1e30)
        assert p[1].tolist() == pytest.approx([0.0, 1.0], abs=tolerance)


def test_quadrature_against_the_closed_form() -> None:
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    noise = ts.Gumbel(torch.rand(5, 1, dtype=torch.float64)[:1] + 0.5)
    torch.testing.assert_close(
        soft.argmax_quadrature(x, 1, noise), soft.argmax(x, 1, noise), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        soft.amax_quadrature(x, 1, noise, keepdim=True), soft.amax(x, 1, noise, keepdim=True)
    )
    # By FromTorch, through icdf and cdf.
    normal = ts.FromTorch(torch.distributions.Normal(0.0, 1.0), 0.5)
    for function in (soft.argmax_quadrature, soft.argmin_quadrature, soft.amax_quadrature):
        torch.testing.assert_close(
            function(x, 1, normal), function(x, 1, ts.Gaussian(0.5)), rtol=0, atol=1e-8
        )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_topk_by_enumeration(k: int) -> None:
    """Under Gumbel noise the order is Plackett and Luce's."""
    x = torch.tensor(X, dtype=torch.float64)
    weights = (x / 0.6).exp().tolist()
    expected = [0.0] * 4
    for order in itertools.permutations(range(4)):
        p, rest = 1.0, sum(weights)
        for i in order:
            p, rest = p * weights[i] / rest, rest - weights[i]
        for i in order[:k]:
            expected[i] += p
    actual = soft.topk_mask_quadrature(x, k, 0, ts.Gumbel(0.6))
    torch.testing.assert_close(actual, x.new_tensor(expected), rtol=0, atol=1e-10)
    smallest = soft.topk_mask_quadrature(x, 4 - k, 0, ts.Gumbel(0.6), largest=False)
    torch.testing.assert_close(actual + smallest, torch.ones_like(x), rtol=0, atol=1e-10)


def test_topk_of_all_is_certain() -> None:
    x = torch.randn(3, 4)
    mask = soft.topk_mask_quadrature(x, 4, 1, ts.Laplace(torch.rand(3, 4) + 0.1))
    torch.testing.assert_close(mask, torch.ones(3, 4))


@pytest.mark.parametrize(
    "function",
    [
        soft.argmax,
        soft.amax,
        lambda *a: soft.argmin(*a, mirrored=True),
        lambda *a: soft.amin(*a, mirrored=True),
        soft.argmax_quadrature,
        soft.amin_quadrature,
        lambda x, dim, d: soft.topk_mask_quadrature(x, 2, dim, d),
    ],
)
def test_derivatives(function: Callable[..., Tensor]) -> None:
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([[0.8], [1.3]], dtype=torch.float64, requires_grad=True)

    def of(x: Tensor, scale: Tensor) -> Tensor:
        return function(x, 1, ts.Gumbel(scale))

    assert gradcheck(of, (x, scale))
    assert gradgradcheck(of, (x, scale))
    torch.testing.assert_close(
        torch.vmap(of)(x.unsqueeze(1), scale.unsqueeze(1)).squeeze(1), of(x, scale)
    )


def test_derivative_of_amax_is_argmax() -> None:
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    for law in ("gumbel", "gaussian", "laplace"):
        (slope,) = torch.autograd.grad(soft.amax_quadrature(x, 0, LAWS[law](0.6)), x)
        expected = soft.argmax_quadrature(x, 0, LAWS[law](0.6))
        torch.testing.assert_close(slope, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_extreme_arguments(dtype: torch.dtype) -> None:
    magnitudes = [0.0, 1e-30, 1e-10, 1.0, 1e10, 1e30]
    rows = [(a, b, c) for a in magnitudes for b in magnitudes for c in (0.0, -1e30, -math.inf)]
    x = torch.tensor(rows, dtype=dtype).unsqueeze(0)
    scale = torch.tensor([1e-30, 1e-10, 1.0, 1e10, 1e30], dtype=dtype)[:, None, None]
    x = x.expand(5, -1, -1).clone().requires_grad_()
    scale = scale.expand(5, len(rows), 1).clone().requires_grad_()
    p, value = soft.argmax(x, 2, ts.Gumbel(scale)), soft.amax(x, 2, ts.Gumbel(scale))
    assert p.isfinite().all() and value.isfinite().all()
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p[..., 0]))
    for slope in (
        *torch.autograd.grad(p.square().sum(), (x, scale), retain_graph=True),
        *torch.autograd.grad(value.sum(), (x, scale)),
    ):
        assert not slope.isnan().any()


def test_hard_limits() -> None:
    x = torch.tensor([[0.3, -0.9, 1.1], [2.0, 5.0, -7.0]], dtype=torch.float64)
    best = torch.nn.functional.one_hot(x.argmax(1), 3).double()
    worst = torch.nn.functional.one_hot(x.argmin(1), 3).double()
    for scale in (1e-30, 1e-12):
        noise = ts.Gumbel(scale)
        assert torch.equal(soft.argmax(x, 1, noise), best)
        assert torch.equal(soft.argmin(x, 1, noise, mirrored=True), worst)
        torch.testing.assert_close(soft.amax(x, 1, noise), x.amax(1), rtol=0, atol=1e-11)
        torch.testing.assert_close(soft.amin(x, 1, noise, mirrored=True), x.amin(1))
        torch.testing.assert_close(soft.argmax_quadrature(x, 1, ts.Laplace(scale)), best)
        torch.testing.assert_close(soft.amin_quadrature(x, 1, ts.Laplace(scale)), x.amin(1))


def test_types_and_shapes() -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float16)
    noise = ts.Gumbel()
    assert soft.argmax(x, 1, noise).shape == (2, 3, 4)
    assert soft.argmax(x, 1, noise).dtype == torch.float16
    assert soft.amax(x, 1, noise).shape == (2, 4)
    assert soft.amax(x, -2, noise, keepdim=True).shape == (2, 1, 4)
    assert soft.amax_quadrature(x, 1, noise, keepdim=True).shape == (2, 1, 4)
    assert soft.topk_mask_quadrature(x, 2, 0, noise).shape == (2, 3, 4)
    assert soft.amax(x, 0, ts.Gumbel(torch.ones(3, 1))).shape == (3, 4)
    assert soft.argmax(torch.zeros(3, 0), 1, noise).shape == (3, 0)
    assert soft.argmax(torch.zeros(0, 3), 1, noise).shape == (0, 3)
    assert soft.amax_quadrature(torch.zeros(0, 3), 1, noise).shape == (0,)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiles_whole() -> None:
    def function(x: Tensor, scale: Tensor) -> Tensor:
        noise = ts.Gumbel(scale)
        mask = soft.topk_mask_quadrature(x, 2, 1, noise, num_nodes=16)
        return soft.argmax(x, 1, noise) * mask + soft.amax(x, 1, noise, keepdim=True)

    torch._dynamo.reset()
    x, scale = torch.randn(2, 3), torch.tensor(0.7)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, scale), function(x, scale))
    torch._dynamo.reset()


def test_bad_input() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="must be a Gumbel.*functional.*argmax_quadrature"):
        soft.argmax(x, 1, ts.Gaussian())
    with pytest.raises(ValueError, match="must be a Gumbel.*amin_quadrature"):
        soft.amin(x, 1, ts.Gaussian(), mirrored=True)
    with pytest.raises(ValueError, match="mirrored must be True.*argmin_quadrature"):
        soft.argmin(x, 1, ts.Gumbel(), mirrored=False)
    with pytest.raises(ValueError, match="scale must be the same along dim 1"):
        soft.argmax(x, 1, ts.Gumbel(torch.ones(3)))
    for function in (soft.argmax, soft.amax, soft.argmax_quadrature, soft.amin_quadrature):
        with pytest.raises(ValueError, match="scale_matrix"):
            function(x, 1, ts.Gumbel(scale_matrix=torch.eye(3)))
        with pytest.raises(ValueError, match="dim must be in"):
            function(x, 2, ts.Gumbel())
        with pytest.raises(TypeError, match="x must be a floating-point tensor"):
            function(x.long(), 1, ts.Gumbel())
    for function in (soft.amax, soft.amax_quadrature):
        with pytest.raises(ValueError, match="at least one element along dim"):
            function(x[:, :0], 1, ts.Gumbel())
    with pytest.raises(ValueError, match="k must be at most the number of elements along dim, 3"):
        soft.topk_mask_quadrature(x, 4, 1, ts.Gumbel())
    with pytest.raises(ValueError, match="num_nodes must be at least 2"):
        soft.argmax_quadrature(x, 1, ts.Gumbel(), num_nodes=1)
    with pytest.raises(TypeError, match="num_nodes must be an int, got 8.0"):
        soft.amin_quadrature(x, 1, ts.Gumbel(), num_nodes=8.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("dim", [0, -1])
def test_quadrature_with_a_scale_of_more_dimensions(dim: int) -> None:
    """The dimension is x's, not that of what x and the scale broadcast to."""
    x = torch.randn(4, dtype=torch.float64)
    scale = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    p = soft.argmax_quadrature(x, dim, ts.Gaussian(scale))
    highest = soft.amax_quadrature(x, dim, ts.Gaussian(scale))
    for row, value, s in zip(p, highest, scale, strict=True):
        torch.testing.assert_close(row, soft.argmax_quadrature(x, dim, ts.Gaussian(s)))
        torch.testing.assert_close(value, soft.amax_quadrature(x, dim, ts.Gaussian(s)))
    torch.testing.assert_close(p.sum(-1), torch.ones(3, dtype=torch.float64))
