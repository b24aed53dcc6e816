"""Branches and loops against enumeration of their paths, and against the hard program."""

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


# --- cond -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "probability"),
    [
        (ts.Logistic(0.5), lambda m: 1 / (1 + math.exp(-2 * m))),
        (ts.Gaussian(0.5), lambda m: 0.5 * math.erfc(-2 * m / math.sqrt(2))),
        (ts.Gumbel(0.5), lambda m: 1 - math.exp(-math.exp(2 * m))),
        (ts.Cauchy(0.5), lambda m: 0.5 + math.atan(2 * m) / math.pi),
        (ts.Laplace(0.5), lambda m: 1 - 0.5 * math.exp(-2 * m) if m > 0 else 0.5 * math.exp(2 * m)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_branches_are_blended_by_probability(law: ts.AbstractDistribution, probability) -> None:
    margin = doubles(-3.0, -0.2, 0.0, 0.7)
    got = soft.cond(margin, lambda x: 3 * x, lambda x: x - 1, doubles(5, 6, 7, 8), distribution=law)
    for m, x, value in zip(margin.tolist(), (5, 6, 7, 8), got.tolist(), strict=True):
        p = probability(m)
        assert value == pytest.approx(p * 3 * x + (1 - p) * (x - 1), rel=1e-12)


def test_both_probabilities_keep_their_digits() -> None:
    # What is left of a branch of probability 1e-30 shows if the other one is 0.
    margin = doubles(-70.0, 70.0)
    then_part = soft.cond(margin, lambda: 1.0, lambda: 0.0, distribution=ts.Logistic())
    else_part = soft.cond(margin, lambda: 0.0, lambda: 1.0, distribution=ts.Logistic())
    rare = pytest.approx(math.exp(-70), rel=1e-12)
    assert then_part[0].item() == rare and else_part[1].item() == rare


def test_structures_and_the_batch_on_the_left() -> None:
    def then_fn(x: Tensor, name: str) -> Any:
        return {name: (x, [x.sum(1)]), "constant": 1.0}

    def else_fn(x: Tensor, name: str) -> Any:
        return {name: (-x, [x[:, 0]]), "constant": torch.tensor(3.0)}

    x, margin = torch.randn(3, 2), torch.tensor([-1e3, 1e3, 0.0])
    got = soft.cond(margin, then_fn, else_fn, x, "y", distribution=ts.Logistic())
    p = torch.tensor([0.0, 1.0, 0.5])
    torch.testing.assert_close(got["y"][0], (2 * p - 1).unsqueeze(1) * x)
    torch.testing.assert_close(got["y"][1][0], p * x.sum(1) + (1 - p) * x[:, 0])
    assert got["constant"].tolist() == [3, 1, 2]


def test_two_noisy_conditions_of_one_variable_are_taken_as_independent() -> None:
    # E[1{x + e > 0} 1{x + e > 0}] is p for one noise. Each cond has its own: p^2.
    x, law = doubles(0.3), ts.Logistic()
    p = torch.sigmoid(x)
    inner = soft.cond(x, lambda: 1.0, lambda: 0.0, distribution=law)
    nested = soft.cond(x, lambda y: y, lambda y: 0 * y, inner, distribution=law)
    torch.testing.assert_close(nested, p**2)


@pytest.mark.parametrize("law", [ts.Logistic, ts.Gaussian, ts.Gumbel, ts.Cauchy])
def test_derivatives_of_a_branch(law: type[ts.AbstractDistribution]) -> None:
    def branch(margin: Tensor, x: Tensor, scale: Tensor) -> Tensor:
        return soft.cond(margin, torch.exp, lambda y: y**3, x, distribution=law(scale))

    inputs = [t.requires_grad_() for t in (doubles(-0.6, 0.4), doubles(1.1, -0.7), doubles(0.8))]
    assert gradcheck(branch, inputs, check_forward_ad=True)
    assert gradgradcheck(branch, inputs)


def test_the_hard_limit_of_a_branch() -> None:
    margin, x = doubles(-1e-3, 1e-3), doubles(2.0, 3.0)
    for law in (ts.Gaussian, ts.Triangular, ts.Laplace):
        got = soft.cond(margin, torch.square, torch.neg, x, distribution=law(1e-6))
        assert got.tolist() == [-2, 9]


# In the first element the branch is beyond the reach of the noise and has NaN or infinities.
BROKEN = {
    "nan value": (torch.sqrt, -4.0),
    "infinite slope": (torch.sqrt, 0.0),
    "infinite value": (torch.log, 0.0),
    "nan slope": (lambda x: x.abs().pow(0.5) * x.abs().log(), 0.0),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_branch_that_is_never_taken_does_no_harm(broken: str) -> None:
    function, bad = BROKEN[broken]
    x, margin = doubles(bad, 4.0), doubles(-2.0, 2.0)

    def branch(margin: Tensor, x: Tensor) -> Tensor:
        return soft.cond(margin, function, lambda y: 3 * y, x, distribution=ts.Triangular())

    expected = torch.stack([3 * x[0], function(x[1])])
    assert branch(margin, x).equal(expected)
    slope = torch.func.grad(lambda y: function(y))(x[1])
    for x_slope in (
        torch.func.jacrev(branch, 1)(margin, x).diag(),
        torch.func.jvp(lambda y: branch(margin, y), (x,), (torch.ones_like(x),))[1],
        torch.vmap(torch.func.grad(branch, 1))(margin, x),
        torch.vmap(torch.func.jacfwd(branch, 1))(margin, x),
    ):
        assert x_slope.tolist() == [3, slope.item()]
    assert torch.func.jacrev(branch)(margin, x).equal(torch.zeros(2, 2, dtype=torch.float64))


def test_finite_gradients_of_an_operand_of_the_whole_batch_are_untouched() -> None:
    # The weights have the shape of the margin by accident; the first element never uses them.
    weights, margin = doubles(2.0, 5.0).requires_grad_(), doubles(-2.0, 2.0)
    got = soft.cond(
        margin,
        lambda w: w.sum().expand(2),
        lambda w: torch.zeros_like(w),
        weights,
        distribution=ts.Triangular(),
    )
    assert torch.autograd.grad(got.sum(), weights)[0].tolist() == [1, 1]


def test_nan_in_the_margin_stays_in_its_element() -> None:
    margin = torch.tensor([math.nan, 1e3])
    got = soft.cond(margin, lambda: 1.0, lambda: 0.0, distribution=ts.Logistic())
    assert got[0].isnan() and got[1] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_of_branches(dtype: torch.dtype) -> None:
    margin = torch.zeros(3, dtype=torch.float64)
    x = torch.ones(3, dtype=dtype)
    got = soft.cond(margin, lambda y: 3 * y, lambda y: y, x, distribution=ts.Logistic())
    assert got.dtype == dtype and got.tolist() == [2, 2, 2]


def test_an_empty_batch() -> None:
    x = torch.zeros(0, 3, requires_grad=True)
    got = soft.cond(x[:, 0], torch.exp, torch.neg, x, distribution=ts.Logistic())
    assert got.shape == (0, 3)
    assert torch.autograd.grad(got.sum(), x)[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1.0, abs, abs), TypeError, "margin must be a torch.Tensor"),
        ((torch.tensor([1]), abs, abs), TypeError, "margin must be a floating-point"),
        ((torch.zeros(2), 3.0, abs), TypeError, "then_fn must be a function"),
        ((torch.zeros(2), abs, None), TypeError, "else_fn must be a function"),
        ((torch.zeros(2), lambda: 1.0, lambda: (1.0,)), ValueError, "same structure"),
        ((torch.zeros(2), lambda: "a", lambda: 1.0), TypeError, "got str"),
        ((torch.zeros(2), lambda: None, lambda: None), TypeError, "got NoneType"),
        ((torch.zeros(2), lambda: True, lambda: 1.0), TypeError, "got bool"),
        ((torch.zeros(2), lambda: torch.tensor([1, 2]), lambda: 1.0), TypeError, "torch.int64"),
        (
            (torch.zeros(2), lambda: torch.zeros(2, 3), lambda: torch.zeros(2)),
            ValueError,
            r"same shapes, got \(2, 3\) and \(2,\)",
        ),
        (
            (torch.zeros(2), lambda: torch.zeros(3, 2), lambda: 1.0),
            ValueError,
            "broadcast from the left",
        ),
    ],
)
def test_what_no_branch_can_be(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        soft.cond(*arguments, distribution=ts.Logistic())


# --- while_loop -----------------------------------------------------------------------------------


def paths(margin: Any, body: Any, x: float, max_steps: int, probability: Any) -> float:
    """The expectation of the loop, over all its paths."""
    if max_steps == 0:
        return x
    p = probability(margin(x))
    return p * paths(margin, body, body(x), max_steps - 1, probability) + (1 - p) * x


@pytest.mark.parametrize("max_steps", [0, 1, 2, 7])
def test_the_loop_is_the_sum_over_its_paths(max_steps: int) -> None:
    got = soft.while_loop(
        lambda x: 3 - x,
        lambda x: x**2 + 0.5,
        doubles(0.2, 1.0, 2.9),
        max_steps,
        distribution=ts.Logistic(0.7),
    )
    for start, value in zip((0.2, 1.0, 2.9), got.tolist(), strict=True):
        expected = paths(
            lambda x: 3 - x,
            lambda x: x**2 + 0.5,
            start,
            max_steps,
            lambda m: 0.5 + 0.5 * math.tanh(m / 1.4),
        )
        assert value == pytest.approx(expected, rel=1e-12)


def test_a_constant_margin_counts_as_the_geometric_law_does() -> None:
    margin, steps = doubles(-0.4, 0.0, 1.3), 40
    count = soft.while_loop(
        lambda _: margin, lambda n: n + 1, torch.zeros(3).double(), steps, distribution=ts.Laplace()
    )
    p = soft.heaviside(margin, ts.Laplace())
    torch.testing.assert_close(count, p * (1 - p**steps) / (1 - p))  # sum of p^k, k = 1 .. steps


def hard_loop(margin_fn: Any, body_fn: Any, carry: Any, max_steps: int) -> Any:
    for _ in range(max_steps):
        if not margin_fn(carry) > 0:
            break
        carry = body_fn(carry)
    return carry


@pytest.mark.parametrize("max_steps", [0, 3, 5, 50])
def test_the_hard_limit_of_a_loop(max_steps: int) -> None:
    def margin_fn(carry: dict[str, Tensor]) -> Tensor:
        return 10.1 - carry["x"]

    def body_fn(carry: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": 1.5 * carry["x"], "n": carry["n"] + 1}

    starts = doubles(0.3, 1.0, 9.0, 20.0)
    for law in (ts.Triangular(1e-6), ts.Gaussian(1e-6), ts.Logistic(1e-6)):
        carry = {"x": starts, "n": torch.zeros_like(starts)}
        got = soft.while_loop(margin_fn, body_fn, carry, max_steps, distribution=law)
        for i, start in enumerate(starts):
            carry = {"x": start, "n": start * 0}
            expected = hard_loop(margin_fn, body_fn, carry, max_steps)
            assert got["n"][i] == expected["n"]
            torch.testing.assert_close(got["x"][i], expected["x"], rtol=1e-12, atol=0)


def test_the_loop_ends_when_nobody_is_left_in_it() -> None:
    calls = 0

    def body_fn(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x + 1

    x = torch.tensor([0.5, 3.5])
    got = soft.while_loop(lambda x: 6 - x, body_fn, x, 10**9, distribution=ts.Triangular(0.1))
    assert got.tolist() == [6.5, 6.5] and calls == 6


def test_steps_that_are_never_reached_do_no_harm() -> None:
    # From 1 the root is taken once: of 1, then (never) of -3, of NaN, ...
    def loop(x: Tensor) -> Tensor:
        return soft.while_loop(
            lambda x: x, lambda x: x.sqrt() - 4 * x, x, 4, distribution=ts.Triangular(0.5)
        )

    x = doubles(1.0, 100.0)  # 100 leads to 10 - 400
    expected, slope = doubles(-3.0, -390.0), doubles(0.5 - 4, 0.05 - 4)
    assert loop(x).equal(expected)
    torch.testing.assert_close(torch.func.jacrev(loop)(x), slope.diag())
    torch.testing.assert_close(torch.func.jacfwd(loop)(x), slope.diag())
    # Under vmap nobody looks whether the loop may end: it goes on through NaN.
    torch.testing.assert_close(torch.vmap(torch.func.grad(loop))(x), slope)
    torch.testing.assert_close(torch.vmap(torch.func.jacfwd(loop))(x), slope)


def test_nan_in_a_loop_stays_in_its_element() -> None:
    got = soft.while_loop(
        lambda x: 3 - x, lambda x: x + 1, doubles(0.0, math.nan), 9, distribution=ts.Triangular()
    )
    assert got[1].isnan() and got[0] == pytest.approx(3.5)  # at 3 with probability 1/2, else at 4


def test_derivatives_of_a_loop() -> None:
    def loop(x: Tensor, rate: Tensor, scale: Tensor) -> Tensor:
        n = torch.zeros_like(x)
        x, n = soft.while_loop(
            lambda c: 3 - c[0],
            lambda c: (rate * c[0], c[1] + 1),
            (x, n),
            5,
            distribution=ts.Logistic(scale),
        )
        return x + n

    inputs = [t.requires_grad_() for t in (doubles(0.3, 1.4), doubles(1.7), doubles(0.6))]
    assert gradcheck(loop, inputs, check_forward_ad=True)
    assert gradgradcheck(loop, inputs)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((abs, abs, 1.0, 3), TypeError, "carry must consist of floating-point tensors, got float"),
        ((abs, abs, torch.tensor([1]), 3), TypeError, "got torch.int64"),
        ((None, abs, torch.zeros(2), 3), TypeError, "margin_fn must be a function"),
        ((abs, None, torch.zeros(2), 3), TypeError, "body_fn must be a function"),
        ((abs, abs, torch.zeros(2), -1), ValueError, "max_steps must be at least 0"),
        ((abs, abs, torch.zeros(2), 2.0), TypeError, "max_steps must be an int"),
        ((lambda x: 1.0, abs, torch.zeros(2), 3), TypeError, "margin must be"),
        ((abs, lambda x: (x,), torch.zeros(2), 3), ValueError, "structure of carry"),
        ((abs, lambda x: x.sum(), torch.zeros(2), 3), ValueError, "keep shapes and types"),
        ((abs, lambda x: x.double(), torch.zeros(2), 3), ValueError, "keep shapes and types"),
        ((abs, lambda x: 1.0, torch.zeros(2), 3), TypeError, "the result of body_fn"),
    ],
)
def test_what_no_loop_can_be(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        soft.while_loop(*arguments, distribution=ts.Logistic())


def test_a_margin_of_changing_shape() -> None:
    margins = iter([torch.ones(2), torch.ones(1)])
    with pytest.raises(ValueError, match="same shape at every step"):
        soft.while_loop(
            lambda _: next(margins), lambda x: x, torch.ones(2), 2, distribution=ts.Logistic()
        )


# --- Compiled -------------------------------------------------------------------------------------


def program(x: Tensor) -> Tensor:
    law = ts.Logistic(0.5)
    y = soft.cond(x - 1, torch.sqrt, lambda y: {"z": y}["z"] * 3, x.abs(), distribution=law)
    return soft.while_loop(lambda y: 2 - y, lambda y: y + 0.7, y, 2, distribution=law)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("transform", "dynamic"),
    [(lambda f: f, True), (torch.vmap, False), (torch.func.jacrev, False)],
    ids=["any size", "vmap", "jacrev"],
)
def test_compiled_without_a_graph_break(
    transform: Any, dynamic: bool, fresh_compiler: None
) -> None:
    function = transform(program)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    x = doubles(0.3, 1.2, 2.5).requires_grad_()
    # Of one compilation, the value and the derivative (of the Jacobian, the second one).
    values = [f(x) for f in (function, compiled)]
    torch.testing.assert_close(*values)
    slopes = [torch.autograd.grad(value.sum(), x)[0] for value in values]
    torch.testing.assert_close(*slopes)
    if dynamic:
        other = doubles(0.7, 1.9).requires_grad_()
        with torch.compiler.set_stance("fail_on_recompile"):
            torch.testing.assert_close(compiled(other), function(other))
