"""Grid search against softmax, the difference law of two points, and the hard search."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import torchsmooth as ts
from torchsmooth import soft


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


GRID = doubles(0.0, 0.25, 0.5, 0.75, 1.0)


def test_mirrored_gumbel_noise_gives_the_softmax() -> None:
    values = doubles(0.3, -0.1, 0.2, 0.5, 0.0)
    got = soft.grid_search(lambda _: values, GRID, ts.Gumbel(0.3), mirrored=True)
    p = torch.softmax(-values / 0.3, 0)
    torch.testing.assert_close(got.probability, p)
    torch.testing.assert_close(got.argmin, p @ GRID)
    torch.testing.assert_close(got.min, p @ values)


@pytest.mark.parametrize(
    ("law", "difference"),
    [
        (ts.Gaussian(0.4), lambda d: 0.5 * math.erfc(-d / (2 * 0.4))),
        (ts.Cauchy(0.4), lambda d: 0.5 + math.atan(d / 0.8) / math.pi),
        (ts.Gumbel(0.4), lambda d: 1 / (1 + math.exp(-d / 0.4))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_two_points(law: ts.AbstractDistribution, difference: Any) -> None:
    # P(f_0 + noise < f_1 + noise) is the distribution function of the difference of two noises.
    for gap in (-0.7, 0.0, 0.3):
        got = soft.grid_search(lambda _, gap=gap: doubles(1.0, 1.0 + gap), doubles(2.0, 5.0), law)
        p = difference(gap)
        assert got.argmin.item() == pytest.approx(2 * p + 5 * (1 - p), rel=1e-7)
        assert got.min.item() == pytest.approx(1 + gap * (1 - p), rel=1e-7)


@pytest.mark.parametrize(
    ("law", "mirrored"), [(ts.Gumbel, True), (ts.Gaussian, False), (ts.Triangular, False)]
)
def test_the_hard_limit(law: type[ts.AbstractDistribution], mirrored: bool) -> None:
    points = torch.randn(30, 2, dtype=torch.float64)
    center = doubles(0.3, -0.2).requires_grad_()

    def f(x: Tensor) -> Tensor:
        return ((x - center) ** 2).sum(-1)

    got = soft.grid_search(f, points, law(1e-7), mirrored=mirrored)
    best = f(points).argmin()
    torch.testing.assert_close(got.argmin, points[best])
    torch.testing.assert_close(got.min, f(points)[best])
    # The envelope theorem: the derivative of the smallest value is that of f at the best point.
    (slope,) = torch.autograd.grad(got.min, center)
    torch.testing.assert_close(slope, 2 * (center - points[best]).detach())


@pytest.mark.parametrize(
    ("law", "mirrored"), [(ts.Gumbel, True), (ts.Gaussian, False), (ts.Logistic, False)]
)
def test_derivatives(law: type[ts.AbstractDistribution], mirrored: bool) -> None:
    def search(theta: Tensor, grid: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        found = soft.grid_search(
            lambda x: (x - theta.unsqueeze(-1)) ** 2, grid, law(scale), mirrored=mirrored
        )
        return found.argmin, found.min

    inputs = [t.requires_grad_() for t in (doubles(0.2, 0.7), GRID.clone(), doubles(0.3))]
    assert gradcheck(search, inputs)


@pytest.mark.parametrize(("law", "mirrored"), [(ts.Gumbel(0.1), True), (ts.Gaussian(0.1), False)])
def test_points_of_infinite_value_are_never_chosen(
    law: ts.AbstractDistribution, mirrored: bool
) -> None:
    theta = doubles(0.3).requires_grad_()

    def search(grid: Tensor) -> soft.GridSearch:
        return soft.grid_search(
            lambda x: torch.where(x > 0.6, math.inf, (x - theta) ** 2), grid, law, mirrored=mirrored
        )

    got, expected = search(GRID), search(GRID[:3])
    assert got.probability[3:].tolist() == [0, 0]
    for a, b in ((got.argmin, expected.argmin), (got.min, expected.min)):
        torch.testing.assert_close(a, b)
        slopes = [torch.autograd.grad(x, theta, retain_graph=True)[0] for x in (a, b)]
        torch.testing.assert_close(*slopes)


def test_batches_and_points_of_any_shape() -> None:
    grid = torch.randn(7, 2, 3)
    found = soft.grid_search(lambda x: torch.randn(4, 5, len(x)), grid, ts.Gaussian())
    assert found.argmin.shape == (4, 5, 2, 3)
    assert found.min.shape == (4, 5) and found.probability.shape == (4, 5, 7)
    torch.testing.assert_close(found.probability.sum(-1), torch.ones(4, 5))


def test_nan_stays_in_its_element() -> None:
    values = torch.rand(2, 5, dtype=torch.float64)
    values[0, 3] = math.nan
    found = soft.grid_search(lambda _: values, GRID, ts.Gaussian())
    assert found.argmin.isnan().tolist() == [True, False]
    assert found.min.isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("f", "grid", "law", "mirrored", "error", "message"),
    [
        (1.0, GRID, ts.Gaussian(), False, TypeError, "f must be a function"),
        (abs, [1.0], ts.Gaussian(), False, TypeError, "grid must be a torch.Tensor"),
        (abs, doubles(), ts.Gaussian(), False, ValueError, "at least one point"),
        (abs, torch.tensor(1.0), ts.Gaussian(), False, ValueError, "at least one point"),
        (lambda x: x.sum(), GRID, ts.Gaussian(), False, ValueError, "f must return 5 values"),
        (lambda x: 1.0, GRID, ts.Gaussian(), False, TypeError, "the value of f"),
        (abs, GRID, ts.Gaussian(), True, ValueError, "distribution must be a Gumbel"),
        (abs, GRID, ts.Gumbel(), 1, TypeError, "mirrored must be True or False"),
    ],
)
def test_what_cannot_be_searched(
    f: Any, grid: Any, law: Any, mirrored: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        soft.grid_search(f, grid, law, mirrored=mirrored)
