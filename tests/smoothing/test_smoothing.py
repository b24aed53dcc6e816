"""The generic road against closed forms, and against the estimators written out sample by sample.

The gradients are tested twice. Each estimate equals its definition (`literal_gradients`), computed
from the points that f was shown; and their mean over many seeds is the gradient of an expectation
that is known in closed form.
"""

import functools
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from facts import assert_mean, assert_mean_gradient, replicate
from laws import FACTS, SCIPY
from torch import Tensor

import torchsmooth as ts
from torchsmooth.distributions import LAWS, AbstractDistribution


SAMPLERS = ["mc", "qmc_latin", "rqmc_latin", "qmc_cartesian", "rqmc_cartesian", "sobol"]
COVARIATES = ["none", "fx", "loo"]


class Recorder:
    """A function that keeps the points that it was called with."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self.calls: list[Tensor] = []

    def __call__(self, y: Tensor, *args: Any) -> Any:
        self.calls.append(y.detach().clone())
        return self.f(y, *args)

    @property
    def points(self) -> Tensor:
        return torch.cat(self.calls)


def steps(y: Tensor) -> Tensor:
    """[m, n] -> [m, 2], without a useful gradient, different in every dimension."""
    n = y.shape[-1]
    slopes = torch.arange(1, n + 1, dtype=y.dtype, device=y.device)
    total = y @ slopes
    return torch.stack([total.sign() + 3, (y > 0.1).to(y.dtype) @ slopes], -1)


# --- each estimate is its definition ---------------------------------------------------------


def baselines(
    values: Tensor,  # [B, s, M]
    unperturbed: Tensor,  # [B, M]
    covariate: str,
    independent: bool,
    antithetic: bool,
) -> Tensor:  # [B, s, M]
    """What every sample's value is compared with."""
    s = values.shape[1]
    if covariate == "none":
        return torch.zeros_like(values)
    if covariate == "fx":
        return unperturbed.unsqueeze(1).expand_as(values)
    total = values.sum(1, keepdim=True)
    if not independent:
        return (total / s).expand_as(values)
    if not antithetic:
        return (total - values) / (s - 1)
    mirror = values.unflatten(1, (s // 2, 2)).flip(2).flatten(1, 2)
    return (total - values - mirror) / (s - 2)


def literal_gradients(
    law: AbstractDistribution,  # of scale 1
    x: Tensor,  # [B, n]
    matrix: Tensor,  # [B, n, n]
    points: Tensor,  # [B, s, n]
    centered: Tensor,  # [B, s, M]
) -> tuple[Tensor, Tensor]:  # [B, M, n], [B, M, n, n]
    """Means over the samples of the products with the scores, in x and in the scale matrix L:
    f L^-T score and f L^-T (score noise^T - I)."""
    noise = torch.linalg.solve(matrix, (points - x.unsqueeze(1)).mT).mT
    score = law.score(noise)
    outer = score.unsqueeze(-1) * noise.unsqueeze(-2) - torch.eye(x.shape[1]).to(x)
    inverse = torch.linalg.inv(matrix).mT
    in_x = torch.einsum("bji,bsi,bsm->bmj", inverse, score, centered) / points.shape[1]
    in_scale = torch.einsum("bji,bsik,bsm->bmjk", inverse, outer, centered) / points.shape[1]
    return in_x, in_scale


def assert_estimate_is_literal(
    law: Callable[..., AbstractDistribution],
    num_samples: int,
    device: torch.device,
    *,
    n: int = 2,
    sampler: str = "mc",
    antithetic: bool = False,
    covariate: str = "loo",
    chunk_size: int | None = None,
    scale_matrix: bool = False,
) -> None:
    elements = 3
    options = {"dtype": torch.float64, "device": device}
    x = torch.randn(elements, n, **options, requires_grad=True)
    scale = 0.5 + torch.rand(elements, n, **options)
    matrix = scale.diag_embed()
    if scale_matrix:
        matrix = scale = matrix + 0.3 * torch.randn(elements, n, n, **options)
    scale.requires_grad_()
    recorder = Recorder(steps)
    smoothed = ts.smooth(
        recorder,
        law(scale_matrix=scale) if scale_matrix else law(scale),
        num_samples=num_samples,
        sampler=sampler,
        antithetic=antithetic,
        covariate=covariate,
        chunk_size=chunk_size,
        seed=5,
        check=False,
    )
    value = smoothed(x)
    upstream = torch.randn_like(value)
    grad_x, grad_scale = torch.autograd.grad(value, (x, scale), upstream)

    x, matrix = x.detach(), matrix.detach()
    points = recorder.points
    unperturbed = steps(x)
    if covariate == "fx":
        assert torch.equal(points[:elements], x)
        points = points[elements:]
    points = points.reshape(elements, num_samples, n)
    values = steps(points.flatten(0, 1)).reshape(elements, num_samples, -1)
    independent = sampler == "mc"
    centered = values - baselines(values, unperturbed, covariate, independent, antithetic)
    in_x, in_matrix = literal_gradients(law(), x, matrix, points, centered)
    in_scale = in_matrix if scale_matrix else in_matrix.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(value, values.mean(1))
    for actual, jacobian in ((grad_x, in_x), (grad_scale, in_scale)):
        expected = torch.einsum("bm,bm...->b...", upstream, jacobian)
        atol = 1e-9 * expected.abs().max().item()
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=atol)


# With n = 2, 4 samples are kept until backward; of more the Jacobian is summed while they are made.
KEPT, SUMMED = 4, {False: 36, True: 32}


@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_estimate_by_sampler(
    sampler: str, antithetic: bool, covariate: str, device: torch.device
) -> None:
    options = {"sampler": sampler, "antithetic": antithetic, "covariate": covariate}
    assert_estimate_is_literal(ts.Gumbel, SUMMED[antithetic], device, **options)
    if not (antithetic and sampler.endswith("cartesian")):
        assert_estimate_is_literal(ts.Gumbel, KEPT, device, **options)


normal_from_torch = functools.partial(ts.FromTorch, torch.distributions.Normal(0.0, 1.0))


@pytest.mark.parametrize("scale_matrix", [False, True])
@pytest.mark.parametrize("num_samples", [4, 37])
@pytest.mark.parametrize("law", [*LAWS.values(), normal_from_torch])
def test_estimate_by_law(
    law: Callable[..., AbstractDistribution],
    num_samples: int,
    scale_matrix: bool,
    device: torch.device,
) -> None:
    assert_estimate_is_literal(law, num_samples, device, scale_matrix=scale_matrix)


@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("num_samples", [6, 40])
def test_estimate_with_a_scale_matrix(
    num_samples: int, antithetic: bool, covariate: str, device: torch.device
) -> None:
    for n in (1, 3):
        assert_estimate_is_literal(
            ts.Gumbel,
            num_samples,
            device,
            n=n,
            antithetic=antithetic,
            covariate=covariate,
            scale_matrix=True,
        )


@pytest.mark.parametrize("scale_matrix", [False, True])
@pytest.mark.parametrize("num_samples", [KEPT, 37])
@pytest.mark.parametrize("chunk_size", [1, 3, 4, 5, 37, 41, 111, 10**6])
def test_estimate_by_chunk_size(
    chunk_size: int, num_samples: int, scale_matrix: bool, device: torch.device
) -> None:
    assert_estimate_is_literal(
        ts.Logistic, num_samples, device, chunk_size=chunk_size, scale_matrix=scale_matrix
    )


# --- the mean of the estimates is exact ------------------------------------------------------


def mean_and_gradients(
    f: Callable[[Tensor], Tensor],
    law: type[AbstractDistribution],
    x: Tensor,  # [n]
    scale: Tensor,  # [1], [n] or [n, n]
    replicates: int = 2000,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Independent estimates of E f and of its gradients in x and in the scale."""
    rows, scales = replicate(x, replicates), replicate(scale, replicates)
    distribution = law(scale_matrix=scales) if scale.ndim == 2 else law(scales)
    value = ts.smooth(f, distribution, **{"seed": 1, "num_samples": 64, **options})(rows)
    return (value, *torch.autograd.grad(value.sum(), (rows, scales)))


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


CONSTANT = doubles(2.0)


@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("law", ["gaussian", "logistic", "gumbel", "cauchy", "laplace"])
def test_a_constant_has_no_gradient(law: str, covariate: str) -> None:
    """One scale for three dimensions: its gradient contains the -3 of the volume element."""
    x, scale = doubles(0.1, -0.5, 2.0), doubles(0.6)

    def one(y: Tensor) -> Tensor:
        return torch.ones_like(y[:, 0])

    for num_samples in (4, 64):  # kept, summed
        value, grad_x, grad_scale = mean_and_gradients(
            one, LAWS[law], x, scale, covariate=covariate, num_samples=num_samples, sampler="mc"
        )
        assert (value == 1).all()
        if covariate == "none":
            assert_mean(grad_x, 0.0, resolution=0.2)
            assert_mean(grad_scale, 0.0, resolution=0.3)
        else:
            torch.testing.assert_close(grad_x, torch.zeros_like(grad_x), rtol=0, atol=1e-13)
            torch.testing.assert_close(grad_scale, 0 * grad_scale, rtol=0, atol=1e-13)


def test_square_norm() -> None:
    """E |x + scale e|^2 = |x|^2 + n scale^2, its gradients 2 x and 2 n scale."""
    x, scale = doubles(0.1, -0.5, 0.8), doubles(0.6)
    value, grad_x, grad_scale = mean_and_gradients(
        lambda y: y.square().sum(-1), ts.Gaussian, x, scale, sampler="mc"
    )
    assert_mean(value, x.square().sum() + 3 * 0.36, resolution=0.05)
    assert_mean(grad_x, 2 * x, resolution=0.1)
    assert_mean(grad_scale, [2 * 3 * 0.6], resolution=0.2)


# Its determinant is negative, and it differs much from its transpose.
MATRIX = doubles(0.2, 1.0, -0.3, 0.8, 0.1, 0.5, 0.0, -0.4, 0.7).reshape(3, 3)


@pytest.mark.parametrize("law", ["gaussian", "logistic", "laplace"])
@pytest.mark.parametrize(
    "scale", [doubles(0.6), doubles(0.6, 0.3, 1.1), MATRIX], ids=["number", "vector", "matrix"]
)
def test_linear(scale: Tensor, law: str) -> None:
    """E a.(x + L e) = a.x for laws of mean 0: the gradients are a and 0."""
    a, x = doubles(1.0, -2.0, 0.5), doubles(0.1, -0.5, 0.8)
    assert scale.ndim < 2 or scale.det() < 0
    for num_samples in (6, 64):  # kept, summed
        value, grad_x, grad_scale = mean_and_gradients(
            lambda y: y @ a, LAWS[law], x, scale, num_samples=num_samples, sampler="mc"
        )
        assert_mean(value, a @ x, resolution=0.2)
        assert_mean(grad_x, a, resolution=0.8)
        assert_mean(grad_scale, 0.0, resolution=1.0)


@pytest.mark.parametrize("antithetic", [False, True])
def test_square_norm_in_the_scale_matrix(antithetic: bool) -> None:
    """E |x + L e|^2 = |x|^2 + tr L L^T, its gradient in L 2 L."""
    x = doubles(0.1, -0.5, 0.8)
    value, grad_x, grad_matrix = mean_and_gradients(
        lambda y: y.square().sum(-1),
        ts.Gaussian,
        x,
        MATRIX,
        num_samples=256,
        sampler="mc",
        antithetic=antithetic,
    )
    assert_mean(value, x.square().sum() + MATRIX.square().sum(), resolution=0.05)
    assert_mean(grad_x, 2 * x, resolution=0.2)
    assert_mean(grad_matrix, 2 * MATRIX, resolution=0.25)


@pytest.mark.parametrize("num_samples", [64, 7])
@pytest.mark.parametrize("sampler", ["mc", "rqmc_latin", "sobol"])
def test_gaussian_polynomials(sampler: str, num_samples: int) -> None:
    x0, scale = 0.4, 0.7
    x = torch.tensor(x0, dtype=torch.float64, requires_grad=True)
    g = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    moments = torch.stack([x, x**2 + g**2, x**3 + 3 * x * g**2, x**4 + 6 * x**2 * g**2 + 3 * g**4])
    for power, expected in enumerate(moments, 1):
        in_x, in_scale = torch.autograd.grad(expected, (x, g), retain_graph=True, allow_unused=True)
        value, grad_x, grad_scale = mean_and_gradients(
            lambda y, power=power: y[:, 0] ** power,
            ts.Gaussian,
            doubles(x0),
            doubles(scale),
            replicates=20_000,
            num_samples=num_samples,
            sampler=sampler,
            covariate="loo" if sampler == "mc" else "fx",
        )
        assert_mean(value, expected, resolution=0.1)
        assert_mean(grad_x, [in_x], resolution=0.3)
        assert_mean(grad_scale, [0.0 if in_scale is None else in_scale], resolution=0.8)


def test_exponential() -> None:
    """E exp(x + scale e) = exp(x + scale^2 / 2)."""
    x, scale = 0.3, 0.5
    expected = math.exp(x + scale**2 / 2)
    value, grad_x, grad_scale = mean_and_gradients(
        lambda y: y[:, 0].exp(), ts.Gaussian, doubles(x), doubles(scale), 20_000, sampler="mc"
    )
    assert_mean(value, expected, resolution=0.02)
    assert_mean(grad_x, [expected], resolution=0.05)
    assert_mean(grad_scale, [scale * expected], resolution=0.05)


@pytest.mark.parametrize("x", [0.0, -0.3])
@pytest.mark.parametrize("law", LAWS)
def test_heaviside(law: str, x: float) -> None:
    """E [x + scale e > 0] = 1 - F(-x / scale), not F(x / scale)."""
    scale = 0.7
    value, grad_x, grad_scale = mean_and_gradients(
        lambda y: (y[:, 0] > 0).double(),
        LAWS[law],
        doubles(x),
        doubles(scale),
        num_samples=2**12 if FACTS[law].score_moments < 2 else 512,
        sampler="mc",
    )
    slope = SCIPY[law].pdf(-x / scale) / scale
    assert_mean(value, SCIPY[law].sf(-x / scale), resolution=0.01)
    assert_mean_gradient(law, grad_x, [slope], resolution=0.05)
    assert_mean_gradient(law, grad_scale, [-slope * x / scale], resolution=0.05)


def test_gumbel_heaviside_at_zero() -> None:
    value, _, _ = mean_and_gradients(
        lambda y: (y[:, 0] > 0).double(), ts.Gumbel, doubles(0.0), doubles(1.0), sampler="sobol"
    )
    assert_mean(value, 1 - math.exp(-1), resolution=1e-3)


def cosine_facts(a: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E cos(a.(x + scale e)) for Gaussian e is cos(a.x) exp(-|scale a|^2 / 2); its gradients."""
    x, scale = (t.clone().requires_grad_() for t in (x, scale))
    expected = torch.cos(a @ x) * torch.exp(-(scale * a).square().sum() / 2)
    return (expected, *torch.autograd.grad(expected, (x, scale)))


@pytest.mark.slow
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize(
    "sampler, covariate",
    [
        *itertools.product(["mc", "rqmc_latin", "rqmc_cartesian", "sobol"], ["none", "fx"]),
        ("mc", "loo"),
    ],
)
def test_random_points_are_unbiased(sampler: str, covariate: str, antithetic: bool) -> None:
    """With few samples, where a bias of order 1 / s would show."""
    a, x, scale = doubles(1.0, -1.5), doubles(0.3, -0.2), doubles(0.8, 0.5)
    value, in_x, in_scale = cosine_facts(a, x, scale)
    estimates = mean_and_gradients(
        lambda y: torch.cos(y @ a),
        ts.Gaussian,
        x,
        scale,
        replicates=200_000,
        num_samples=8 if antithetic else 4,
        sampler=sampler,
        antithetic=antithetic,
        covariate=covariate,
    )
    assert_mean(estimates[0], value, resolution=0.006)
    assert_mean(estimates[1], in_x, resolution=0.03)
    assert_mean(estimates[2], in_scale, resolution=0.06)


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_many_points_converge(sampler: str, covariate: str, antithetic: bool) -> None:
    """Also centred points, and stratified ones compared with the mean: their bias vanishes.

    Slowly for a centred grid, which has no point in the outer 1/128 of each dimension.
    """
    a, x, scale = doubles(1.0, -1.5), doubles(0.3, -0.2), doubles(0.8, 0.5)
    s = 2 * 64**2 if antithetic else 64**2
    estimates = mean_and_gradients(
        lambda y: torch.cos(y @ a),
        ts.Gaussian,
        x,
        scale,
        replicates=40,
        num_samples=s,
        sampler=sampler,
        antithetic=antithetic,
        covariate=covariate,
    )
    for estimate, expected in zip(estimates, cosine_facts(a, x, scale), strict=True):
        mean = estimate.detach().mean(0)
        atol = 0.1 if sampler == "qmc_cartesian" else 0.03
        torch.testing.assert_close(mean, expected.detach(), rtol=0, atol=atol)


def variance_within(strata: int) -> float:
    """The share of the normal law's variance that is within equally probable strata."""
    edges = scipy.stats.norm.pdf(scipy.stats.norm.ppf(np.arange(strata + 1) / strata))
    means = strata * (edges[:-1] - edges[1:])
    return 1 - float(np.mean(means**2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler, strata", [("rqmc_latin", 8), ("rqmc_cartesian", 2), ("sobol", 8), ("mc", 0)]
)
def test_bias_of_the_mean_as_a_baseline(sampler: str, strata: int) -> None:
    """Of a linear f at s = 8: minus the share of the variance that stratification leaves, over s.

    That is 0.7 % for the Latin hypercube and Sobol points and 4.5 % for a grid of 2^3; the factor
    s / (s - 1) of leaving one out would make them 14 % and 9 % too large.
    """
    a, s = doubles(1.0, 1.0, 1.0), 8
    factor = 1 - variance_within(strata) / s if strata else 1.0
    _, grad_x, _ = mean_and_gradients(
        lambda y: y @ a,
        ts.Gaussian,
        doubles(0.2, -0.1, 0.3),
        doubles(1.0),
        replicates=300_000,
        num_samples=s,
        sampler=sampler,
    )
    # The dimensions are alike: their mean has less noise.
    assert_mean(grad_x.mean(1), factor, resolution=0.005)


# --- calls of f ------------------------------------------------------------------------------


@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("chunk_size", [None, 1, 7, 1000])
@pytest.mark.parametrize("num_samples", [2, 50])
def test_f_is_called_once_per_sample(
    num_samples: int, chunk_size: int | None, covariate: str
) -> None:
    recorder = Recorder(steps)
    x = torch.randn(3, 2, requires_grad=True)
    smoothed = ts.smooth(
        recorder,
        ts.Gaussian(torch.tensor(0.5, requires_grad=True)),
        num_samples=num_samples,
        covariate=covariate,
        chunk_size=chunk_size,
        check=False,
    )
    value = smoothed(x)
    seen = len(recorder.points)
    assert seen == 3 * num_samples + (3 if covariate == "fx" else 0)
    if chunk_size is not None:
        assert max(len(call) for call in recorder.calls) <= chunk_size
    value.sum().backward()
    assert len(recorder.points) == seen


@pytest.mark.parametrize("num_samples", [3, 1000])
def test_what_is_kept_is_the_smaller_of_outputs_and_jacobian(num_samples: int) -> None:
    elements, n, outputs = 5, 4, 7
    saved: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    x = torch.randn(elements, n, requires_grad=True)
    smoothed = ts.smooth(
        lambda y: y[:, :1].sign().expand(-1, outputs), ts.Gaussian(), num_samples=num_samples
    )
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        smoothed(x)
    table = ts.Sobol().directions(n, x.device).untyped_storage().nbytes()  # shared by all calls
    least = 4 * elements * outputs * min(num_samples, n)
    assert sum(saved.values()) - table <= least + 4 * elements * (n + outputs) + 64


def test_nothing_is_kept_without_gradients() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    with torch.no_grad():
        value = ts.smooth(steps, ts.Gaussian(), num_samples=8, seed=0)(x)
    assert not value.requires_grad
    expected = ts.smooth(steps, ts.Gaussian(), num_samples=8, seed=0)(x)
    assert expected.requires_grad
    torch.testing.assert_close(value, expected.detach(), rtol=0, atol=0)
    assert not ts.smooth(steps, ts.Gaussian(), num_samples=8)(x.detach()).requires_grad


@pytest.mark.parametrize("vectorized", [True, False])
def test_points_have_the_shape_and_type_of_events(vectorized: bool) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        recorder = Recorder(lambda y: y.flatten(1).sum(1) if vectorized else y.sum())
        x = torch.randn(2, 3, 4, 5, dtype=dtype)
        value = ts.smooth(
            recorder,
            ts.Gaussian(),
            num_samples=6,
            event_dim=2,
            chunk_size=5,
            vectorized=vectorized,
            sampler="mc",
            check=False,
        )(x)
        assert value.shape == (2, 3) and value.dtype == dtype
        for call in recorder.calls:
            assert call.dtype == dtype
            assert call.shape == ((len(call), 4, 5) if vectorized else (4, 5))


# --- batches and events ----------------------------------------------------------------------


@pytest.mark.parametrize("event_dim", [0, 1, 2, 3])
def test_batch_and_event_dimensions(event_dim: int) -> None:
    """Every event is what it would be in a flat batch of flat events."""
    x = torch.randn(2, 3, 4, requires_grad=True)
    split = x.ndim - event_dim
    options = {"num_samples": 8, "seed": 0}
    value = ts.smooth(
        lambda y: y.flatten(1).cumsum(1).sign() if event_dim else y.sign(),
        ts.Gumbel(0.5),
        event_dim=event_dim,
        **options,
    )(x)
    flat = x.detach().reshape(math.prod(x.shape[:split]), -1).requires_grad_()
    expected = ts.smooth(lambda y: y.cumsum(1).sign(), ts.Gumbel(0.5), **options)(flat)
    assert value.shape == (*x.shape[:split], *((flat.shape[1],) if event_dim else ()))
    torch.testing.assert_close(value.flatten(), expected.flatten(), rtol=0, atol=0)
    upstream = torch.randn_like(value)
    (actual,) = torch.autograd.grad(value, x, upstream)
    (wanted,) = torch.autograd.grad(expected, flat, upstream.reshape_as(expected))
    torch.testing.assert_close(actual.flatten(), wanted.flatten(), rtol=0, atol=0)


def test_strides_do_not_matter() -> None:
    base = torch.randn(4, 6, 5, requires_grad=True)
    view = base[:, ::2].transpose(0, 2)
    options = {"num_samples": 8, "seed": 0}
    upstream = torch.randn(5, 3, 2)
    results = []
    for x in (view, view.contiguous(), view.detach().clone().expand(5, 3, 4).requires_grad_()):
        value = ts.smooth(steps, ts.Gumbel(0.5), **options)(x)
        results.append((value, torch.autograd.grad(value, x, upstream)[0]))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


class ScaleForm(NamedTuple):
    shape: tuple[int, ...]
    event_dim: int


SCALE_FORMS = [
    *(ScaleForm(shape, 1) for shape in [(), (1,), (4,), (2, 1, 1), (3, 1), (2, 3, 1), (2, 3, 4)]),
    *(ScaleForm(shape, 2) for shape in [(), (4,), (3, 1), (3, 4), (2, 1, 1), (2, 3, 4)]),
]


@pytest.mark.parametrize("form", SCALE_FORMS, ids=str)
@pytest.mark.parametrize("num_samples", [4, 32])
def test_scales_broadcast(form: ScaleForm, num_samples: int) -> None:
    """Against the event, or against batch and event; gradients sum over what shares a scale."""
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    scale = (0.5 + torch.rand(form.shape, dtype=torch.float64)).requires_grad_()
    whole = scale.expand_as(x).detach().clone().requires_grad_()
    results = []
    for leaf in (scale, whole):
        value = ts.smooth(
            lambda y: y.flatten(1).cumsum(1).sign(),
            ts.Gumbel(leaf),
            num_samples=num_samples,
            event_dim=form.event_dim,
            seed=0,
        )(x)
        (gradient,) = torch.autograd.grad(value.cumsum(-1).sum(), leaf)
        results.append((value, gradient.sum_to_size(scale.shape)))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_a_number_is_a_tensor_that_needs_no_gradient() -> None:
    x = torch.randn(2, 3)
    number, tensor = (
        ts.smooth(steps, ts.Cauchy(scale), num_samples=8, seed=0)(x)
        for scale in (0.7, torch.tensor(0.7))
    )
    torch.testing.assert_close(number, tensor, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(6, 6), (5, 6, 6), (1, 6, 6)])
@pytest.mark.parametrize("num_samples", [8, 64])
def test_scale_matrices_broadcast(shape: tuple[int, ...], num_samples: int) -> None:
    """Over an event of 2 x 3, flattened."""
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    matrix = (torch.eye(6) + 0.2 * torch.randn(shape)).double().requires_grad_()
    whole = matrix.expand(5, 6, 6).detach().clone().requires_grad_()
    results = []
    for leaf in (matrix, whole):
        value = ts.smooth(
            lambda y: y.flatten(1).cumsum(1).sign(),
            ts.Gumbel(scale_matrix=leaf),
            num_samples=num_samples,
            event_dim=2,
            seed=0,
        )(x)
        (gradient,) = torch.autograd.grad(value.cumsum(-1).sum(), leaf)
        results.append((value, gradient.sum_to_size(matrix.shape)))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("num_samples", [2, 64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_numbers_stay_in_their_batch_element(
    bad: float, num_samples: int, covariate: str, device: torch.device
) -> None:
    """Also where f itself makes numbers of them."""
    x, upstream = torch.randn(4, 3, device=device), torch.randn(4, 2, device=device)

    def results() -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        value = ts.smooth(
            lambda y: steps(y).nan_to_num(),
            ts.Logistic(),
            num_samples=num_samples,
            covariate=covariate,
            seed=0,
        )(leaf)
        return value, torch.autograd.grad(value, leaf, upstream)[0]

    clean = results()
    x[2, 1] = bad
    others = [0, 1, 3]
    for actual, expected in zip(results(), clean, strict=True):
        assert actual[2].isnan().all()
        torch.testing.assert_close(actual[others], expected[others], rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0), (2, 0, 3)])
@pytest.mark.parametrize("num_samples", [2, 64])
def test_empty(shape: tuple[int, ...], num_samples: int, device: torch.device) -> None:
    x = torch.randn(shape, device=device, requires_grad=True)
    scale = torch.tensor(0.5, device=device, requires_grad=True)
    value = ts.smooth(lambda y: y.new_ones(len(y), 2), ts.Gaussian(scale), num_samples=num_samples)(
        x
    )
    torch.testing.assert_close(value, x.new_ones(*shape[:-1], 2))
    grad_x, grad_scale = torch.autograd.grad(value.sum(), (x, scale))
    assert grad_x.shape == shape
    torch.testing.assert_close(grad_scale, x.new_zeros(()), rtol=0, atol=1e-6)
    assert ts.smooth(lambda y: y, ts.Logistic(), num_samples=num_samples)(x).shape == shape


def test_f_may_write_into_its_points() -> None:
    def f(y: Tensor) -> Tensor:
        return y.clamp_(min=0).sign_().sum(-1)

    x = torch.randn(3, 4)
    before = x.clone()
    options: dict[str, Any] = {"num_samples": 16, "covariate": "fx", "seed": 0}
    value = ts.smooth(f, ts.Gaussian(), **options)(x)
    assert torch.equal(x, before)
    expected = ts.smooth(lambda y: (y > 0).sum(-1), ts.Gaussian(), **options)(x)
    torch.testing.assert_close(value, expected)


# --- outputs ---------------------------------------------------------------------------------


def test_structures_of_outputs(device: torch.device) -> None:
    """Every leaf is what it would be alone; integers and booleans count as x's type."""
    parts: dict[str, Callable[[Tensor], Tensor]] = {
        "float": lambda y: y.sum(-1).sign(),
        "matrix": lambda y: ts.hard.argsort(y),
        "double": lambda y: y.sign().double(),
        "int": lambda y: y.sum(-1).round().long(),
        "bool": lambda y: y > 0,
        "empty": lambda y: y.new_ones(len(y), 0),
    }
    x = torch.randn(2, 3, device=device, requires_grad=True)
    options = {"num_samples": 16, "chunk_size": 10, "seed": 0}
    nested = ts.smooth(
        lambda y: {
            "first": (parts["float"](y), [parts["matrix"](y)]),
            **{name: parts[name](y) for name in ("double", "int", "bool", "empty")},
        },
        ts.Gaussian(),
        **options,
    )(x)
    actual = {
        "float": nested["first"][0],
        "matrix": nested["first"][1][0],
        **{name: nested[name] for name in ("double", "int", "bool", "empty")},
    }
    for name, f in parts.items():
        expected = ts.smooth(f, ts.Gaussian(), **options)(x)
        assert actual[name].dtype == (torch.float64 if name == "double" else torch.float32)
        torch.testing.assert_close(actual[name], expected)
        gradients = [
            torch.autograd.grad(value.square().sum(), x, retain_graph=True)[0]
            for value in (actual[name], expected)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_numpy_outputs(device: torch.device) -> None:
    x = torch.randn(3, 4, device=device, requires_grad=True)
    options = {"num_samples": 16, "seed": 0}
    arrays = ts.smooth(
        lambda y: np.sort(np.sign(y.cpu().numpy()), axis=-1), ts.Gaussian(), **options
    )(x)
    tensors = ts.smooth(lambda y: y.sign().sort(-1).values, ts.Gaussian(), **options)(x)
    assert arrays.dtype == torch.float32
    torch.testing.assert_close(arrays, tensors, rtol=0, atol=0)
    gradients = [torch.autograd.grad(value[..., 1].sum(), x)[0] for value in (arrays, tensors)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize(
    "convert",
    [lambda t: t, float, int, bool, lambda t: np.float32(t)],
    ids=["tensor", "float", "int", "bool", "numpy"],
)
def test_one_event_at_a_time(convert: Callable[[Tensor], Any]) -> None:
    x = torch.randn(2, 3, requires_grad=True)
    arg = torch.rand(2)
    options = {"num_samples": 16, "chunk_size": 5, "seed": 0}

    def one(y: Tensor, a: Tensor, b: str) -> Any:
        assert y.shape == (3,) and a.shape == () and b == "text"
        return convert((y.sum() > a).float())

    single = ts.smooth(one, ts.Gaussian(), vectorized=False, **options)(x, arg, "text")
    together = ts.smooth(lambda y, a: (y.sum(-1) > a).float(), ts.Gaussian(), **options)(x, arg)
    torch.testing.assert_close(single.float(), together, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(value.sum(), x)[0].float() for value in (single, together)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_structures_one_event_at_a_time() -> None:
    x = torch.randn(2, 3)
    options = {"num_samples": 8, "seed": 0}
    value = ts.smooth(
        lambda y: {"a": y.sign(), "b": (float(y[0] > 0), y[1].sign())},
        ts.Gaussian(),
        vectorized=False,
        **options,
    )(x)
    expected = ts.smooth(
        lambda y: {"a": y.sign(), "b": ((y[:, 0] > 0).float(), y[:, 1].sign())},
        ts.Gaussian(),
        **options,
    )(x)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype: torch.dtype) -> None:
    x = torch.randn(3, 4).to(dtype).requires_grad_()
    scale = torch.tensor(0.5, dtype=dtype, requires_grad=True)
    upstream = torch.randn(3, 2)
    results = []
    for x_, scale_ in ((x, scale), (x.float(), scale.float())):
        value = ts.smooth(
            lambda y: steps(y.float()).to(y.dtype), ts.Laplace(scale_), num_samples=32, seed=0
        )(x_)
        gradients = torch.autograd.grad(value, (x, scale), upstream.to(value.dtype))
        assert value.dtype == x_.dtype
        assert all(t.dtype == dtype for t in gradients)
        results.append((value.float(), *(t.float() for t in gradients)))
    # f sees half-precision points in one case: some samples end on the other side of a step.
    torch.testing.assert_close(*results, rtol=0.05, atol=0.3)


def test_float64_draws_the_noise_of_float32() -> None:
    x = torch.randn(3, 4)
    recorders = []
    for dtype in (torch.float32, torch.float64):
        recorders.append(Recorder(steps))
        ts.smooth(recorders[-1], ts.Logistic(), num_samples=32, seed=0)(x.to(dtype))
    torch.testing.assert_close(*(r.points.double() for r in recorders), rtol=1e-5, atol=1e-5)


# --- arguments of f --------------------------------------------------------------------------


def weighted(y: Tensor, a: Tensor, b: Tensor, power: int, shift: Tensor | float = 0.0) -> Tensor:
    """[m, n], [m, n], [m] -> [m, 2], differentiable in a, b and shift."""
    inner = (y.sign() * a + shift).sin().sum(-1)
    return torch.stack([inner**power * b, b.exp() + inner], -1)


@pytest.mark.parametrize("x_needs_gradient", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 1, 5, 1000])
@pytest.mark.parametrize("num_samples", [3, 20])
def test_arguments_get_ordinary_gradients(
    num_samples: int, chunk_size: int | None, x_needs_gradient: bool, device: torch.device
) -> None:
    """Those of the mean over the points, for arguments and for what f holds itself."""
    batch, n = (2, 3), 2
    options = {"dtype": torch.float64, "device": device}
    x = torch.randn(*batch, n, **options, requires_grad=x_needs_gradient)
    a = torch.randn(*batch, n, **options, requires_grad=True)
    b = torch.randn(batch, **options, requires_grad=True)
    shift = torch.tensor(0.3, **options, requires_grad=True)
    recorder = Recorder(lambda y, a, b, power: weighted(y, a, b, power, shift))
    value = ts.smooth(
        recorder,
        ts.Gaussian(0.7),
        num_samples=num_samples,
        chunk_size=chunk_size,
        seed=0,
        check=False,
    )(x, a, b, 2)
    points = recorder.points.reshape(6, num_samples, n)
    rows = points.flatten(0, 1)
    expected = weighted(
        rows,
        a.reshape(6, n).repeat_interleave(num_samples, 0),
        b.reshape(6).repeat_interleave(num_samples),
        2,
        shift,
    )
    expected = expected.reshape(*batch, num_samples, 2).mean(2)
    torch.testing.assert_close(value, expected)
    upstream = torch.randn_like(value)
    leaves = (a, b, shift)
    torch.testing.assert_close(
        torch.autograd.grad(value, leaves, upstream, retain_graph=x_needs_gradient),
        torch.autograd.grad(expected, leaves, upstream),
    )
    if x_needs_gradient:
        plain = ts.smooth(
            lambda y: weighted(
                y,
                a.detach().reshape(6, n).repeat_interleave(num_samples, 0),
                b.detach().reshape(6).repeat_interleave(num_samples),
                2,
                shift.detach(),
            ),
            ts.Gaussian(0.7),
            num_samples=num_samples,
            chunk_size=6 * num_samples,
            seed=0,
            check=False,
        )(x)
        torch.testing.assert_close(
            torch.autograd.grad(value, x, upstream), torch.autograd.grad(plain, x, upstream)
        )


def test_arguments_may_need_second_derivatives() -> None:
    """The value's own graph is torch's: only what goes through the scores is first order."""
    x = torch.randn(3, 2, dtype=torch.float64)
    a = torch.tensor(0.4, dtype=torch.float64)

    def loss(a: Tensor) -> Tensor:
        smoothed = ts.smooth(
            lambda y: (y.sign() * a).sin().sum(-1), ts.Gaussian(), num_samples=8, seed=0
        )
        return smoothed(x).square().sum()

    torch.autograd.gradgradcheck(loss, a.requires_grad_())


# --- ways to call ----------------------------------------------------------------------------


def test_decorator() -> None:
    x = torch.randn(2, 3)

    @ts.smooth(distribution=ts.Logistic())
    def bare(y: Tensor) -> Tensor:
        """Its own words."""
        return y.sign()

    @ts.smooth(distribution=ts.Gaussian(0.5), num_samples=16, seed=0)
    def configured(y: Tensor) -> Tensor:
        return y.sign()

    assert isinstance(bare, ts.Smoothed) and isinstance(configured, ts.Smoothed)
    assert bare.__name__ == "bare" and bare.__doc__ == "Its own words."
    assert isinstance(bare.distribution, ts.Logistic) and bare.options.num_samples == 1024
    expected = ts.smooth(torch.sign, ts.Gaussian(0.5), num_samples=16, seed=0)(x)
    torch.testing.assert_close(configured(x), expected, rtol=0, atol=0)


def test_repr_tells_what_was_smoothed() -> None:
    text = repr(ts.smooth(steps, ts.Gumbel(0.5), num_samples=16))
    for part in ("steps", "Gumbel(scale=0.5)", "num_samples=16", "AutoSampler()", "loo"):
        assert part in text


def test_seeds() -> None:
    x = torch.randn(3, 2)

    def run(seed: int | Tensor | None) -> Tensor:
        return ts.smooth(steps, ts.Gumbel(), num_samples=64, sampler="mc", seed=seed)(x)

    for seed in (0, -1, 2**63 - 1, -(2**63)):
        torch.testing.assert_close(run(seed), run(seed), rtol=0, atol=0)
        torch.testing.assert_close(run(seed), run(torch.tensor(seed)), rtol=0, atol=0)
        assert not torch.equal(run(seed), run(12345))
    torch.manual_seed(7)
    first, second = run(None), run(None)
    torch.manual_seed(7)
    assert torch.equal(run(None), first) and torch.equal(run(None), second)
    assert not torch.equal(first, second)


def test_chunk_size_never_changes_the_points() -> None:
    x = torch.randn(3, 2)
    points = []
    for chunk_size in (None, 1, 5, 7, 32, 33, 500):
        recorder = Recorder(steps)
        ts.smooth(
            recorder, ts.Gumbel(), num_samples=40, chunk_size=chunk_size, seed=0, check=False
        )(x)
        points.append(recorder.points)
    for other in points[1:]:
        torch.testing.assert_close(other, points[0], rtol=0, atol=0)


def test_chunks_are_chosen_by_memory() -> None:
    """Few calls where outputs are small, small chunks where they are large."""
    x = torch.randn(1, 4)
    columns = 2**16
    small, large = Recorder(steps), Recorder(lambda y: y.new_ones(len(y), columns))
    ts.smooth(small, ts.Gumbel(), num_samples=2**14, check=False)(x)
    assert len(small.calls) <= 2
    with torch.no_grad():
        ts.smooth(large, ts.Gumbel(), num_samples=600, check=False)(x)
    # The first call shows how large the outputs are.
    assert len(large.calls) > 2
    assert all(4 * columns * len(call) <= 2**26 for call in large.calls[1:])


# --- what f does wrong -----------------------------------------------------------------------


class Broken(Exception):
    pass


@pytest.mark.parametrize("vectorized", [True, False])
def test_errors_of_f_pass_unchanged(vectorized: bool) -> None:
    error = Broken("as it was")

    def f(y: Tensor) -> Tensor:
        raise error

    with pytest.raises(Broken) as caught:
        ts.smooth(f, ts.Gaussian(), num_samples=8, vectorized=vectorized)(torch.randn(2, 3))
    assert caught.value is error
    if hasattr(error, "__notes__"):  # Python 3.11
        assert "torchsmooth.smooth" in error.__notes__[0] and "16" in error.__notes__[0]


def test_nothing_is_half_written_when_f_fails() -> None:
    calls = itertools.count()

    def f(y: Tensor) -> Tensor:
        if next(calls) == 2:
            raise Broken
        return y.sign()

    x = torch.randn(2, 3, requires_grad=True)
    smoothed = ts.smooth(f, ts.Gaussian(), num_samples=8, chunk_size=5, seed=0)
    with pytest.raises(Broken):
        smoothed(x)
    assert x.grad is None
    expected = ts.smooth(torch.sign, ts.Gaussian(), num_samples=8, chunk_size=5, seed=0)(x)
    torch.testing.assert_close(smoothed(x), expected, rtol=0, atol=0)


# --- derivatives that do not exist raise -----------------------------------------------------


def smoothed_steps(x: Tensor, num_samples: int) -> Tensor:
    return ts.smooth(steps, ts.Gaussian(), num_samples=num_samples, seed=0)(x)


@pytest.mark.parametrize("num_samples", [2, 64])
def test_func_grad(num_samples: int) -> None:
    """It agrees with autograd; `test_derivatives.py` has the others."""
    x, upstream = torch.randn(2, 3, requires_grad=True), torch.randn(2, 2)
    (expected,) = torch.autograd.grad(smoothed_steps(x, num_samples), x, upstream)
    actual = torch.func.grad(lambda y: (upstream * smoothed_steps(y, num_samples)).sum())(
        x.detach()
    )
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_a_scale_that_x_does_not_resolve_is_warned_of() -> None:
    """Beside 5.4e6, numbers of float32 are 1/2 apart: noise of scale 0.1 moves no point."""
    step = ts.smooth(lambda y: (y > 0).float(), ts.Logistic(0.1), num_samples=64, seed=0)
    x = torch.tensor([0.0, 5.4e6])
    with pytest.warns(UserWarning, match=r"scale of 0.1 at 5400000, .*pass x.double\(\)") as caught:
        step(x)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(x.double())
        step(x[:1])
        ts.smooth(lambda y: (y > 0).float(), ts.Logistic(torch.tensor([0.1, 2.0])), seed=0)(x)
