"""Medians and covariances against the enumeration of all subsets, and against closed forms."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import scipy.special
import scipy.stats
import torch
from facts import assert_mean, replicate
from laws import SCIPY
from torch import Tensor

import torchsmooth as ts
from torchsmooth.distributions import LAWS


SAMPLERS = ["mc", "qmc_latin", "rqmc_latin", "qmc_cartesian", "rqmc_cartesian", "sobol"]
COVARIATES = ["none", "fx", "loo"]


def curve(y: Tensor) -> Tensor:
    """[m, 2] -> [m, 2], neither linear nor symmetric."""
    return torch.stack([(y[:, 0] + 2 * y[:, 1]).exp(), (y[:, 0] - y[:, 1]).sin()], -1)


# --- all subsets -----------------------------------------------------------------------------


def median_of(samples: Tensor) -> Tensor:  # [k, M] -> [M]
    return samples.median(0).values


def covariance_of(samples: Tensor) -> Tensor:  # [2, M] -> [M * M]
    difference = samples[0] - samples[1]
    return (torch.outer(difference, difference) / 2).flatten()


def enumerate_subsets(
    kernel: Callable[[Tensor], Tensor],
    k: int,
    samples: Tensor,  # [s, M]
    unperturbed: Tensor,  # [M]
    weights: Tensor,  # [s, p]: scores, for example
    covariate: str,
) -> tuple[Tensor, Tensor]:  # [R], [R, p]
    """The mean of the kernel over all subsets of k samples, and that of its products with the sum
    of the weights of the subset, where the kernel is compared with the covariate."""
    s = len(samples)
    subsets = list(itertools.combinations(range(s), k))
    values = torch.stack([kernel(samples[list(subset)]) for subset in subsets])
    gradient = torch.zeros(values.shape[1], weights.shape[1], dtype=values.dtype)
    for sample in range(s):
        within = torch.tensor([sample in subset for subset in subsets])
        baseline = torch.zeros_like(values[0])
        if covariate == "fx":
            baseline = kernel(unperturbed.repeat(k, 1))
        elif covariate == "loo":
            baseline = values[~within].mean(0)
        gradient += k / s * torch.outer(values[within].mean(0) - baseline, weights[sample])
    return values.mean(0), gradient


STATISTICS = {
    "median of 1": (ts.Median(1), median_of),
    "median of 3": (ts.Median(3), median_of),
    "median of 5": (ts.Median(5), median_of),
    "covariance": (ts.Covariance(), covariance_of),
}


@pytest.mark.parametrize("chunk_size", [None, 5])
@pytest.mark.parametrize("scale_matrix", [False, True])
@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("name", STATISTICS)
def test_all_subsets(
    name: str,
    covariate: str,
    scale_matrix: bool,
    chunk_size: int | None,
    device: torch.device,
) -> None:
    statistic, kernel = STATISTICS[name]
    elements, s, n = 2, 7, 2
    x = torch.randn(elements, n, dtype=torch.float64, requires_grad=True)
    matrix = torch.rand(elements, n, dtype=torch.float64).add(0.5).diag_embed()
    if scale_matrix:
        matrix = matrix + 0.3 * torch.randn(elements, n, n, dtype=torch.float64)
    scale = (matrix if scale_matrix else matrix.diagonal(dim1=1, dim2=2)).clone().requires_grad_()
    seen = []

    def f(y: Tensor) -> Tensor:
        seen.append(y.cpu())
        return curve(y)

    moved = scale.to(device)
    value = ts.smooth(
        f,
        ts.Gumbel(scale_matrix=moved) if scale_matrix else ts.Gumbel(moved),
        num_samples=s,
        sampler="mc",
        covariate=covariate,
        statistic=statistic,
        chunk_size=chunk_size,
        seed=3,
        check=False,
    )(x.to(device)).cpu()
    upstream = torch.randn_like(value)
    in_x, in_scale = torch.autograd.grad(value, (x, scale), upstream)

    points = torch.cat(seen)[elements if covariate == "fx" else 0 :].reshape(elements, s, n)
    for i in range(elements):
        noise = torch.linalg.solve(matrix[i], (points[i] - x[i].detach()).T).T
        score = ts.Gumbel().score(noise)
        outer = score.unsqueeze(-1) * noise.unsqueeze(-2) - torch.eye(n, dtype=torch.float64)
        inverse = torch.linalg.inv(matrix[i]).T
        weights = torch.cat([score @ inverse.T, (inverse @ outer).flatten(1)], 1)
        expected, gradient = enumerate_subsets(
            kernel,
            statistic.k,
            curve(points[i]),
            curve(x[i : i + 1].detach())[0],
            weights,
            covariate,
        )
        torch.testing.assert_close(value[i].flatten(), expected, rtol=1e-9, atol=1e-9)
        gradient = upstream[i].flatten() @ gradient
        torch.testing.assert_close(in_x[i], gradient[:n], rtol=1e-8, atol=1e-8)
        in_matrix = gradient[n:].reshape(n, n)
        torch.testing.assert_close(
            in_scale[i],
            in_matrix if scale_matrix else in_matrix.diagonal(),
            rtol=1e-8,
            atol=1e-8,
        )


def test_the_only_subset() -> None:
    """s = k: without a baseline that is the definition, median * sum of the scores."""
    seen = []
    x = torch.randn(1, dtype=torch.float64, requires_grad=True)

    def f(y: Tensor) -> Tensor:
        seen.append(y)
        return y

    options = {"num_samples": 5, "sampler": "mc", "covariate": "none", "seed": 0}
    value = ts.smooth(f, ts.Gaussian(), statistic=ts.Median(5), check=False, **options)(x)
    (gradient,) = torch.autograd.grad(value, x)
    (points,) = seen
    torch.testing.assert_close(value, points.median(0).values)
    torch.testing.assert_close(gradient, points.median() * (points - x.detach()).sum(0))


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_median_of_one_is_the_mean(
    sampler: str, covariate: str, antithetic: bool, device: torch.device
) -> None:
    x = torch.randn(2, 2, dtype=torch.float64, device=device, requires_grad=True)
    options = {
        "num_samples": 32 if antithetic else 36,
        "sampler": sampler,
        "covariate": covariate,
        "antithetic": antithetic,
        "seed": 0,
    }
    expected = ts.smooth(curve, ts.Gumbel(), **options)(x)
    value = ts.smooth(curve, ts.Gumbel(), statistic=ts.Median(1), **options)(x)
    torch.testing.assert_close(value, expected)
    upstream = torch.randn_like(value)
    gradients = [torch.autograd.grad(v, x, upstream)[0] for v in (value, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("k", [3, 31, 999])
def test_weights_of_many_samples(k: int) -> None:
    """Of the numbers 0 to s - 1, which lie symmetrically, the median is their mean; and a sample
    shifts the medians with it as far as scipy's hypergeometric law says."""
    s = 1001
    samples = torch.randperm(s).double().reshape(1, s, 1)
    statistic = ts.Median(k)
    torch.testing.assert_close(statistic.value(samples).item(), (s - 1) / 2)
    # The median is the i-th where m samples of the subset lie below it.
    m, i = k // 2, 480
    expected = scipy.stats.hypergeom(s - 1, i, k - 1).pmf(m) * k / s
    indicator = torch.zeros(1, s, 1, dtype=torch.float64)
    values = [statistic.value((samples >= j).double()).item() for j in (i, i + 1)]
    assert abs(values[0] - values[1] - expected) < 1e-12 + 1e-8 * expected
    assert statistic.weigh(indicator, torch.ones(1, 1)).abs().max() == 0


# --- closed forms of medians -----------------------------------------------------------------


def estimates(
    f: Callable[[Tensor], Tensor],
    distribution: Callable[[Tensor], ts.AbstractDistribution],
    x: list[float],
    scale: list | float,
    replicates: int = 4000,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Independent estimates, and their gradients in x and in the scale."""
    rows = replicate(torch.tensor(x, dtype=torch.float64), replicates)
    scales = replicate(torch.tensor(scale, dtype=torch.float64).reshape(-1), replicates)
    if isinstance(scale, list) and isinstance(scale[0], list):
        scales = replicate(torch.tensor(scale, dtype=torch.float64), replicates)
    value = ts.smooth(f, distribution(scales), **{"sampler": "mc", "seed": 1, **options})(rows)
    return (value, *torch.autograd.grad(value.sum(), (rows, scales)))


@pytest.mark.parametrize("covariate", COVARIATES)
def test_median_of_three_under_a_gaussian(covariate: str) -> None:
    """The median of x + scale e is x: its gradient is 1. The score of the median alone gives
    0.449."""
    value, in_x, in_scale = estimates(
        lambda y: y,
        ts.Gaussian,
        [0.3],
        0.7,
        40_000,
        num_samples=6,
        covariate=covariate,
        statistic=ts.Median(3),
    )
    assert_mean(value, [0.3], resolution=0.01)
    assert_mean(in_x, [1.0], resolution=0.05)
    assert_mean(in_scale, [0.0], resolution=0.05)


@pytest.mark.parametrize("k", [3, 5])
def test_median_under_gumbel_noise(k: int) -> None:
    """E of the largest of j is Euler's constant + log j, and of the median an alternating sum:
    for 3 it is 3 E max of 2 - 2 E max of 3 (inclusion and exclusion)."""
    m = k // 2
    mean = sum(
        (-1) ** (j - m - 1)
        * math.comb(j - 1, m)
        * math.comb(k, j)
        * (float(-scipy.special.digamma(1)) + math.log(j))
        for j in range(m + 1, k + 1)
    )
    value, in_x, in_scale = estimates(
        lambda y: y, ts.Gumbel, [0.3], 0.7, num_samples=16, statistic=ts.Median(k)
    )
    assert_mean(value, [0.3 + 0.7 * mean], resolution=0.02)
    assert_mean(in_x, [1.0], resolution=0.06)
    assert_mean(in_scale, [mean], resolution=0.08)


def test_median_under_cauchy_noise() -> None:
    """The mean does not exist; the median of 5 has a variance."""
    value, in_x, in_scale = estimates(
        lambda y: y, ts.Cauchy, [0.3], 0.5, num_samples=32, statistic=ts.Median(5)
    )
    assert_mean(value, [0.3], resolution=0.02)
    assert_mean(in_x, [1.0], resolution=0.05)
    assert_mean(in_scale, [0.0], resolution=0.05)


@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("law", ["gaussian", "logistic", "gumbel", "cauchy", "laplace"])
def test_median_of_a_step(law: str, k: int) -> None:
    """It is 1 where more than half of k independent steps are: a binomial law. All samples tie."""
    x, scale, m = -0.2, 0.7, k // 2
    value, in_x, in_scale = estimates(
        lambda y: (y[:, 0] > 0).double(),
        LAWS[law],
        [x],
        scale,
        num_samples=16,
        statistic=ts.Median(k),
    )
    p = float(SCIPY[law].sf(-x / scale))
    slope = k * math.comb(k - 1, m) * (p * (1 - p)) ** m  # of the binomial tail in p
    density = float(SCIPY[law].pdf(-x / scale)) / scale
    assert_mean(value, scipy.stats.binom(k, p).sf(m), resolution=0.05)
    assert_mean(in_x, [slope * density], resolution=0.15)
    assert_mean(in_scale, [-slope * density * x / scale], resolution=0.15)


@pytest.mark.parametrize(
    "options, bias",
    [
        ({"sampler": "rqmc_latin"}, 0.015),
        ({"sampler": "sobol"}, 0.015),
        ({"sampler": "sobol", "covariate": "none"}, 3 / 64 + 0.015),
        ({"sampler": "mc", "antithetic": True}, 3 / 64),
    ],
)
def test_dependent_samples_leave_a_small_bias(options: dict[str, Any], bias: float) -> None:
    """Of s = 64, as the documentation says."""
    value, in_x, _ = estimates(
        lambda y: y,
        ts.Gumbel,
        [0.3],
        0.7,
        20_000,
        num_samples=64,
        statistic=ts.Median(3),
        **options,
    )
    mean = -float(scipy.special.digamma(1)) + 3 * math.log(2) - 2 * math.log(3)
    for estimate, expected in ((value, 0.3 + 0.7 * mean), (in_x, 1.0)):
        error = 5 * estimate.std() / len(estimate) ** 0.5
        assert error < 0.015 and abs(estimate.mean() - expected) < bias + error


# --- closed forms of covariances -------------------------------------------------------------

MATRIX = [[0.2, 1.0], [0.8, 0.1]]


@pytest.mark.slow
@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("num_samples", [4, 64])
def test_covariance_of_a_linear_function(num_samples: int, covariate: str) -> None:
    """It is A L L^T A^T, whatever x is; contracted with symmetric G, its derivative in L is
    2 A^T G A L."""
    a = torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]], dtype=torch.float64)
    matrix = torch.tensor(MATRIX, dtype=torch.float64)
    value, in_x, in_matrix = estimates(
        lambda y: y @ a.T,
        lambda scale: ts.Gaussian(scale_matrix=scale),
        [0.3, -0.5],
        MATRIX,
        40_000 if num_samples == 4 else 4000,
        num_samples=num_samples,
        covariate=covariate,
        statistic=ts.Covariance(),
    )
    assert_mean(value, a @ matrix @ matrix.T @ a.T, resolution=0.3)
    assert_mean(in_x, [0.0, 0.0], resolution=2.0)
    ones = torch.ones(3, 3, dtype=torch.float64)
    assert_mean(in_matrix, 2 * a.T @ ones @ a @ matrix, resolution=3.0)


@pytest.mark.parametrize("covariate", COVARIATES)
def test_variance_of_a_square(covariate: str) -> None:
    """Var (x + scale e)^2 = 4 x^2 scale^2 + 2 scale^4."""
    x, scale = 0.4, 0.7
    value, in_x, in_scale = estimates(
        lambda y: y[:, 0].square(),
        ts.Gaussian,
        [x],
        scale,
        100_000,
        num_samples=5,
        covariate=covariate,
        statistic=ts.Covariance(),
    )
    assert value.shape == (100_000,)
    assert_mean(value, 4 * x**2 * scale**2 + 2 * scale**4, resolution=0.03)
    assert_mean(in_x, [8 * x * scale**2], resolution=0.2)
    assert_mean(in_scale, [8 * x**2 * scale + 8 * scale**3], resolution=0.4)


@pytest.mark.parametrize("sampler", ["rqmc_latin", "sobol"])
def test_covariance_of_stratified_samples(sampler: str) -> None:
    """Too large by at most s / (s - 1), in value and gradient."""
    s, scale = 16, 0.7
    value, _, in_scale = estimates(
        lambda y: y,
        ts.Gaussian,
        [0.4],
        scale,
        40_000,
        num_samples=s,
        sampler=sampler,
        statistic=ts.Covariance(),
    )
    for ratio in (value / scale**2, in_scale / (2 * scale)):
        error = 5 * ratio.std() / len(ratio) ** 0.5
        assert error < 0.02 and 1 - error < ratio.mean() < s / (s - 1) + error


@pytest.mark.parametrize("out", [(), (3,), (2, 2), (0,)])
def test_shapes_of_covariances(out: tuple[int, ...]) -> None:
    """[*batch, *out, *out], and torch's own number."""
    seen = []

    def f(y: Tensor) -> Tensor:
        values = torch.randn(len(y), *out)
        seen.append(values)
        return values

    value = ts.smooth(f, ts.Gaussian(), num_samples=8, chunk_size=24, statistic=ts.Covariance())(
        torch.zeros(3, 2)
    )
    assert value.shape == (3, *out, *out)
    for own, samples in zip(value, seen[0].reshape(3, 8, -1), strict=True):
        if samples.numel():
            torch.testing.assert_close(own.flatten(), torch.cov(samples.T).flatten())


# --- what all statistics promise -------------------------------------------------------------

BOTH = pytest.mark.parametrize("statistic", [ts.Median(3), ts.Covariance()], ids=str)


@BOTH
def test_an_offset_costs_no_precision(statistic: Any) -> None:
    """In float32, 10^4 above 0: the spread is the 10^4th part of the values."""
    x = torch.randn(2, 3)
    results = []
    for dtype, offset in ((torch.float32, 1e4), (torch.float64, 0.0)):
        rows = x.to(dtype).requires_grad_()

        def f(y: Tensor, offset: float = offset) -> Tensor:
            return (y > 0).to(y.dtype).cumsum(-1) + offset

        smoothed = ts.smooth(f, ts.Gaussian(), num_samples=64, seed=0, statistic=statistic)
        (gradient,) = torch.autograd.grad(smoothed(rows).sum(), rows)
        results.append(gradient.double())
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


@BOTH
def test_chunks_never_change_the_result(statistic: Any) -> None:
    x = torch.randn(3, 2, requires_grad=True)
    results = []
    for chunk_size in (None, 1, 7, 1000):
        options = {"num_samples": 20, "seed": 0, "chunk_size": chunk_size}
        value = ts.smooth(curve, ts.Gumbel(), statistic=statistic, **options)(x)
        results.append((value, torch.autograd.grad(value.sum(), x)[0]))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


@BOTH
def test_arguments_get_the_gradient_of_the_value(statistic: Any) -> None:
    """That of the statistic of the samples, whose values depend on them."""
    x = torch.randn(2, 3, dtype=torch.float64)
    a = torch.rand(2, dtype=torch.float64).add(0.5).requires_grad_()

    def value(a: Tensor, x: Tensor = x) -> Tensor:
        return ts.smooth(
            lambda y, a: torch.stack([(y.sum(-1) * a).sin(), a * y[:, 0]], -1),
            ts.Gaussian(),
            num_samples=9,
            chunk_size=4,
            seed=0,
            statistic=statistic,
        )(x, a)

    torch.autograd.gradcheck(value, a)
    # Also where the gradient in x is wanted at the same time.
    upstream = torch.randn_like(value(a))
    (alone,) = torch.autograd.grad(value(a), a, upstream)
    (beside,) = torch.autograd.grad(value(a, x.clone().requires_grad_()), a, upstream)
    torch.testing.assert_close(beside, alone)


@BOTH
def test_nothing_is_wanted(statistic: Any) -> None:
    x = torch.randn(3, 2, requires_grad=True)
    smoothed = ts.smooth(curve, ts.Gumbel(), num_samples=8, seed=0, statistic=statistic)
    with torch.no_grad():
        value = smoothed(x)
    assert not value.requires_grad
    assert torch.equal(smoothed(x), value)


@BOTH
def test_second_derivatives_raise(statistic: Any) -> None:
    x = torch.randn(3, 2, requires_grad=True)
    value = ts.smooth(curve, ts.Gumbel(), num_samples=8, statistic=statistic)(x)
    (gradient,) = torch.autograd.grad(value.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        gradient.sum().backward()


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_numbers_stay_in_their_element(statistic: Any, bad: float) -> None:
    """Of x, and among f's outputs."""
    x = torch.randn(3, 2)
    options = {"num_samples": 8, "seed": 0, "statistic": statistic}
    smoothed = ts.smooth(lambda y: y.nan_to_num(posinf=0.0).sign(), ts.Gumbel(), **options)
    expected = smoothed(x)
    broken = x.clone()
    broken[1, 0] = bad
    broken.requires_grad_()
    value = smoothed(broken)
    assert value[1].isnan().all()
    (gradient,) = torch.autograd.grad(value.sum(), broken)
    assert gradient[1].isnan().all() and gradient[[0, 2]].isfinite().all()
    torch.testing.assert_close(value[[0, 2]], expected[[0, 2]], rtol=0, atol=0)

    def f(y: Tensor) -> Tensor:
        result = y.sign()
        result[9] = math.nan  # of the second element
        return result

    with pytest.warns(UserWarning, match="NaN for 1 of 24 perturbed points"):
        value = ts.smooth(f, ts.Gumbel(), check=False, **options)(x)
    assert value[1].isnan().all() and value[[0, 2]].isfinite().all()


def test_infinite_outputs_that_are_never_the_median() -> None:
    """Of 2 infinite numbers in each direction none is the median of 5."""
    x = torch.randn(1, requires_grad=True)

    def f(y: Tensor, edge: float) -> Tensor:
        result = torch.arange(9.0)
        result[:2], result[-2:] = -edge, edge
        return result

    results = []
    for edge in (100.0, math.inf):
        options = {"num_samples": 9, "seed": 0, "statistic": ts.Median(5)}
        value = ts.smooth(f, ts.Gumbel(), check=False, **options)(x, edge)
        results.append((value, torch.autograd.grad(value, x)[0]))
    torch.testing.assert_close(*results, rtol=0, atol=0)
    assert results[0][0] == 4


def test_medians_of_structures() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    options = {"num_samples": 9, "seed": 0, "statistic": ts.Median(3)}
    both = ts.smooth(lambda y: {"a": y.sign(), "b": (y.exp().sum(-1),)}, ts.Gumbel(), **options)(x)
    torch.testing.assert_close(both["a"], ts.smooth(torch.sign, ts.Gumbel(), **options)(x))
    alone = ts.smooth(lambda y: y.exp().sum(-1), ts.Gumbel(), **options)(x)
    torch.testing.assert_close(both["b"][0], alone)
    gradients = [torch.autograd.grad(v.sum(), x)[0] for v in (both["b"][0], alone)]
    torch.testing.assert_close(*gradients)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types(statistic: Any, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3).to(dtype).requires_grad_()
    value = ts.smooth(torch.sign, ts.Gumbel(), num_samples=8, seed=0, statistic=statistic)(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.dtype == gradient.dtype == dtype


@BOTH
@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_empty(statistic: Any, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    smoothed = ts.smooth(
        lambda y: y.new_ones(len(y), 2), ts.Gaussian(), num_samples=8, statistic=statistic
    )
    value = smoothed(x)
    assert value.shape == (shape[0], *statistic.shape((2,)))
    assert torch.autograd.grad(value.sum(), x)[0].shape == shape


@pytest.mark.compiled
@BOTH
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_equals_eager(statistic: Any) -> None:
    def f(x: Tensor) -> Tensor:
        return ts.smooth(curve, ts.Gumbel(), num_samples=8, seed=0, statistic=statistic)(x)

    x = torch.randn(3, 2, requires_grad=True)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    results = [(v, torch.autograd.grad(v.sum(), x)[0]) for v in (compiled(x), f(x))]
    torch.testing.assert_close(*results)


def test_what_is_kept_is_one_number_per_sample_and_output() -> None:
    elements, s, n, outputs = 3, 512, 4, 7
    saved: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    x = torch.randn(elements, n, requires_grad=True)
    for statistic in (ts.Median(3), ts.Covariance()):
        smoothed = ts.smooth(
            lambda y: y[:, :1].sign().expand(-1, outputs),
            ts.Gaussian(),
            num_samples=s,
            statistic=statistic,
        )
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            smoothed(x)
        table = ts.Sobol().directions(n, x.device).untyped_storage().nbytes()
        least = 4 * elements * outputs * s
        assert sum(saved.values()) - table <= least + 4 * elements * (n + outputs**2) + 64
