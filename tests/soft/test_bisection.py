"""Bisection against roots in closed form, and against the hard algorithm."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import torchsmooth as ts
from torchsmooth import soft


# Warnings of the compiler, and of forward mode, are about torch itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def line(x: Tensor, theta: Tensor) -> Tensor:
    return x - theta


def two_roots(x: Tensor, theta: Tensor) -> Tensor:
    return (x - theta) * (x + 1 - theta)


def square(x: Tensor, theta: Tensor) -> Tensor:
    return x**2 - theta


def hard_bisection(g: Any, lo: float, hi: float, theta: float, num_steps: int) -> float:
    for _ in range(num_steps):
        middle = (lo + hi) / 2
        if g(lo, theta) * g(middle, theta) > 0:
            lo = middle
        else:
            hi = middle
    return (lo + hi) / 2


# --- The algorithm's derivative -------------------------------------------------------------------


def test_one_step_in_closed_form() -> None:
    # From [0, 1]: p = sigmoid(k theta (theta - 1/2)), and the middle moves from 1/4 to 3/4.
    theta, k = doubles(-0.7, 0.2, 0.5, 0.9).requires_grad_(), 20.0
    got = soft.bisect(line, 0, 1, theta, num_steps=1, distribution=ts.Logistic(1 / k))
    p = torch.sigmoid(k * theta * (theta - 0.5))
    torch.testing.assert_close(got, 0.25 + 0.5 * p)
    (slope,) = torch.autograd.grad(got.sum(), theta)
    torch.testing.assert_close(slope, 0.5 * p * (1 - p) * k * (2 * theta - 0.5))


@pytest.mark.parametrize("law", [ts.Gaussian, ts.Gumbel, ts.Laplace, ts.WignerSemicircle])
def test_the_smooth_algorithm_step_by_step(law: type[ts.AbstractDistribution]) -> None:
    noise = law(0.05)
    for start in (0.15, 0.4, 0.83):
        theta, a, b = doubles(start), doubles(0.0), doubles(1.0)
        for _ in range(6):
            middle = (a + b) / 2
            z = noise.probability_above(-two_roots(a, theta) * two_roots(middle, theta))
            a, b = z * middle + (1 - z) * a, z * b + (1 - z) * middle
        got = soft.bisect(two_roots, 0, 1, theta, num_steps=6, distribution=noise)
        torch.testing.assert_close(got, (a + b) / 2)


@pytest.mark.parametrize("num_steps", [0, 1, 5, 10])
@pytest.mark.parametrize("g", [line, two_roots, square])
def test_the_hard_limit(g: Any, num_steps: int) -> None:
    theta = doubles(0.123, 0.377, 0.791)
    for law in (ts.Logistic(1e-12), ts.Triangular(1e-12), ts.Cauchy(1e-16)):
        got = soft.bisect(g, 0.0, 1.0, theta, num_steps=num_steps, distribution=law)
        expected = [hard_bisection(g, 0.0, 1.0, t, num_steps) for t in theta.tolist()]
        torch.testing.assert_close(got, doubles(*expected), rtol=0, atol=1e-4 * 2.0**-num_steps)


def test_tangents_are_those_of_a_staircase() -> None:
    theta = torch.linspace(0.1, 0.9, 16_001, dtype=torch.float64, requires_grad=True)

    def tangents(scale: float) -> tuple[Tensor, Tensor]:
        root = soft.bisect(line, 0.0, 1.0, theta, num_steps=3, distribution=ts.Logistic(scale))
        return root.detach(), torch.autograd.grad(root.sum(), theta)[0]

    # The fundamental theorem: on average they are the rise.
    root, slopes = tangents(0.01)
    mean = torch.trapezoid(slopes, dx=0.8 / 16_000) / 0.8
    assert mean.item() == pytest.approx((root[-1] - root[0]).item() / 0.8, rel=1e-4)
    # With little noise, hardly any of them is near 1: nothing, or far more.
    _, slopes = tangents(1e-5)
    assert (slopes.abs() < 1e-3).double().mean() > 0.9
    assert slopes.abs().max() > 100


def test_derivatives_of_the_algorithm() -> None:
    def bisection(theta: Tensor, lo: Tensor, hi: Tensor, scale: Tensor) -> Tensor:
        return soft.bisect(square, lo, hi, theta, num_steps=4, distribution=ts.Logistic(scale))

    inputs = [doubles(0.2, 0.7), doubles(-0.1, 0.1), doubles(1.1), doubles(0.1)]
    inputs = [t.requires_grad_() for t in inputs]
    assert gradcheck(bisection, inputs, check_forward_ad=True)
    assert gradgradcheck(bisection, inputs)


# --- The root's derivative ------------------------------------------------------------------------


def test_roots_and_their_derivatives_up_to_the_third() -> None:
    theta = doubles(0.05, 0.3, 0.9).requires_grad_()
    root = soft.implicit_bisect(square, 0.0, 1.0, theta)
    torch.testing.assert_close(root, theta.sqrt(), rtol=0, atol=2**-54)
    value = root
    for power, factor in ((-0.5, 0.5), (-1.5, -0.25), (-2.5, 0.375)):
        (value,) = torch.autograd.grad(value.sum(), theta, create_graph=True)
        torch.testing.assert_close(value, factor * theta**power, rtol=1e-10, atol=0)


@pytest.mark.parametrize("g", [line, two_roots])
def test_the_cases_of_the_slides(g: Any) -> None:
    # The roots are theta, and theta - 1 beyond theta = 1 in the second case: of slope 1 both.
    theta = doubles(0.05, 0.4, 0.95, 1.2, 1.7)[: 3 if g is line else 5].requires_grad_()
    root = soft.implicit_bisect(g, 0.0, 1.0, theta)
    torch.testing.assert_close(root, torch.where(theta < 1, theta, theta - 1))
    (slope,) = torch.autograd.grad(root.sum(), theta)
    torch.testing.assert_close(slope, torch.ones_like(slope), rtol=1e-12, atol=0)


def test_derivatives_of_a_transcendental_root() -> None:
    # x exp(x) = theta (1 + a): Lambert's function. What g captures counts as what it is given.
    a = doubles(0.3).requires_grad_()

    def root(theta: Tensor, a: Tensor) -> Tensor:
        return soft.implicit_bisect(lambda x, t: x * x.exp() - t * (1 + a), -1.0, 3.0, theta)

    theta = doubles(0.2, 2.5).requires_grad_()
    assert gradcheck(root, (theta, a), check_forward_ad=True)
    assert gradgradcheck(root, (theta, a))
    x = root(theta, a)
    (slope,) = torch.autograd.grad(x.sum(), theta)
    torch.testing.assert_close(slope, (1 + a) / (x.exp() * (1 + x)))


@pytest.mark.parametrize(
    ("lo", "hi", "root"), [(0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (-1.0, 1.0, 0.0)]
)
def test_roots_at_ends_and_midpoints(lo: float, hi: float, root: float) -> None:
    theta = doubles(0.0).requires_grad_()
    x = soft.implicit_bisect(line, lo, hi, theta)
    assert abs(x.item() - root) <= 2.0**-54
    assert torch.autograd.grad(x, theta)[0].item() == 1


def test_no_derivative_is_made_up_where_there_is_none() -> None:
    # The midpoint of the bracket is 0, where x^3 is flat: the cube root has no derivative there.
    def root(theta: Tensor) -> Tensor:
        return soft.implicit_bisect(lambda x, t: x**3 - t, -1.0, 1.0, theta, num_steps=0)

    theta = doubles(0.0)
    assert root(theta).item() == 0
    assert torch.func.jacrev(root)(theta).isnan().all()
    assert torch.func.jacfwd(root)(theta).isnan().all()


def test_the_ends_of_the_bracket_have_no_derivative() -> None:
    lo, hi = doubles(0.0).requires_grad_(), doubles(1.0).requires_grad_()
    theta = doubles(0.3).requires_grad_()
    root = soft.implicit_bisect(line, lo, hi, theta)
    assert torch.autograd.grad(root, (lo, hi), allow_unused=True) == (None, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types_and_shapes_of_roots(dtype: torch.dtype) -> None:
    theta = torch.rand(2, 3, dtype=dtype)
    lo, eps = torch.zeros(3, dtype=dtype), torch.finfo(dtype).eps
    root = soft.implicit_bisect(lambda x: x**3 - theta, lo, 1)
    assert root.dtype == dtype
    torch.testing.assert_close(root, theta ** (1 / 3), rtol=8 * eps, atol=eps)
    blend = soft.bisect(line, lo, 1, theta, num_steps=3, distribution=ts.Logistic(0.1))
    assert blend.dtype == dtype and blend.shape == (2, 3)
    empty = soft.implicit_bisect(line, 0.0, 1.0, torch.zeros(0, dtype=dtype))
    assert empty.shape == (0,)


def test_nan_stays_in_its_element() -> None:
    root = soft.implicit_bisect(line, 0.0, 1.0, doubles(0.25, math.nan))
    assert root[0].item() == pytest.approx(0.25) and root[1].isnan()


def test_elements_without_a_root_are_nan_where_nobody_may_look() -> None:
    root = torch.vmap(lambda t: soft.implicit_bisect(line, 0.0, 1.0, t))(doubles(0.25, 3.0))
    assert root[0].item() == pytest.approx(0.25) and root[1].isnan()


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.compiled
@pytest.mark.parametrize("function", ["bisect", "implicit_bisect"])
@pytest.mark.parametrize(
    ("transform", "dynamic"),
    [(lambda f: f, True), (torch.vmap, False), (torch.func.jacrev, False)],
    ids=["any size", "vmap", "jacrev"],
)
def test_compiled_without_a_graph_break(
    function: str, transform: Any, dynamic: bool, fresh_compiler: None
) -> None:
    def root(theta: Tensor) -> Tensor:
        if function == "bisect":
            noise = ts.Logistic(0.01)
            return soft.bisect(square, 0.0, 1.0, theta, num_steps=2, distribution=noise)
        return soft.implicit_bisect(square, 0.0, 1.0, theta, num_steps=4)

    theta = doubles(0.2, 0.8).requires_grad_()
    eager = transform(root)
    compiled = torch.compile(eager, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    # Of one compilation, the value and the derivative (of the Jacobian, the second one).
    values = [f(theta) for f in (eager, compiled)]
    torch.testing.assert_close(*values)
    slopes = [torch.autograd.grad(value.sum(), theta)[0] for value in values]
    torch.testing.assert_close(*slopes)
    if dynamic:
        other = doubles(0.1, 0.4, 0.6).requires_grad_()
        with torch.compiler.set_stance("fail_on_recompile"):
            torch.testing.assert_close(compiled(other), eager(other))


@pytest.mark.compiled
def test_compiled_jacobian_of_any_size(fresh_compiler: None) -> None:
    def root(theta: Tensor) -> Tensor:
        return soft.bisect(square, 0, 1, theta, num_steps=1, distribution=ts.Logistic(0.1))

    compiled = torch.compile(
        torch.func.jacrev(root), fullgraph=True, backend="aot_eager", dynamic=True
    )
    for theta in (doubles(0.2, 0.8), doubles(0.1, 0.4, 0.6)):
        torch.testing.assert_close(compiled(theta), torch.func.jacrev(root)(theta))


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1.0, 0.0, 1.0), TypeError, "g must be a function"),
        ((torch.sin, "a", 1.0), TypeError, "lo must be a number"),
        ((torch.sin, -1.0, True), TypeError, "hi must be a number"),
        ((torch.sin, torch.tensor([-1]), 1.0), TypeError, "lo must be a floating-point"),
        ((torch.sin, 1.0, -1.0), ValueError, "lo must not be larger than hi"),
        ((lambda x: 1.0, -1.0, 1.0), TypeError, "the value of g"),
        ((lambda x: x.sum(), -torch.ones(2), 1.0), ValueError, "element by element"),
    ],
)
def test_what_has_no_root(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        soft.bisect(*arguments, num_steps=2, distribution=ts.Logistic())
    with pytest.raises(error, match=message):
        soft.implicit_bisect(*arguments)


def test_numbers_of_steps() -> None:
    with pytest.raises(ValueError, match="num_steps must be at least 0"):
        soft.bisect(torch.sin, -1, 1, num_steps=-1, distribution=ts.Logistic())
    with pytest.raises(TypeError, match="num_steps must be an int"):
        soft.implicit_bisect(torch.sin, -1, 1, num_steps=2.5)


def test_no_change_of_sign() -> None:
    with pytest.raises(ValueError, match="same sign at 1 of 2 elements"):
        soft.implicit_bisect(line, 0.0, 1.0, doubles(0.5, 2.0))
