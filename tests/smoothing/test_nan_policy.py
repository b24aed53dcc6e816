"""NaN that f returns for some of its points: passed on and counted, refused, or left out."""

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor

import torchsmooth as ts


def undefined_below_zero(y: Tensor) -> Tensor:
    """[m, 1] -> [m, 2]"""
    return torch.cat((torch.where(y > 0, y**2, math.nan), y.cos()), 1)


def test_propagated_nan_is_counted_and_named() -> None:
    x = torch.tensor([[0.0], [50.0]], requires_grad=True)
    g = ts.smooth(undefined_below_zero, ts.Gaussian(1.0), num_samples=64, seed=0)
    with pytest.warns(UserWarning, match=r"NaN for 32 of 128 .*among them \[-\d.*'omit'") as caught:
        value = g(x)
    assert caught[0].filename == __file__
    assert value[0, 0].isnan() and value[1].isfinite().all()
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient[0].isnan() and gradient[1].isfinite()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_examples_with_nan_are_not_counted(bad: float) -> None:
    x = torch.tensor([[bad], [50.0]])
    g = ts.smooth(undefined_below_zero, ts.Gaussian(1.0), num_samples=8, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = g(x)
    assert value[0].isnan().all() and value[1].isfinite().all()


def test_infinities_are_no_nan() -> None:
    def f(y: Tensor) -> Tensor:
        return torch.cat((y * math.inf, -y * math.inf), 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ts.smooth(f, ts.Gaussian(1.0), num_samples=2, seed=0, check=False)(torch.ones(1))


def test_nan_is_refused() -> None:
    options: dict[str, Any] = dict(num_samples=64, seed=0, nan_policy="raise")
    g = ts.smooth(undefined_below_zero, ts.Gaussian(1.0), **options)
    with pytest.raises(ValueError, match=r"NaN .*got it for 32 of 64 .*among them \[-"):
        g(torch.zeros(1, 1))
    assert g(torch.full((1, 1), 50.0)).isfinite().all()


def conditional(f: Callable[[float], float], x: float, scale: float) -> float:
    """E[f(y) | y > 0] for y normal around x."""
    law = scipy.stats.norm(x, scale)
    integral = scipy.integrate.quad(lambda y: f(y) * law.pdf(y), 0, x + 12 * scale)
    return float(integral[0] / law.sf(0))


@pytest.mark.parametrize("covariate", ["none", "fx", "loo"])
@pytest.mark.parametrize("sampler, sigmas", [("mc", 5.0), ("sobol", 0.25)])
@pytest.mark.parametrize("num_chunks", [1, 7])
def test_omitted_samples_give_the_conditional_expectation(
    covariate: Any, sampler: Any, sigmas: float, num_chunks: int
) -> None:
    """And its derivatives in x and in the scale, by quadrature.

    Within 5 standard errors of as many independent samples, 36 figures: a false alarm of 2e-5.
    Sobol points are nearer.
    """
    s, gamma, h = 2**16, 1.2, 1e-4
    x = torch.tensor([[0.3], [-0.5], [20.0]], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(gamma, dtype=torch.float64, requires_grad=True)
    g = ts.smooth(
        undefined_below_zero,
        ts.Gaussian(scale),
        num_samples=s,
        seed=1,
        nan_policy="omit",
        covariate=covariate,
        sampler=sampler,
        chunk_size=-(-3 * s // num_chunks),
    )
    value = g(x)
    for i, k in itertools.product(range(2), range(2)):
        f, center = (lambda y: y**2, math.cos)[k], x[i].item()
        mean = conditional(f, center, gamma)
        slope_x, slope_scale = (
            (conditional(f, center + a, gamma + b) - conditional(f, center - a, gamma - b))
            / (2 * h)
            for a, b in ((h, 0.0), (0.0, h))
        )
        in_x, in_scale = torch.autograd.grad(value[i, k], (x, scale), retain_graph=True)
        there = scipy.stats.norm(center, gamma).sf(0) * s
        for actual, expected, weight in (
            (value[i, k], mean, lambda e: 1.0),
            (in_x[i], slope_x, lambda e: e / gamma),
            (in_scale, slope_scale, lambda e: (e**2 - 1) / gamma),
        ):

            def square(y: float, f: Any = f, c: float = center, m: float = mean, w: Any = weight):
                return ((f(y) - m) * w((y - c) / gamma)) ** 2

            error = math.sqrt(conditional(square, center, gamma) / there)
            assert abs(actual.item() - expected) <= sigmas * error
        assert in_x[[j for j in range(3) if j != i]].abs().max() == 0


@pytest.mark.parametrize("covariate", ["none", "fx", "loo"])
@pytest.mark.parametrize("num_samples", [4, 64])
def test_nothing_is_omitted_where_f_is_defined(covariate: Any, num_samples: int) -> None:
    """To rounding: the same numbers are summed."""
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(2, dtype=torch.float64).add(0.5).requires_grad_()
    results = []
    for policy in ("propagate", "omit"):
        options: dict[str, Any] = dict(num_samples=num_samples, seed=0, covariate=covariate)
        g = ts.smooth(lambda y: y.sign(), ts.Gumbel(scale), nan_policy=policy, **options)
        value = g(x)
        gradients = torch.autograd.grad(value.cumsum(-1).sum(), (x, scale))
        results.append((value, *gradients))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_where_f_is_nowhere_defined_the_result_is_nan() -> None:
    g = ts.smooth(undefined_below_zero, ts.Gaussian(1.0), num_samples=8, nan_policy="omit", seed=0)
    assert g(torch.tensor([[-50.0]])).isnan().all()


def test_what_cannot_be_omitted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nan_policy must be 'propagate' or 'raise' with stat"):
        ts.smooth(torch.sign, ts.Gaussian(), nan_policy="omit", statistic=ts.Median(3))
    with pytest.raises(ValueError, match=r"nan_policy must be one of 'propagate', 'raise', 'omit'"):
        ts.smooth(torch.sign, ts.Gaussian(), nan_policy="ignore")  # type: ignore[call-overload]
    weight = torch.ones(1, requires_grad=True)
    g = ts.smooth(lambda y: y.sign() * weight, ts.Gaussian(), num_samples=4, nan_policy="omit")
    with pytest.raises(ValueError, match="without a graph with nan_policy='omit'"):
        g(torch.zeros(1))
