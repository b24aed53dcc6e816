"""Sorting, ranking and selecting against quadrature, closed forms and the generic road."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from facts import assert_mean, assert_mean_gradient, replicate
from laws import FACTS, SCIPY, WITH_MEAN
from torch import Tensor

import torchsmooth as ts
from torchsmooth._kernels.sort import SortOp
from torchsmooth.distributions import LAWS


X = [0.4, -0.3, 0.1, 0.9]
SCALE = 0.7
Q = 0.7  # between the third and the fourth of four: 2.1

# Every function of the family, as (functional, hard): the first takes the distribution too.
FAMILY: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "argsort": (ts.functional.argsort, ts.hard.argsort),
    "sort": (ts.functional.sort, ts.hard.sort),
    "sort descending": (
        lambda x, d, **k: ts.functional.sort(x, d, descending=True, **k),
        lambda x: ts.hard.sort(x, descending=True),
    ),
    "rank": (ts.functional.rank, ts.hard.rank),
    "rank descending": (
        lambda x, d, **k: ts.functional.rank(x, d, descending=True, **k),
        lambda x: ts.hard.rank(x, descending=True),
    ),
    "argmax": (ts.functional.argmax, ts.hard.argmax),
    "topk": (
        lambda x, d, **k: ts.functional.topk(x, (x.shape[-1] + 1) // 2, d, **k),
        lambda x: ts.hard.topk(x, (x.shape[-1] + 1) // 2),
    ),
    "topk smallest": (
        lambda x, d, **k: ts.functional.topk(x, 1, d, largest=False, **k),
        lambda x: ts.hard.topk(x, 1, largest=False),
    ),
    "median": (ts.functional.median, ts.hard.median),
    "quantile": (
        lambda x, d, **k: ts.functional.quantile(x, Q, d, **k),
        lambda x: ts.hard.quantile(x, Q),
    ),
}


# --- exact laws ------------------------------------------------------------------------------


@functools.cache
def quadrature(law: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points [p] and weights [p] on the line; every perturbed element's cdf and pdf there, [n, p].

    Gauss-Legendre on pieces between the kinks of the densities, a few of them out to where the
    tails have ended; for Cauchy's, which do not end, in u of t = tan(pi u).
    """
    kinks = {x + SCALE * e for x in X for e in (-1, 0, 1)}
    never_ends = FACTS[law].tails == "power"
    if never_ends:
        edges = np.linspace(-0.5, 0.5, 21)
    elif FACTS[law].is_compact:
        edges = np.array(sorted(kinks))
    else:
        low = min(X) + SCALE * max(FACTS[law].mass[0], -40)
        high = max(X) + SCALE * 40
        edges = np.array(sorted({*kinks, *np.linspace(low, high, 41)}))
    node, weight = np.polynomial.legendre.leggauss(100)
    half = np.diff(edges)[:, None] / 2
    t, w = (edges[:-1, None] + half * (1 + node)).ravel(), (half * weight).ravel()
    if never_ends:
        w = w * np.pi / np.cos(np.pi * t) ** 2
        t = np.tan(np.pi * t)
    z = (t - np.array(X)[:, None]) / SCALE
    return t, w, SCIPY[law].cdf(z), SCIPY[law].pdf(z) / SCALE


def exactly(k: int, below: np.ndarray) -> np.ndarray:  # [m, p] -> [p]
    """The probability that exactly k of m independent events happen, from their probabilities."""
    p = np.zeros(below.shape[1])
    for chosen in itertools.combinations(range(len(below)), k):
        happens = np.isin(np.arange(len(below)), chosen)[:, None]
        p += np.where(happens, below, 1 - below).prod(0)
    return p


def position_probabilities(law: str) -> np.ndarray:
    """P[k, i]: element i is the k-th smallest, if k of the others lie below it."""
    _, w, cdf, pdf = quadrature(law)
    matrix = np.empty((len(X), len(X)))
    for k, i in np.ndindex(matrix.shape):
        matrix[k, i] = (w * pdf[i] * exactly(k, np.delete(cdf, i, 0))).sum()
    return matrix


def order_statistic(law: str, k: int) -> float:
    """E of the k-th smallest, k from 0: start + (integral of 1 - F above it) - (of F below it)."""
    t, w, cdf, _ = quadrature(law)
    at_most = sum(exactly(j, cdf) for j in range(k + 1, len(X) + 1))  # P(k-th smallest <= t)
    start = X[0]  # one of the kinks
    return start + (w * np.where(t > start, 1 - at_most, -at_most)).sum()


def test_quadrature_is_exact() -> None:
    for law in LAWS:
        p = position_probabilities(law)
        np.testing.assert_allclose(p.sum(0), 1, rtol=1e-7)
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-7)
        if FACTS[law].mean is not None:
            total = sum(order_statistic(law, k) for k in range(len(X)))
            expected = sum(X) + len(X) * SCALE * SCIPY[law].mean()
            np.testing.assert_allclose(total, expected, rtol=1e-6)


def estimates(name: str, law: str, weight: Tensor, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Independent values, and gradients in x and in the scale of their weighted sum."""
    rows = replicate(torch.tensor(X, dtype=torch.float64), 600)
    scales = torch.full((600, 1), SCALE, dtype=torch.float64).requires_grad_()
    values = FAMILY[name][0](rows, LAWS[law](scales), seed=5, **options)
    in_x, in_scale = torch.autograd.grad((weight * values).sum(), (rows, scales))
    return values, in_x, in_scale.squeeze(1)


MC = {"num_samples": 512, "sampler": "mc"}


@pytest.mark.parametrize("law", LAWS)
def test_probabilities(law: str) -> None:
    p = position_probabilities(law)
    one = torch.ones(())
    assert_mean(estimates("argsort", law, one, **MC)[0], p, resolution=0.01)
    assert_mean(estimates("argmax", law, one, **MC)[0], p[3], resolution=0.01)
    assert_mean(estimates("topk", law, one, **MC)[0], p[[3, 2]], resolution=0.01)
    assert_mean(estimates("topk smallest", law, one, **MC)[0], p[[0]], resolution=0.01)
    ranks = np.arange(1, 5) @ p
    assert_mean(estimates("rank", law, one, **MC)[0], ranks, resolution=0.02)
    assert_mean(estimates("rank descending", law, one, **MC)[0], 5 - ranks, resolution=0.02)


# Of four Cauchy variables, the extremes have no expectation, and the others no variance.
@pytest.mark.parametrize("law", WITH_MEAN)
def test_order_statistics(law: str) -> None:
    one, resolution = torch.ones(()), 0.02
    values = torch.tensor([order_statistic(law, k) for k in range(4)], dtype=torch.float64)
    assert_mean(estimates("sort", law, one, **MC)[0], values, resolution=resolution)
    assert_mean(
        estimates("sort descending", law, one, **MC)[0], values.flip(0), resolution=resolution
    )
    assert_mean(estimates("median", law, one, **MC)[0], values[1], resolution=resolution)
    place = Q * 3
    between = torch.lerp(values[2], values[3], place - 2)
    assert_mean(estimates("quantile", law, one, **MC)[0], between, resolution=resolution)


@pytest.mark.parametrize("covariate", ["fx", "loo"])
@pytest.mark.parametrize("law", WITH_MEAN)
def test_gradients_of_order_statistics(law: str, covariate: str) -> None:
    """d E[k-th smallest] / d x_i = P(element i is the k-th smallest)."""
    p = torch.tensor(position_probabilities(law))
    weight = torch.tensor([0.5, -1.0, 2.0, 1.0], dtype=torch.float64)
    _, in_x, in_scale = estimates("sort", law, weight, **MC, covariate=covariate)
    assert_mean_gradient(law, in_x, weight @ p, resolution=0.1)
    # sort is homogeneous: E sort = <x, d/dx> + scale * d/dscale.
    value = sum(w * order_statistic(law, k) for k, w in enumerate(weight.tolist()))
    expected = (value - float(weight @ p @ torch.tensor(X, dtype=torch.float64))) / SCALE
    assert_mean_gradient(law, in_scale, expected, resolution=0.2)
    _, in_x, _ = estimates("median", law, torch.ones(()), **MC, covariate=covariate)
    assert_mean_gradient(law, in_x, p[1], resolution=0.1)
    _, in_x, _ = estimates("quantile", law, torch.ones(()), **MC, covariate=covariate)
    assert_mean_gradient(law, in_x, torch.lerp(p[2], p[3], 3 * Q - 2), resolution=0.1)


@pytest.mark.parametrize("law", LAWS)
def test_gradients_of_ranks(law: str) -> None:
    """E rank_i = 1 + sum_j P(y_j < y_i), whose derivatives are densities of differences."""
    n = len(X)

    _, w, _, pdf = quadrature(law)
    jacobian = torch.zeros(n, n, dtype=torch.float64)
    for i, j in itertools.permutations(range(n), 2):
        density = (w * pdf[i] * pdf[j]).sum()  # of y_j - y_i at 0
        jacobian[i, i] += density
        jacobian[i, j] -= density
    weight = torch.tensor([0.5, -1.0, 2.0, 1.0], dtype=torch.float64)
    _, in_x, in_scale = estimates("rank", law, weight, **MC)
    assert_mean_gradient(law, in_x, weight @ jacobian, resolution=0.2)
    # Ranks do not change when all is scaled: <x, d/dx> + scale * d/dscale = 0.
    expected = -float(weight @ jacobian @ torch.tensor(X, dtype=torch.float64)) / SCALE
    assert_mean_gradient(law, in_scale, expected, resolution=0.3)


@pytest.mark.parametrize("sampler", ["mc", "sobol"])
def test_gumbel_argmax_is_softmax(sampler: str) -> None:
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(SCALE, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([0.5, -1.0, 2.0, 1.0], dtype=torch.float64)
    p = torch.softmax(x / scale, -1)
    in_x, in_scale = torch.autograd.grad((weight * p).sum(), (x, scale))
    covariate = "loo" if sampler == "mc" else "fx"
    value, *gradients = estimates(
        "argmax", "gumbel", weight, num_samples=512, sampler=sampler, covariate=covariate
    )
    assert_mean(value, p, resolution=0.01)
    assert_mean(gradients[0], in_x, resolution=0.05)
    assert_mean(gradients[1], in_scale, resolution=0.1)
    euler = 0.57721566490153286
    maximum = scale * (torch.logsumexp(x / scale, -1) + euler)
    highest = estimates("sort descending", "gumbel", weight, num_samples=512, sampler=sampler)[0]
    assert_mean(highest[:, 0], maximum, resolution=0.02)


@pytest.mark.parametrize("n", [1, 2, 30, 70, 1000])
def test_gumbel_argmax_of_many_is_softmax(n: int) -> None:
    """Of s independent samples: each share within 6 standard deviations (2e-9 per entry)."""
    x, s = torch.randn(n), 2**14
    share = ts.functional.argmax(x, ts.Gumbel(0.7), num_samples=s, sampler="mc", seed=2)
    p = torch.softmax(x / 0.7, -1)
    assert ((share - p).abs() <= 6 * (p * (1 - p) / s).sqrt() + 2 / s).all()


# --- the generic road, and one pass or two ---------------------------------------------------


def value_and_gradients(f: Callable[..., Tensor], x: Tensor, scale: Tensor) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in (x, scale)]
    value = f(*leaves)
    weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(0)).to(value)
    return [value, *torch.autograd.grad(value, leaves, weight)]


def assert_equal_to_rounding(
    actual: list[Tensor], expected: list[Tensor], roundings: float = 1e3
) -> None:
    for a, e in zip(actual, expected, strict=True):
        largest = e.abs().max().item() if e.numel() else 0.0
        atol = roundings * torch.finfo(e.dtype).eps * max(1.0, largest)
        torch.testing.assert_close(a, e, rtol=0, atol=atol)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 24, 26, 70])
@pytest.mark.parametrize("name", FAMILY)
def test_fused_road_is_the_generic_road(name: str, n: int, device: torch.device) -> None:
    functional, hard = FAMILY[name]
    x = torch.randn(3, n, dtype=torch.float64, device=device)
    scale = 0.5 + torch.rand_like(x)
    for covariate, sampler, antithetic in (
        ("none", "mc", True),
        ("fx", "sobol", False),
        ("loo", "mc", False),
        ("loo", "mc", True),
        ("loo", "rqmc_latin", False),
    ):
        options: dict[str, Any] = {
            "num_samples": 32,
            "sampler": sampler,
            "antithetic": antithetic,
            "covariate": covariate,
            "seed": 3,
        }
        fused = value_and_gradients(
            lambda x, g, options=options: functional(x, ts.Laplace(g), **options), x, scale
        )
        generic = value_and_gradients(
            lambda x, g, options=options: ts.smooth(hard, ts.Laplace(g), **options)(x), x, scale
        )
        assert_equal_to_rounding(fused, generic)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 5, 9, 24, 26, 40])
@pytest.mark.parametrize("name", FAMILY)
def test_one_pass_and_two_passes_agree(
    name: str, n: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, scale = torch.randn(3, n, dtype=dtype), 0.5 + torch.rand(3, n, dtype=dtype)
    for covariate, antithetic in itertools.product(("none", "fx", "loo"), (False, True)):
        results = []
        for answer in (False, True):
            monkeypatch.setattr(SortOp, "in_one_pass", lambda *_, answer=answer: answer)
            results.append(
                value_and_gradients(
                    lambda x, g, covariate=covariate, antithetic=antithetic: FAMILY[name][0](
                        x,
                        ts.Logistic(g),
                        num_samples=128,
                        sampler="mc",
                        antithetic=antithetic,
                        covariate=covariate,
                        seed=0,
                    ),
                    x,
                    scale,
                )
            )
        # The terms of the sums are up to n times as large as the sums.
        assert_equal_to_rounding(*results, roundings=1e2 * (n + 1))


@pytest.mark.parametrize("name", FAMILY)
def test_scale_matrix_takes_the_generic_road(name: str) -> None:
    functional, hard = FAMILY[name]
    x = torch.randn(3, 4, dtype=torch.float64)
    matrix = torch.randn(4, 4, dtype=torch.float64) + 3 * torch.eye(4, dtype=torch.float64)
    options: dict[str, Any] = {"num_samples": 32, "seed": 3}
    actual = value_and_gradients(
        lambda x, m: functional(x, ts.Gumbel(scale_matrix=m), **options), x, matrix
    )
    expected = value_and_gradients(
        lambda x, m: ts.smooth(hard, ts.Gumbel(scale_matrix=m), **options)(x), x, matrix
    )
    assert_equal_to_rounding(actual, expected)


@pytest.mark.parametrize("name", FAMILY)
def test_without_noise_worth_the_name_it_is_the_hard_algorithm(name: str) -> None:
    functional, hard = FAMILY[name]
    x = torch.stack([torch.randperm(30) for _ in range(4)]).double()
    smoothed = functional(x, ts.Triangular(1e-9), num_samples=16, seed=0)
    torch.testing.assert_close(smoothed, hard(x), rtol=0, atol=1e-6)


# --- shapes ----------------------------------------------------------------------------------

SAMPLING: dict[str, Any] = {"num_samples": 16, "seed": 0}


@pytest.mark.parametrize("dim", [-3, -1, 0, 1])
@pytest.mark.parametrize("name", ["sort", "rank", "argmax"])
def test_dim_stays_in_its_place(name: str, dim: int) -> None:
    x = torch.randn(3, 4, 5)
    functional, hard = FAMILY[name]
    actual = functional(x, ts.Gumbel(), dim=dim, **SAMPLING)
    expected = functional(x.movedim(dim, -1), ts.Gumbel(), **SAMPLING).movedim(-1, dim)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    torch.testing.assert_close(hard(x, dim=dim), hard(x.movedim(dim, -1)).movedim(-1, dim))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [-3, -1, 0, 1])
@pytest.mark.parametrize("q", [0.3, torch.tensor(0.3), torch.tensor([0.0, 0.25, 1.0])])
def test_quantile_shapes_are_torchs(q: float | Tensor, dim: int, keepdim: bool) -> None:
    x = torch.randn(3, 4, 5)
    expected = torch.quantile(x, q, dim=dim, keepdim=keepdim)
    torch.testing.assert_close(ts.hard.quantile(x, q, dim=dim, keepdim=keepdim), expected)
    smoothed = ts.functional.quantile(
        x, q, ts.Triangular(1e-6), dim=dim, keepdim=keepdim, **SAMPLING
    )
    torch.testing.assert_close(smoothed, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [-3, -1, 0, 1])
def test_median_shapes_are_torchs(dim: int, keepdim: bool) -> None:
    x = torch.randn(3, 4, 5)
    expected = torch.median(x, dim=dim, keepdim=keepdim).values
    torch.testing.assert_close(ts.hard.median(x, dim=dim, keepdim=keepdim), expected)
    smoothed = ts.functional.median(x, ts.Triangular(1e-6), dim=dim, keepdim=keepdim, **SAMPLING)
    torch.testing.assert_close(smoothed, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", FAMILY)
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    """Half types are computed in float32."""
    functional, hard = FAMILY[name]
    x = torch.randn(3, 6).to(dtype)
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    actual = functional(x, ts.Logistic(0.5), **SAMPLING)
    expected = functional(x.to(compute), ts.Logistic(0.5), **SAMPLING)
    assert actual.dtype == hard(x).dtype == dtype
    torch.testing.assert_close(actual, expected.to(dtype))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (1,), (4, 1)])
@pytest.mark.parametrize("name", FAMILY)
def test_empty_batches_and_single_elements(name: str, shape: tuple[int, ...]) -> None:
    functional, hard = FAMILY[name]
    x = torch.randn(shape, requires_grad=True)
    value = functional(x, ts.Triangular(1e-9), **SAMPLING)
    torch.testing.assert_close(value, hard(x), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.shape == x.shape and gradient.isfinite().all()


@pytest.mark.parametrize("name", ["argsort", "sort", "rank", "argmax", "topk"])
def test_no_elements(name: str) -> None:
    functional, hard = FAMILY[name]
    x = torch.randn(3, 0)
    assert functional(x, ts.Gumbel(), **SAMPLING).shape == hard(x).shape
    assert functional(x, ts.Gumbel(), **SAMPLING).numel() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", FAMILY)
def test_bad_numbers_stay_in_their_batch_element(name: str, bad: float) -> None:
    functional, hard = FAMILY[name]
    x = torch.randn(3, 6)
    x[1, 2] = bad
    value = functional(x, ts.Logistic(), **SAMPLING)
    assert value[1].isnan().all() and value[[0, 2]].isfinite().all()
    if math.isnan(bad):
        assert hard(x)[1].isnan().all() and hard(x)[[0, 2]].isfinite().all()


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, part",
    [
        (lambda x: ts.functional.topk(x, 4, ts.Gumbel()), "k must be at most the number of"),
        (lambda x: ts.functional.topk(x, -1, ts.Gumbel()), "k must be at least 0, got -1"),
        (lambda x: ts.hard.topk(x, 4), "k must be at most the number of elements, 3, got 4"),
        (lambda x: ts.functional.quantile(x, 1.5, ts.Gumbel()), "q must be in [0, 1], got 1.5"),
        (lambda x: ts.hard.quantile(x, torch.tensor([0.5, -1])), "q must be in [0, 1], got [0.5"),
        (lambda x: ts.hard.quantile(x, torch.zeros(2, 2)), "q must be a number or a 1-D"),
        (lambda x: ts.hard.quantile(x, math.nan), "q must be in [0, 1], got nan"),
        (lambda x: ts.functional.median(x[:, :0], ts.Gumbel()), "at least one element along dim"),
        (lambda x: ts.hard.quantile(x[:, :0], 0.5), "at least one element along dim"),
        (lambda x: ts.functional.sort(x, ts.Gumbel(), dim=2), "dim must be in [-2, 1]"),
        (lambda x: ts.functional.rank(x, ts.Gumbel(), covariate="mean"), "covariate must be one"),
        (lambda x: ts.functional.argmax(x, ts.Gumbel(), num_samples=0), "num_samples must be at"),
    ],
)
def test_bad_values(call: Callable[[Tensor], Tensor], part: str) -> None:
    with pytest.raises(ValueError) as caught:
        call(torch.randn(2, 3))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "call, part",
    [
        (lambda x: ts.functional.topk(x, 1.0, ts.Gumbel()), "k must be an int, got 1.0"),
        (lambda x: ts.functional.topk(x, 1, ts.Gumbel(), largest=1), "largest must be True or"),
        (lambda x: ts.functional.median(x, ts.Gumbel(), keepdim=0), "keepdim must be True or"),
        (lambda x: ts.functional.quantile(x, "0.5", ts.Gumbel()), "q must be a number or a tens"),
        (lambda x: ts.functional.sort(x, 0.5), "distribution must be a distribution of torchsm"),
        (lambda x: ts.hard.rank(x.long()), "x must be a floating-point tensor"),
    ],
)
def test_bad_types(call: Callable[[Tensor], Tensor], part: str) -> None:
    with pytest.raises(TypeError) as caught:
        call(torch.randn(2, 3))
    assert part in str(caught.value)


OFFSET = 2.0**22  # of float32's numbers there, neighbours are 1/2 apart


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "ask",
    [
        lambda x, **o: ts.functional.argmax(x, ts.Gumbel(), **o),
        lambda x, **o: ts.functional.argsort(x, ts.Gumbel(), **o),
        lambda x, **o: ts.functional.rank(x, ts.Gumbel(), **o),
        lambda x, **o: ts.functional.topk(x, 2, ts.Gumbel(), **o),
    ],
    ids=["argmax", "argsort", "rank", "topk"],
)
def test_a_common_offset_does_not_matter(ask: Callable[..., Tensor], sign: int) -> None:
    """Beside a large number noise of scale 1 would fall on few floats, and ties would decide."""
    x = torch.tensor([[0.0, 0.5, 1.0, 1.0], [3.0, 0.0, 2.5, 8.0]])
    shifted = sign * OFFSET + sign * x
    leaves = [(sign * x).requires_grad_(), shifted.requires_grad_()]
    values = [ask(leaf, num_samples=1024, seed=0) for leaf in leaves]
    assert torch.equal(*values)
    weight = torch.randn_like(values[0])
    gradients = [
        torch.autograd.grad((weight * value).sum(), leaf)[0]
        for value, leaf in zip(values, leaves, strict=True)
    ]
    assert torch.equal(*gradients)


def test_softmax_beside_a_large_offset() -> None:
    """Within 5 sigmas of a mean over 2^17 samples: by chance in 6e-7 of all seeds."""
    x = torch.tensor([0.0, 0.5, 1.0, 1.0])
    expected = x.softmax(-1)
    p = ts.functional.argmax(x + OFFSET, ts.Gumbel(), num_samples=2**17, sampler="mc", seed=0)
    error = (expected * (1 - expected) / 2**17).sqrt()
    assert bool(((p - expected).abs() <= 5 * error).all())
