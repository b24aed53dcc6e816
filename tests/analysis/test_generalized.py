"""One-sided limits and sampled subdifferentials against closed forms, autograd and scipy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

import torchsmooth as ts
from torchsmooth._analysis.clarke import _min_norm_weights, clarke
from torchsmooth._analysis.directional import directional_derivative


DTYPES = [torch.float32, torch.float64]


def one(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([value], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("f", "x", "right", "left"),
    [
        (lambda y: y.abs(), 0.0, 1.0, -1.0),
        (lambda y: y.abs(), 0.25, 1.0, 1.0),
        (lambda y: 3 * y.relu() + y * y, 0.0, 3.0, 0.0),
        (lambda y: (y - 2**-7).abs(), 0.0, -1.0, -1.0),  # a kink beside x
        (lambda y: y.clamp(-1, 1), 1.0, 0.0, 1.0),
        (lambda y: y.round(), 0.25, 0.0, 0.0),
        (lambda y: y.exp(), 1.0, math.e, math.e),
        (lambda y: y.abs() ** 1.5, 0.0, 0.0, 0.0),
        (lambda y: y.abs() ** 1.1, 0.0, 0.0, 0.0),
        (lambda y: y.abs() ** 1.9 + 3 * y, 0.0, 3.0, 3.0),
        (lambda y: torch.where(y == 0, 0.0, y * y * (1 / y).sin()), 0.0, 0.0, 0.0),
        (lambda y: (1e4 * y).tanh(), 0.0, 1e4, 1e4),
        (lambda y: y + 1e5, 0.0, 1.0, 1.0),
        (lambda y: torch.where(y > 0, y.sin(), -5 * y), 0.0, 1.0, -5.0),
    ],
)
def test_one_sided(
    f: Callable[[Tensor], Tensor], x: float, right: float, left: float, dtype: torch.dtype
) -> None:
    for side, expected in (("right", right), ("left", left)):
        got = directional_derivative(f, one(x, dtype), one(1.0), side=side)
        assert abs(got.value - expected) <= got.error
        assert got.error < math.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("f", "right", "left"),
    [
        (lambda y: (y > 0).to(y.dtype), math.inf, 0.0),
        (lambda y: (y >= 0).to(y.dtype), 0.0, math.inf),
        (lambda y: y.abs().sqrt(), math.inf, -math.inf),
        (lambda y: -torch.special.xlogy(y.abs(), y.abs()), math.inf, -math.inf),
        (lambda y: y.sqrt(), math.inf, math.nan),
        (lambda y: y.log(), math.nan, math.nan),
    ],
)
def test_no_limit(
    f: Callable[[Tensor], Tensor], right: float, left: float, dtype: torch.dtype
) -> None:
    for side, expected in (("right", right), ("left", left)):
        got = directional_derivative(f, one(0.0, dtype), one(1.0), side=side)
        if expected == 0.0:
            assert got.value == 0.0 and got.error < 1e-3
        else:
            assert got.error == math.inf
            assert got.value == expected or math.isnan(got.value) and math.isnan(expected)


def test_quotients_that_oscillate_have_a_large_error() -> None:
    """x sin(1/x) has quotients in [-1, 1] at every step: no error below 1/2 would be honest."""
    for seed in range(20):
        phase = torch.rand(1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        got = directional_derivative(
            lambda y, phase=phase: torch.where(y == 0, 0.0, y * (1 / y + 6.3 * phase).sin()),
            one(0.0),
            one(1.0),
        )
        assert math.isnan(got.value) or got.error > 0.5


FAMILY = {
    "polynomial": lambda y: ((y - 0.3) ** 5 - 2 * y**3 + y).sum(),
    "exp": lambda y: y.exp().sum(),
    "logsumexp": lambda y: torch.logsumexp(3 * y, 0),
    "kinks": lambda y: (y.relu() ** 2).sum() + y[0].abs() + (7 * y).frac().abs().sum(),
    "steep": lambda y: torch.tanh(100 * y).sum(),
    "bell": lambda y: (1 / (1 + 25 * y * y)).sum(),
    "sorted": lambda y: y.prod() + y.norm() + y.sort().values @ torch.arange(3).to(y),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILY)
def test_errors_are_honest(name: str, dtype: torch.dtype) -> None:
    """At random points and directions the error holds what autograd in float64 says.

    It is an estimate: it may be too small by up to 4 at 2 of 60 points.
    """
    f, generator = FAMILY[name], torch.Generator().manual_seed(1)
    ratios, relative = [], []
    for _ in range(60):
        x, v = (torch.randn(3, generator=generator).to(dtype) for _ in range(2))
        leaf = x.double().requires_grad_()
        (gradient,) = torch.autograd.grad(f(leaf), leaf)
        expected = float(gradient @ v.double())
        got = directional_derivative(f, x, v)
        ratios.append(abs(got.value - expected) / got.error)
        relative.append(got.error / (abs(expected) + torch.finfo(dtype).eps))
    ratios.sort()
    assert ratios[-3] <= 1 and ratios[-1] <= 4
    if name != "steep":  # flat almost everywhere: there is nothing to be relative to
        assert np.median(relative) <= {torch.float32: 3e-3, torch.float64: 1e-9}[dtype]


def test_follows_the_direction() -> None:
    x, v = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    f = FAMILY["exp"]
    doubled = directional_derivative(f, x, 2 * v)
    assert doubled.value == pytest.approx(2 * directional_derivative(f, x, v).value, rel=1e-8)
    norm = directional_derivative(torch.linalg.norm, torch.zeros(2, 3, dtype=torch.float64), v)
    assert norm.value == pytest.approx(float(v.norm()), rel=1e-12)  # |v|, not linear in v
    row = directional_derivative(lambda y: y.sum(), x, torch.ones(3))  # broadcasts
    assert row.value == pytest.approx(6.0, rel=1e-8)
    assert directional_derivative(lambda y: y**2, torch.tensor(3.0), torch.tensor(1.0)).value == (
        pytest.approx(6.0, rel=1e-3)
    )


def test_step() -> None:
    """Steps that begin beside the domain's end, and an f that is only valid near x."""

    def f(y: Tensor) -> Tensor:
        assert y.item() <= 1.001
        return y * y

    got = directional_derivative(f, one(1.0), one(1.0), step=1e-3)
    assert abs(got.value - 2.0) <= got.error < 1e-9
    # Beyond 1 it is NaN: only the steps within count.
    arc = directional_derivative(lambda y: (1 - y * y).sqrt(), one(0.95), one(1.0))
    assert abs(arc.value + 0.95 / math.sqrt(1 - 0.95**2)) <= arc.error < 1e-8


def test_vectorized_and_plain_numbers() -> None:
    x, v = torch.tensor([0.5, -1.0], dtype=torch.float64), torch.ones(2)
    expected = directional_derivative(lambda y: y.exp().sum(), x, v)
    assert directional_derivative(lambda y: y.exp().sum(-1), x, v, vectorized=True) == expected
    plain = directional_derivative(lambda y: float(np.exp(y.numpy()).sum()), x, v)
    assert abs(plain.value - expected.value) <= plain.error + expected.error


def test_nearest_point_is_optimal() -> None:
    """Every point lies beyond the plane through the nearest one: the certificate of optimality."""
    generator = torch.Generator().manual_seed(0)
    for m, n, shift in [(1, 3, 0.0), (5, 1, 0.5), (32, 2, 0.0), (40, 5, 0.7), (100, 10, 0.6)]:
        for _ in range(10):
            points = torch.randn(m, n, generator=generator, dtype=torch.float64) + shift
            weights = _min_norm_weights(points)
            assert (weights >= 0).all() and weights.sum().item() == pytest.approx(1.0, abs=1e-12)
            nearest = weights @ points
            assert (points @ nearest - nearest @ nearest).min() >= -1e-12


@pytest.mark.parametrize(("m", "n"), [(6, 2), (12, 3), (20, 6)])
def test_nearest_point_is_that_of_scipy(m: int, n: int) -> None:
    points = torch.randn(m, n, dtype=torch.float64) + 0.8
    nearest = _min_norm_weights(points) @ points
    p = points.numpy()
    solution = scipy.optimize.minimize(
        lambda w: 0.5 * (w @ p) @ (w @ p),
        np.full(m, 1 / m),
        jac=lambda w: p @ (w @ p),
        bounds=[(0, 1)] * m,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(m)},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    np.testing.assert_allclose(nearest.numpy(), solution.x @ p, atol=1e-5)


@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(4, 2),
        torch.ones(5, 3),
        torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]),
        torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]),
        1e-200 * torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64),
        1e200 * torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64),
    ],
)
def test_nearest_point_of_degenerate_hulls(points: Tensor) -> None:
    points = points.double()
    weights = _min_norm_weights(points)
    size = max(float(points.abs().max()), 1e-300)
    nearest = weights @ points / size
    assert weights.sum().item() == pytest.approx(1.0)
    assert ((points / size) @ nearest - nearest @ nearest).min() >= -1e-12


@pytest.mark.parametrize("dtype", DTYPES)
def test_clarke_of_relu(dtype: torch.dtype) -> None:
    """[0, 1] at the kink; the derivative alone beside it."""
    hull = clarke(lambda y: y.relu().sum(), torch.zeros(1, dtype=dtype), 1e-3, seed=0)
    assert hull.gradients.unique().tolist() == [0.0, 1.0]
    assert hull.min_norm.item() == 0.0
    assert hull.support(torch.ones(1)) == 1.0 and hull.support(-torch.ones(1)) == 0.0
    assert hull.points.dtype == hull.gradients.dtype == hull.min_norm.dtype == dtype
    beside = clarke(lambda y: y.relu().sum(), torch.full((1,), 0.1, dtype=dtype), 1e-3, seed=0)
    assert (beside.gradients == 1).all() and beside.min_norm.item() == pytest.approx(1.0)


def test_clarke_of_max() -> None:
    """The simplex at a tie: its nearest point to 0 is the centre."""
    n = 4
    hull = clarke(lambda y: y.max(), torch.ones(n, dtype=torch.float64), 0.1, 64, seed=0)
    assert {tuple(row) for row in hull.gradients.tolist()} == {tuple(r) for r in np.eye(n)}
    torch.testing.assert_close(hull.min_norm, torch.full((n,), 1 / n, dtype=torch.float64))
    torch.testing.assert_close(torch.tensordot(hull.weights, hull.gradients, 1), hull.min_norm)
    v = torch.randn(n, dtype=torch.float64)
    assert hull.support(v) == pytest.approx(float(v.max()))


def test_clarke_leaves_out_conventions() -> None:
    """relu(x) - relu(-x) is x: autograd says 0 at x = 0, but the subdifferential is {1}."""
    hull = clarke(lambda y: (y.relu() - (-y).relu()).sum(), torch.zeros(1), 0.1, seed=0)
    assert (hull.gradients == 1).all()


def test_minus_the_nearest_point_descends() -> None:
    """At a point of a valley with a kink, where both gradients across it point away."""

    def f(y: Tensor) -> Tensor:
        return 10 * (y[0] - y[1]).abs() + y[0] + 0.5 * y[1]

    x = torch.zeros(2, dtype=torch.float64)
    hull = clarke(f, x, 1e-3, seed=0)
    # Along the valley (1, 1)/sqrt(2) the slope is 1.5/sqrt(2).
    torch.testing.assert_close(hull.min_norm, torch.full((2,), 0.75, dtype=torch.float64))
    assert f(x - 0.1 * hull.min_norm) < f(x)
    (one_gradient,) = hull.gradients[:1]
    assert f(x - 0.1 * one_gradient) > f(x)


def test_clarke_samples_the_ball() -> None:
    """Uniform in the ball: the n-th power of the distance is uniform, the direction has mean 0.

    The Kolmogorov-Smirnov statistic of 4000 distances exceeds 0.035 with probability 1e-4, each
    mean 0.045 (5 sigmas) with 6e-7.
    """
    m, n = 4000, 3
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    offsets = (clarke(lambda y: y.sum(), x, 0.5, m, seed=0).points - x) / 0.5
    powers = offsets.norm(dim=1).pow(n).sort().values
    assert powers.max() <= 1
    assert (powers - (torch.arange(m) + 0.5) / m).abs().max() < 0.035
    assert (offsets / offsets.norm(dim=1, keepdim=True)).mean(0).abs().max() < 5 / (3 * m) ** 0.5


def test_clarke_seed_and_shape() -> None:
    x = torch.randn(2, 3)
    first = clarke(lambda y: y.abs().sum(), x, 0.5, 7, seed=3)
    again = clarke(lambda y: y.abs().sum((-1, -2)), x, 0.5, 7, seed=3, vectorized=True)
    assert first.gradients.shape == first.points.shape == (7, 2, 3)
    assert first.weights.shape == (7,) and first.min_norm.shape == (2, 3)
    torch.testing.assert_close(first.gradients, again.gradients, rtol=0, atol=0)
    with torch.inference_mode():
        assert clarke(lambda y: y.abs().sum(), x, 0.5, seed=3).gradients.shape == (32, 2, 3)


ZEROS = torch.zeros(2)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda f: directional_derivative(f, [0.0], ZEROS + 1), TypeError, "x must be a torch"),
        (lambda f: directional_derivative(f, ZEROS.half(), ZEROS + 1), TypeError, r"x\.double\(\)"),
        (lambda f: directional_derivative(f, ZEROS / 0, ZEROS + 1), ValueError, "x must be finite"),
        (lambda f: directional_derivative(f, ZEROS[:0], ZEROS[:0]), ValueError, "at least one"),
        (lambda f: directional_derivative(f, ZEROS, torch.ones(3)), ValueError, "broadcast.*3"),
        (lambda f: directional_derivative(f, ZEROS, ZEROS), ValueError, "direction must be finite"),
        (lambda f: directional_derivative(f, ZEROS, 1.0), TypeError, "direction must be a torch"),
        (lambda f: directional_derivative(f, ZEROS, ZEROS + 1, side=1), ValueError, "side must be"),
        (
            lambda f: directional_derivative(f, ZEROS, ZEROS + 1, step=0.0),
            ValueError,
            "step must be positive",
        ),
        (
            lambda f: directional_derivative(f, ZEROS, ZEROS + 1, step="1"),
            TypeError,
            "step must be a number",
        ),
        (lambda f: directional_derivative(3, ZEROS, ZEROS + 1), TypeError, "f must be callable"),
        (
            lambda f: directional_derivative(lambda y: y, ZEROS, ZEROS + 1),
            ValueError,
            r"one number, got shape \[2\]; reduce it",
        ),
        (
            lambda f: directional_derivative(lambda y: 1j * y.sum(), ZEROS, ZEROS + 1),
            TypeError,
            "real number",
        ),
        (
            lambda f: directional_derivative(f, ZEROS, ZEROS + 1, vectorized=True),
            ValueError,
            r"with vectorized=True",
        ),
        (lambda f: clarke(f, ZEROS, 0.0), ValueError, "radius must be positive"),
        (lambda f: clarke(f, ZEROS, "r"), TypeError, "radius must be a number"),
        (lambda f: clarke(f, ZEROS, 0.1, 0), ValueError, "num_samples must be at least 1"),
        (lambda f: clarke(f, ZEROS[:0], 0.1), ValueError, "at least one"),
        (lambda f: clarke(lambda y: y.round().detach().sum(), ZEROS, 0.1), ValueError, "no graph"),
        (lambda f: clarke(lambda y: y.sqrt().sum(), ZEROS, 0.1), ValueError, "finite gradients"),
    ],
)
def test_bad_input(call: Callable, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(lambda y: y.sum())


@pytest.mark.parametrize("vectorized", [True, False])
def test_errors_of_f_name_the_point(vectorized: bool) -> None:
    def f(y: Tensor) -> Tensor:
        raise ZeroDivisionError("no luck")

    for call in (
        lambda: directional_derivative(f, one(0.5), one(1.0), vectorized=vectorized),
        lambda: clarke(f, one(0.5), 1e-12, vectorized=vectorized),
    ):
        with pytest.raises(ZeroDivisionError, match="no luck") as caught:
            call()
        if hasattr(caught.value, "add_note"):  # Python 3.11
            (note,) = caught.value.__notes__
            assert note.startswith("raised by f, called by torchsmooth.") and "0.5" in note


def test_gaussian_smoothing_agrees_with_the_hull() -> None:
    """Of a Lipschitz function, the smoothed gradient is an average of gradients: in the hull."""
    x = torch.zeros(1, dtype=torch.float64)
    hull = clarke(lambda y: y.relu().sum(), x, 0.1, seed=0)
    smooth = ts.smooth(lambda y: y.relu().sum(-1), ts.Gaussian(scale=0.01), seed=0)
    (gradient,) = torch.autograd.grad(smooth(x.requires_grad_()), x)
    assert -hull.support(-torch.ones(1)) <= gradient.item() <= hull.support(torch.ones(1))
