"""What the laws know in closed form, against scipy, and against each other where they meet."""

import math

import numpy as np
import pytest
import scipy.integrate
import torch
from laws import FACTS, SCIPY, WITH_MEAN
from torch import Tensor
from torch.autograd import gradcheck

import torchsmooth as ts
from torchsmooth.distributions import LAWS


TAILS = np.concatenate([10.0 ** np.arange(-300, -20, 20), 10.0 ** np.arange(-20, 0)])


def grid(law: str) -> np.ndarray:
    """Quantiles in both tails and in the middle."""
    noise = SCIPY[law]
    return np.concatenate(
        [noise.ppf(TAILS), noise.ppf(np.linspace(0.01, 0.99, 49)), noise.isf(TAILS)]
    )


@pytest.mark.parametrize("law", LAWS)
def test_probabilities(law: str) -> None:
    z, noise = grid(law), SCIPY[law]
    x, ours = torch.tensor(z * 0.3), LAWS[law](0.3)
    z = (x / 0.3).numpy()
    above = noise.sf(z)
    for function, expected in (
        (ours.probability_above, above),
        (ours.probability_below, noise.cdf(z)),
    ):
        np.testing.assert_allclose(function(x).numpy(), expected, rtol=1e-11, atol=1e-307)
    with np.errstate(divide="ignore", over="ignore"):
        below = noise.cdf(z)
        expected_logs = (
            np.where(below < 0.5, np.log1p(-below), noise.logsf(z)),
            np.where(above < 0.5, np.log1p(-above), noise.logcdf(z)),
        )
    for function, expected in zip(
        (ours.log_probability_above, ours.log_probability_below), expected_logs, strict=True
    ):
        finite = np.isfinite(expected)
        np.testing.assert_allclose(
            function(x).numpy()[finite], expected[finite], rtol=1e-11, atol=1e-306
        )


@pytest.mark.parametrize("law", LAWS)
def test_logarithms_are_those_of_the_probabilities(law: str) -> None:
    x = torch.tensor([-0.93, -0.4, 0.0, 0.3, 0.98], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
    noise = LAWS[law](scale)
    for log, plain in (
        (noise.log_probability_above, noise.probability_above),
        (noise.log_probability_below, noise.probability_below),
    ):
        torch.testing.assert_close(log(x), plain(x).log())
        slopes = torch.autograd.grad(log(x).sum(), (x, scale))
        expected = torch.autograd.grad(plain(x).log().sum(), (x, scale))
        torch.testing.assert_close(slopes, expected)


@pytest.mark.parametrize("law", LAWS)
def test_probability_between(law: str) -> None:
    noise = SCIPY[law]
    cases = [(-0.4, 0.7), (0.2, 0.9), (-0.8, -0.3), (0.5, 0.5 + 1e-7), (-0.5 - 1e-9, -0.5)]
    lo, hi = torch.tensor(cases, dtype=torch.float64).T
    expected = [
        scipy.integrate.quad(noise.pdf, a, b, epsabs=0, epsrel=1e-12, points=[0] * (a < 0 < b))[0]
        if (a < 0 < b)
        else scipy.integrate.quad(noise.pdf, a, b, epsabs=0, epsrel=1e-12)[0]
        for a, b in cases
    ]
    actual = LAWS[law](2.0).probability_between(2 * lo, 2 * hi)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-9)
    infinite = torch.full_like(lo, math.inf)
    ours = LAWS[law](2.0)
    torch.testing.assert_close(ours.probability_between(-infinite, hi), ours.probability_below(hi))
    torch.testing.assert_close(ours.probability_between(lo, infinite), ours.probability_above(lo))
    torch.testing.assert_close(ours.probability_between(-infinite, infinite), torch.ones_like(lo))


@pytest.mark.parametrize("law", WITH_MEAN)
def test_mean(law: str) -> None:
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64)
    expected = scale * float(SCIPY[law].mean())
    torch.testing.assert_close(LAWS[law](scale).mean() + 0 * scale, expected, rtol=0, atol=1e-15)


def test_mean_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="must have a mean"):
        ts.Cauchy().mean()
    with pytest.raises(ValueError, match="scale_matrix"):
        ts.Gaussian(scale_matrix=torch.eye(2)).mean()


@pytest.mark.parametrize("law", WITH_MEAN)
def test_relu_gap(law: str) -> None:
    """The integral of the tail, by quadrature; far out too."""
    noise = SCIPY[law]
    low, high = FACTS[law].mass
    points = [-12.0, -6.5, -5.9, -2.0, -0.8, 0.0, 0.3, 1.2, 3.0, 6.5]
    if FACTS[law].is_compact:
        points = [-0.999, -0.8, -0.3, 0.0, 0.3, 0.95]
    expected = []
    for x in points:
        if x <= 0:
            value = scipy.integrate.quad(noise.sf, -x, high, epsabs=0, epsrel=1e-11)[0]
        else:
            value = scipy.integrate.quad(noise.cdf, low, -x, epsabs=0, epsrel=1e-11)[0]
            value += float(noise.mean())
        expected.append(value)
    x = torch.tensor(points, dtype=torch.float64)
    actual = LAWS[law](1.7).relu_gap(1.7 * x) / 1.7
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10, atol=1e-17)


@pytest.mark.parametrize("law", WITH_MEAN)
def test_expected_steps_sum_to_the_distance(law: str) -> None:
    """Two staircases, half a step apart, make one with half the steps."""
    below = torch.linspace(0.01, 0.49, 9, dtype=torch.float64)
    for scale in (0.1, 0.38, 0.9, 3.0, 8.8, 9.3, 40.0):
        noise = LAWS[law](scale)
        half = LAWS[law](2 * scale)
        # floor(2 y) = floor(y) + floor(y + 1/2).
        left = half.expected_steps(2 * below, 1 - 2 * below)
        right = noise.expected_steps(below, 1 - below)
        right = right + noise.expected_steps(below + 0.5, 0.5 - below)
        torch.testing.assert_close(left, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", WITH_MEAN)
def test_derivatives_of_expected_steps(law: str) -> None:
    below = torch.tensor([0.11, 0.37, 0.83], dtype=torch.float64, requires_grad=True)
    for value in (0.07, 0.3, 0.41, 1.6, 12.3):
        scale = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda b, s: LAWS[law](s).expected_steps(b, 1 - b), (below, scale))


@pytest.mark.parametrize("law", LAWS)
def test_nodes(law: str) -> None:
    noise, weights = LAWS[law]().nodes(128, dtype=torch.float64)
    assert weights.sum().item() == pytest.approx(1, abs=1e-14)
    for t in (0.3, 1.7):
        expected = scipy.integrate.quad(
            lambda u, t=t: math.tanh(t + SCIPY[law].ppf(u)), 0, 1, epsabs=1e-9, limit=200
        )[0]
        actual = (weights * torch.tanh(t + noise)).sum().item()
        assert actual == pytest.approx(expected, abs=1e-6)
    single, _ = LAWS[law]().nodes(16, dtype=torch.float32)
    assert single.dtype == torch.float32 and single.isfinite().all()


def test_with_scale() -> None:
    law = ts.FromTorch(torch.distributions.Normal(0.0, 1.0), 2.0)
    other = law.with_scale(0.5)
    assert isinstance(other, ts.FromTorch)
    assert (law.scale, other.scale, other.distribution) == (2.0, 0.5, law.distribution)
    assert ts.Gaussian(scale_matrix=torch.eye(2)).with_scale(1.0).scale_matrix is None
    with pytest.raises(ValueError, match="scale must be a number"):
        law.with_scale(0.0)


def test_batches_of_laws() -> None:
    locations = torch.tensor([0.0, 1.0], dtype=torch.float64)
    law = ts.FromTorch(torch.distributions.Normal(locations, 1.0), torch.ones(()).requires_grad_())
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    p = law.probability_above(x)
    torch.testing.assert_close(p, 0.5 * torch.erfc(-locations / math.sqrt(2)))
    (slope,) = torch.autograd.grad(p.sum(), x)
    density = torch.exp(-0.5 * locations.square()) / math.sqrt(2 * math.pi)
    torch.testing.assert_close(slope, -density.sum())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of jvp
@pytest.mark.parametrize("law", LAWS)
def test_slopes_that_the_law_knows(law: str) -> None:
    """They are those of the value, in reverse and in forward mode, and differentiable."""
    x = torch.tensor([-0.7, -0.2, 0.4, 0.9], dtype=torch.float64)
    scale = torch.tensor([1.1, 0.8, 1.3, 1.7], dtype=torch.float64)

    def reference(x: Tensor, scale: Tensor) -> Tensor:
        return LAWS[law](1.0).cdf(x / scale)

    def function(x: Tensor, scale: Tensor) -> Tensor:
        return LAWS[law](scale).probability_below(x)

    for transform in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(
            transform(function, (0, 1))(x, scale), transform(reference, (0, 1))(x, scale)
        )
    torch.testing.assert_close(
        torch.func.hessian(lambda x: function(x, scale).sum())(x),
        torch.func.hessian(lambda x: reference(x, scale).sum())(x),
    )
    third = torch.func.grad(torch.func.grad(torch.func.grad(lambda x: function(x, scale[0]))))
    expected = torch.func.grad(torch.func.grad(torch.func.grad(lambda x: reference(x, scale[0]))))
    torch.testing.assert_close(third(x[2]), expected(x[2]))
