"""Standard errors against closed forms: their size, and how often intervals hold the truth."""

import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import torchsmooth as ts
from torchsmooth._analysis.estimates import Estimate, estimate


A = torch.tensor([1.0, -0.5], dtype=torch.float64)
X = torch.tensor([0.3, -0.2], dtype=torch.float64)
GAMMA = 0.5
MATRIX = torch.tensor([[0.3, 0.0], [0.2, -0.4]], dtype=torch.float64)


def curve(y: Tensor) -> Tensor:
    """Two outputs whose smoothed twins are known: a wave and a step."""
    t = y.to(torch.float64) @ A
    return torch.stack([torch.sin(2 * t), (t > 0).double()], -1).to(y.dtype)


def smoothed_curve(x: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Value and Jacobian of `curve` under Gaussian noise whose product with A has this variance."""
    t, deviation = x @ A, variance.sqrt()
    value = torch.stack(
        [torch.exp(-2 * variance) * torch.sin(2 * t), torch.special.ndtr(t / deviation)], -1
    )
    slope = torch.stack(
        [
            2 * torch.exp(-2 * variance) * torch.cos(2 * t),
            torch.exp(-t.square() / (2 * variance)) / (2 * math.pi * variance).sqrt(),
        ],
        -1,
    )
    return value, slope[..., None] * A


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        dict(sampler="mc"),
        dict(sampler="mc", antithetic=True),
        dict(sampler="mc", covariate="fx"),
        dict(sampler="mc", covariate="none", antithetic=True),
        dict(sampler="mc", repetitions=8, num_samples=128),
        dict(sampler="sobol", repetitions=8, num_samples=128),
        dict(sampler="sobol", antithetic=True, num_samples=256),
        dict(sampler="rqmc_latin", num_samples=256),
        dict(sampler="rqmc_cartesian", covariate="none", num_samples=16**2),
    ],
    ids=str,
)
@pytest.mark.parametrize("matrix", [False, True])
def test_coverage(options: dict, matrix: bool, device: torch.device) -> None:
    """95 % intervals hold the truth in 95 % of 1000 independent examples.

    The bounds are 5 standard deviations of the count, 3.4 %, and 0.6 % because the averages are not
    quite normal.
    """
    if matrix:
        law, variance = ts.Gaussian(scale_matrix=MATRIX.to(device)), (MATRIX.T @ A).square().sum()
    else:
        law, variance = ts.Gaussian(scale=GAMMA), GAMMA**2 * A.square().sum()
    examples = 1000
    options = {"num_samples": 512, **options}
    result = estimate(
        lambda y: curve(y.cpu()).to(y.device),
        X.to(device).expand(examples, 2),
        law,
        seed=1,
        **options,
    )
    t = scipy.stats.t.ppf(0.975, result.degrees_of_freedom)
    value, jacobian = smoothed_curve(X, variance)
    for got, error, exact in (
        (result.value, result.value_error, value),
        (result.jacobian, result.jacobian_error, jacobian),
    ):
        assert got.shape == (examples, *exact.shape) and error.shape == got.shape
        inside = ((got.cpu() - exact).abs() <= t * error.cpu()).double().mean(0)
        assert (inside - 0.95).abs().max() <= 0.04, inside


@pytest.mark.parametrize(
    ("covariate", "antithetic", "variance"),
    [
        # f(x) = x at x: the products are (x + g e) e / g, e² and so on.
        ("none", False, (0.3 / GAMMA) ** 2 + 2),
        ("fx", False, 2.0),
        ("loo", False, 2.0),
        ("none", True, 2 * 2.0),
        ("loo", True, 2 * 2.0),
    ],
)
def test_size_of_the_errors(covariate: str, antithetic: bool, variance: float) -> None:
    """Of a linear function, the variance of a product is known.

    Over 2^16 samples the variance of e² comes out within 1.5 % (one sigma: 0.73 %) and the error
    within half of that.
    """
    s = 2**16
    x = torch.tensor([0.3], dtype=torch.float64)
    result = estimate(
        lambda y: y[:, 0],
        x,
        ts.Gaussian(scale=GAMMA),
        num_samples=s,
        sampler="mc",
        covariate=covariate,
        antithetic=antithetic,
        seed=3,
    )
    assert result.jacobian_error.item() == pytest.approx(math.sqrt(variance / s), rel=0.025)
    # The mean of a linear function over a mirrored pair is f(x) itself.
    expected = 0.0 if antithetic else GAMMA / math.sqrt(s)
    assert result.value_error.item() == pytest.approx(expected, rel=0.02, abs=1e-12)


@pytest.mark.parametrize("antithetic", [False, True])
def test_errors_of_few_samples(antithetic: bool) -> None:
    """Each sample, or mirrored pair, is compared with the mean of the others: spelled out."""
    s, members, seed = 8, 2 if antithetic else 1, 7
    law, x = ts.Gaussian(scale=GAMMA), torch.tensor([0.3], dtype=torch.float64)
    result = estimate(
        lambda y: y[:, 0] ** 3,
        x,
        law,
        num_samples=s,
        sampler="mc",
        antithetic=antithetic,
        seed=seed,
    )
    uniforms = ts.MonteCarlo().uniforms(s, 1, antithetic=antithetic, seed=seed, dtype=torch.float64)
    noise = law.icdf(uniforms)[:, 0]
    values = ((x + noise) ** 3).reshape(-1, members)
    scores = law.score(noise).reshape(-1, members)
    products = torch.stack(
        [
            ((values[g] - torch.cat([values[:g], values[g + 1 :]]).mean()) * scores[g]).mean()
            for g in range(s // members)
        ]
    )
    groups = s // members
    assert result.jacobian.item() == pytest.approx(products.mean().item(), rel=1e-6)
    assert result.jacobian_error.item() == pytest.approx(
        (products.std() / groups**0.5).item(), rel=1e-6
    )
    assert result.value_error.item() == pytest.approx(
        (values.mean(1).std() / groups**0.5).item(), rel=1e-6
    )
    assert result.degrees_of_freedom == groups - 1


def test_repetitions_scatter_as_their_mean_says() -> None:
    """16 repetitions of s independent samples err as 16 s samples do."""
    x = torch.zeros(500, 1, dtype=torch.float64)
    result = estimate(
        lambda y: y[:, 0],
        x,
        ts.Gaussian(),
        num_samples=64,
        repetitions=16,
        sampler="mc",
        covariate="none",
        seed=0,
    )
    # E of the squared errors is the variance, 2 / (16 * 64); 500 examples say it within 2 %.
    mean_square = result.jacobian_error.square().mean().item()
    assert mean_square == pytest.approx(2 / 1024, rel=0.1)
    assert result.degrees_of_freedom == 15


@pytest.mark.parametrize("covariate", ["none", "fx", "loo"])
@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_is_what_smooth_gives(
    covariate: str, vectorized: bool, dtype: torch.dtype, device: torch.device
) -> None:
    x = torch.randn(3, 4, 2, dtype=dtype, device=device)
    options = dict(num_samples=16, sampler="mc", covariate=covariate, event_dim=2, seed=5)

    def f(y: Tensor) -> Tensor:  # [..., 4, 2] -> [..., 2, 2]
        return (y.mT @ y).round()

    result = estimate(f, x, ts.Logistic(scale=0.3), vectorized=vectorized, **options)
    smoothed = ts.smooth(f, ts.Logistic(scale=0.3), **options)
    leaf = x.clone().requires_grad_()
    value = smoothed(leaf)
    torch.testing.assert_close(result.value, value.detach())
    assert result.jacobian.shape == (3, 2, 2, 4, 2) and result.jacobian.dtype == dtype
    for i in range(2):
        for j in range(2):
            (row,) = torch.autograd.grad(value[:, i, j].sum(), leaf, retain_graph=True)
            torch.testing.assert_close(result.jacobian[:, i, j], row)
    assert result.jacobian_error.isfinite().all() and (result.jacobian_error > 0).any()


def test_shapes_without_dimensions() -> None:
    result = estimate(
        lambda y: float(y) ** 2,
        torch.tensor(0.5),
        ts.Gaussian(),
        event_dim=0,
        vectorized=False,
        seed=0,
    )
    for tensor in (result.value, result.jacobian, result.value_error, result.jacobian_error):
        assert tensor.shape == () and tensor.dtype == torch.float32
    assert abs(result.jacobian.item() - 1.0) < 6 * result.jacobian_error.item()  # 2 x
    assert abs(result.value.item() - 1.25) < 6 * result.value_error.item()  # x² + 1


@pytest.mark.parametrize("sampler", ["mc", "sobol"])
@pytest.mark.parametrize(
    ("shape", "out"), [((0, 3), (2,)), ((2, 3), (0,)), ((2, 0), (2,)), ((0, 0), (0, 2))]
)
def test_empty(shape: tuple[int, ...], out: tuple[int, ...], sampler: str) -> None:
    result = estimate(
        lambda y: y.new_zeros(len(y), *out), torch.ones(shape), ts.Gaussian(), sampler=sampler
    )
    assert result.value.shape == result.value_error.shape == (shape[0], *out)
    assert result.jacobian.shape == result.jacobian_error.shape == (shape[0], *out, shape[1])
    assert (result.jacobian_error == 0).all()


@pytest.mark.parametrize("sampler", ["mc", "sobol"])
def test_nan_stays_with_its_example(sampler: str) -> None:
    x = torch.tensor([[0.0], [math.nan]])
    result = estimate(lambda y: y, x, ts.Gaussian(), sampler=sampler, seed=0)
    for tensor in (result.value, result.jacobian, result.value_error, result.jacobian_error):
        assert tensor[0].isfinite().all() and tensor[1].isnan().all()


@pytest.mark.parametrize("covariate", ["fx", "loo"])
def test_counts_evaluations(covariate: str) -> None:
    seen = []

    def f(y: Tensor) -> np.ndarray:
        seen.append(len(y))
        return y.numpy().sum(-1)  # only possible without a graph

    estimate(f, torch.zeros(3, 2), ts.Gaussian(), sampler="mc", num_samples=40, covariate=covariate)
    assert sum(seen) == 3 * 40 + (3 if covariate == "fx" else 0)


def test_f_may_return_the_same_array_again() -> None:
    buffer = np.empty(8, dtype=np.float32)

    def f(y: Tensor) -> np.ndarray:
        buffer[: len(y)] = y[:, 0].numpy()
        return buffer[: len(y)]

    options = dict(num_samples=64, sampler="mc", chunk_size=8, seed=0)
    result = estimate(f, torch.zeros(1), ts.Gaussian(), **options)
    expected = estimate(lambda y: y[:, 0], torch.zeros(1), ts.Gaussian(), **options)
    torch.testing.assert_close(result.jacobian_error, expected.jacobian_error)
    torch.testing.assert_close(result.value_error, expected.value_error)


def test_leaves_no_graph_and_needs_no_grad_mode() -> None:
    weight = torch.ones(2, requires_grad=True)
    x = torch.zeros(2, requires_grad=True)
    with torch.inference_mode():
        result = estimate(lambda y: y @ weight, x, ts.Gaussian(), seed=0)
    assert isinstance(result, Estimate)
    for tensor in (result.value, result.jacobian, result.value_error, result.jacobian_error):
        assert not tensor.requires_grad
    assert x.grad is None and weight.grad is None


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (dict(sampler="qmc_latin"), ValueError, "randomised.*'rqmc_latin'"),
        (dict(sampler=ts.Cartesian(randomized=False)), ValueError, "'rqmc_cartesian'"),
        (dict(repetitions=1), ValueError, "repetitions must be at least 2, got 1"),
        (dict(repetitions=2.0), TypeError, "repetitions must be an int"),
        (dict(sampler="mc", num_samples=1, covariate="none"), ValueError, "at least 2, got 1"),
        (
            dict(sampler="mc", num_samples=2, covariate="none", antithetic=True),
            ValueError,
            "num_samples must be at least 4, got 2",
        ),
        (dict(event_dim=2), ValueError, "event_dim=2"),
        (dict(covariate="mean"), ValueError, "covariate must be one of"),
        (dict(f=3), TypeError, "f must be callable, got int"),
        (dict(f=lambda y: (y, y)), TypeError, "f must return one tensor, got tuple"),
        (dict(x=torch.zeros(2, dtype=torch.int64)), TypeError, "x must be a floating-point tensor"),
        (dict(distribution="logistic"), TypeError, "distribution must be"),
    ],
)
def test_bad_input(options: dict, kind: type[Exception], message: str) -> None:
    arguments = dict(f=lambda y: y, x=torch.zeros(2), distribution=ts.Gaussian()) | options
    with pytest.raises(kind, match=message):
        estimate(arguments.pop("f"), arguments.pop("x"), arguments.pop("distribution"), **arguments)


def test_errors_of_f_are_passed_on() -> None:
    def f(y: Tensor) -> Tensor:
        raise ZeroDivisionError("no luck")

    with pytest.raises(ZeroDivisionError, match=re.escape("no luck")):
        estimate(f, torch.zeros(2), ts.Gaussian())
