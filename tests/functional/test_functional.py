"""Smoothed algorithms against enumerated laws, quadrature and the generic road."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from facts import assert_mean, assert_mean_gradient, replicate
from hypothesis import given, strategies as st
from laws import FACTS, difference
from torch import Tensor

import torchsmooth as ts
from torchsmooth._kernels.sort import SortOp
from torchsmooth.distributions import LAWS, AbstractDistribution


RANDOM_SAMPLERS = ["mc", "rqmc_latin", "rqmc_cartesian", "sobol"]
SAMPLERS = [*RANDOM_SAMPLERS, "qmc_latin", "qmc_cartesian"]
COVARIATES = ["none", "fx", "loo"]


def argsort_and_gradients(
    law: type[AbstractDistribution],
    x: Tensor,  # [n]
    scale: float,
    weight: Tensor,  # [n, n]
    replicates: int,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Independent estimates of P, and of the gradients of sum(weight * P) in x and in the scale."""
    rows = replicate(x, replicates)
    scales = torch.full((replicates, 1), scale).to(rows).requires_grad_()
    matrix = ts.functional.argsort(rows, law(scales), seed=1, **options)
    gradients = torch.autograd.grad((weight * matrix).sum(), (rows, scales))
    return matrix, gradients[0], gradients[1].squeeze(1)


# --- Gumbel noise: the Plackett-Luce law -----------------------------------------------------


def plackett_luce(x: Tensor, scale: Tensor) -> Tensor:
    """P[k, i] = probability that i is the k-th largest of x + scale * Gumbel, by enumeration."""
    n = len(x)
    weights = (x / scale).exp()
    matrix = x.new_zeros(n, n)
    for order in itertools.permutations(range(n)):
        left = list(order)
        probability = x.new_ones(())
        for i in order:
            probability = probability * weights[i] / weights[left].sum()
            left.remove(i)
        place = torch.zeros(n, n, dtype=x.dtype)
        place[range(n), order] = 1
        matrix = matrix + probability * place
    return matrix


@pytest.mark.parametrize("sampler, antithetic", [("mc", False), ("mc", True), ("sobol", False)])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_gumbel_argsort_is_plackett_luce(
    n: int,
    sampler: str,
    antithetic: bool,
    device: torch.device,
) -> None:
    x = torch.linspace(-0.5, 0.7, n, dtype=torch.float64).square().requires_grad_()
    scale = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(n, n, dtype=torch.float64)
    expected = plackett_luce(x, scale)
    in_x, in_scale = torch.autograd.grad((weight * expected).sum(), (x, scale))
    matrix, grad_x, grad_scale = argsort_and_gradients(
        ts.Gumbel,
        x.to(device),
        0.6,
        weight.to(device),
        400,
        descending=True,
        num_samples=512,
        sampler=sampler,
        antithetic=antithetic,
        covariate="none" if sampler == "sobol" else "loo",
    )
    assert_mean(matrix, expected, resolution=0.02)
    assert_mean(grad_x, in_x, resolution=0.06)
    assert_mean(grad_scale, in_scale, resolution=0.12)


@pytest.mark.parametrize("n", [2, 7, 30, 300])
def test_gumbel_argmax_is_softmax(n: int, device: torch.device) -> None:
    """Of s independent samples: each share within 6 standard deviations (2e-9 per entry)."""
    x, scale, s = torch.randn(n), 0.7, 2**16
    matrix = ts.functional.argsort(
        x.to(device), ts.Gumbel(scale), descending=True, num_samples=s, sampler="mc", seed=2
    )
    p = torch.softmax(x / scale, -1)
    assert ((matrix[0].cpu() - p).abs() <= 6 * (p * (1 - p) / s).sqrt() + 1e-6).all()


# --- two elements: the law of the difference -------------------------------------------------


@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("law", LAWS)
def test_two_elements(law: str, covariate: str, device: torch.device) -> None:
    x, scale = torch.tensor([0.4, -0.1], dtype=torch.float64), 0.8
    z = float(x[0] - x[1]) / scale
    p, density = difference(law, z)
    weight = torch.zeros(2, 2, dtype=torch.float64)
    weight[0, 0] = 1  # P that the first element is the larger one
    matrix, grad_x, grad_scale = argsort_and_gradients(
        LAWS[law],
        x.to(device),
        scale,
        weight.to(device),
        1000,
        descending=True,
        num_samples=2**14 if FACTS[law].score_moments < 2 else 2**11,
        sampler="mc",
        covariate=covariate,
    )
    slope = density / scale
    assert_mean(matrix, [[p, 1 - p], [1 - p, p]], resolution=0.01)
    assert_mean_gradient(law, grad_x, [slope, -slope], resolution=0.1 * slope)
    assert_mean_gradient(law, grad_scale, -z * slope, resolution=0.2 * z * slope)


# --- what holds for every estimate -----------------------------------------------------------


def num_samples_for(sampler: str, n: int, antithetic: bool) -> int:
    points = 3**n if sampler.endswith("cartesian") else 16
    return 2 * points if antithetic else points


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 24, 25, 100, 1024])
def test_rows_and_columns_sum_to_one(n: int, descending: bool, device: torch.device) -> None:
    x = torch.randn(2, n, device=device)
    matrix = ts.functional.argsort(
        x, ts.Logistic(0.5), num_samples=6, descending=descending, sampler="mc", seed=0
    )
    assert (matrix >= 0).all()
    for dim in (-1, -2):
        torch.testing.assert_close(matrix.sum(dim), torch.ones_like(x))


def generic_argsort(
    x: Tensor, distribution: AbstractDistribution, *, descending: bool = False, **options: Any
) -> Tensor:
    """The same estimate by the generic road: every sample's matrix is made and summed."""
    return ts.smooth(lambda y: ts.hard.argsort(y, descending=descending), distribution, **options)(
        x
    )


def assert_equals_generic_road(
    distribution: Callable[[Tensor], AbstractDistribution], x: Tensor, scale: Tensor, **options: Any
) -> None:
    """Values to the last digit, since both count the same permutations; gradients to rounding."""
    outputs = []
    for argsort in (ts.functional.argsort, generic_argsort):
        leaves = [t.detach().clone().requires_grad_() for t in (x, scale)]
        matrix = argsort(leaves[0], distribution(leaves[1]), **options)
        torch.manual_seed(1)
        outputs.append((matrix, *torch.autograd.grad(matrix, leaves, torch.randn_like(matrix))))
    (matrix, *gradients), (expected, *expected_gradients) = outputs
    eps = torch.finfo(x.dtype).eps
    torch.testing.assert_close(matrix, expected, rtol=2 * eps, atol=0)
    for actual, wanted in zip(gradients, expected_gradients, strict=True):
        atol = 1e3 * eps * wanted.abs().max().item() if wanted.numel() else 0.0
        torch.testing.assert_close(actual, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("law", LAWS)
def test_fused_road_is_the_generic_road(
    law: str, sampler: str, covariate: str, antithetic: bool, device: torch.device
) -> None:
    n = 3
    x = torch.randn(4, n, dtype=torch.float64, device=device)
    assert_equals_generic_road(
        LAWS[law],
        x,
        0.5 + torch.rand_like(x),
        num_samples=num_samples_for(sampler, n, antithetic),
        sampler=sampler,
        antithetic=antithetic,
        covariate=covariate,
        seed=3,
    )


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 1, 1), (2, 3, 1), (2, 3, 5), (3, 5), (1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scale_shapes(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """A number, one per dimension, one per example, and what broadcasts against these."""
    x = torch.randn(2, 3, 5, dtype=dtype, device=device)
    scale = 0.5 + torch.rand(shape, dtype=dtype, device=device)
    assert_equals_generic_road(ts.Gumbel, x, scale, num_samples=33, sampler="mc", seed=3)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("n", [1, 7, 8, 24, 25, 100, 1024])
def test_sizes(n: int, descending: bool, device: torch.device) -> None:
    x = torch.randn(2, n, dtype=torch.float64, device=device)
    scale = torch.tensor(0.5, dtype=torch.float64, device=device)
    assert_equals_generic_road(
        ts.Laplace, x, scale, num_samples=6, sampler="mc", descending=descending, seed=3
    )


@pytest.mark.parametrize("covariate", COVARIATES)
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 7, 8, 9, 26])
def test_one_pass_and_two_passes_agree(
    n: int, antithetic: bool, covariate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Jacobian that is summed while sorting, and the gradient that is summed in backward."""
    x, scale, grad = torch.randn(3, n), 0.5 + torch.rand(3, n), torch.randn(3, n, n)
    gradients = []
    for one_pass in (False, True):
        monkeypatch.setattr(SortOp, "in_one_pass", lambda *_, answer=one_pass: answer)
        leaves = [t.clone().requires_grad_() for t in (x, scale)]
        matrix = ts.functional.argsort(
            leaves[0],
            ts.Logistic(leaves[1]),
            num_samples=128,
            sampler="mc",
            antithetic=antithetic,
            covariate=covariate,
            seed=0,
        )
        gradients.append(torch.autograd.grad(matrix, leaves, grad))
    # The sums over samples are of order sqrt(n) before they cancel.
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [3, 7, 8, 30])
@pytest.mark.parametrize("antithetic", [False, True])
def test_what_never_changes_has_no_gradient(n: int, antithetic: bool, device: torch.device) -> None:
    """Elements further apart than the noise reaches; integer weights, so that sums are exact."""
    x = (10.0 * torch.randperm(n)).to(device).expand(2, n).clone().requires_grad_()
    scale = torch.ones(n, device=device, requires_grad=True)
    for sampler in ("mc", "sobol"):
        matrix = ts.functional.argsort(
            x,
            ts.Triangular(scale),
            num_samples=64,
            sampler=sampler,
            antithetic=antithetic,
            seed=0,
        )
        torch.testing.assert_close(matrix, ts.hard.argsort(x), rtol=0, atol=0)
        weight = torch.randint(-9, 10, (2, n, n), device=device).float()
        for gradient in torch.autograd.grad(matrix, (x, scale), weight):
            assert (gradient == 0).all()


@pytest.mark.parametrize(
    "sampler, antithetic, covariate, num_samples",
    [
        ("mc", False, "loo", 2),
        ("mc", False, "loo", 3),
        ("mc", True, "loo", 4),
        ("mc", True, "loo", 6),
        ("mc", False, "fx", 1),
        ("mc", True, "fx", 2),
        ("mc", False, "none", 1),
        ("rqmc_latin", False, "fx", 5),
        ("rqmc_latin", True, "none", 6),
        ("rqmc_cartesian", False, "fx", 4),
        ("rqmc_cartesian", True, "fx", 8),
        ("sobol", False, "fx", 4),
        ("sobol", False, "none", 3),
        ("sobol", True, "fx", 4),
    ],
)
def test_few_samples_are_unbiased(
    sampler: str,
    antithetic: bool,
    covariate: str,
    num_samples: int,
    device: torch.device,
) -> None:
    """Two elements, Gaussian noise: a wrong factor s / (s - 1) would be off by 20 % or more."""
    x, scale = torch.tensor([0.3, -0.2], dtype=torch.float64), 0.7
    z = 0.5 / scale
    p, density = difference("gaussian", z)
    weight = torch.zeros(2, 2, dtype=torch.float64)
    weight[1, 0] = 1
    matrix, grad_x, grad_scale = argsort_and_gradients(
        ts.Gaussian,
        x.to(device),
        scale,
        weight.to(device),
        200_000,
        num_samples=num_samples,
        sampler=sampler,
        antithetic=antithetic,
        covariate=covariate,
    )
    slope = density / scale
    assert_mean(matrix[:, 1, 0], p, resolution=0.02)
    assert_mean(grad_x, [slope, -slope], resolution=0.1 * slope)
    assert_mean(grad_scale, -z * slope, resolution=0.2 * z * slope)


# --- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [-3, -2, -1, 0, 1, 2])
def test_dim(dim: int, device: torch.device) -> None:
    x = torch.randn(3, 4, 5, device=device)
    options = {"num_samples": 16, "seed": 0}
    torch.testing.assert_close(
        ts.functional.argsort(x, ts.Gumbel(), dim=dim, **options),
        ts.functional.argsort(x.movedim(dim, -1), ts.Gumbel(), **options),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("n", [5, 40])
def test_descending_is_ascending_reversed(n: int, device: torch.device) -> None:
    x = torch.randn(3, n, device=device)
    ascending, descending = (
        ts.functional.argsort(x, ts.Gumbel(), num_samples=16, seed=0, descending=descending)
        for descending in (False, True)
    )
    torch.testing.assert_close(descending, ascending.flip(-2), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale_dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("n", [4, 12])
def test_dtypes(n: int, scale_dtype: torch.dtype, dtype: torch.dtype, device: torch.device) -> None:
    """Half types are computed in float32; results have the types of what they belong to."""
    x = torch.randn(3, n, device=device).to(dtype).requires_grad_()
    scale = torch.full((n,), 0.5, device=device, dtype=scale_dtype, requires_grad=True)
    weight = torch.randn(3, n, n, device=device).to(dtype)

    def results(x: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        matrix = ts.functional.argsort(x, ts.Logistic(scale), num_samples=64, seed=0)
        return (matrix, *torch.autograd.grad((matrix * weight).sum(), (x, scale)))

    compute = torch.float64 if dtype == torch.float64 else torch.float32
    upcast = results(x.to(compute), scale.to(compute))
    for actual, like, expected in zip(results(x, scale), (x, x, scale), upcast, strict=True):
        assert actual.dtype == like.dtype
        torch.testing.assert_close(actual, expected.to(like.dtype))


def test_float64_draws_the_noise_of_float32(device: torch.device) -> None:
    x = torch.randn(50, 6, device=device)
    single, double = (
        ts.functional.argsort(x.to(dtype), ts.Gaussian(), num_samples=256, seed=0)
        for dtype in (torch.float32, torch.float64)
    )
    # Two samples of 12800 may be so close to a tie that rounding decides.
    assert ((single.double() - double).abs() > 1e-6).sum() <= 8


@st.composite
def strided(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A tensor of any strides, and one of its dimensions."""
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    dtype = draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
    steps = [draw(st.integers(1, 2)) for _ in shape]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100)))
    full = torch.randn(
        [size * step for size, step in zip(shape, steps, strict=True)], generator=generator
    ).to(dtype)
    x = full[tuple(slice(None, None, step) for step in steps)]
    x = x.permute(draw(st.permutations(range(len(shape)))))
    if draw(st.booleans()):
        x = x.unsqueeze(0).expand(3, *x.shape)
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


@given(case=strided(), descending=st.booleans(), num_samples=st.integers(2, 40))
def test_strides_do_not_matter(
    case: tuple[Tensor, int], descending: bool, num_samples: int, device: torch.device
) -> None:
    x, dim = case
    x = x.to(device)
    options = {"num_samples": num_samples, "descending": descending, "seed": 0}
    results = []
    for leaf in (x, x.clone(memory_format=torch.contiguous_format)):
        leaf = leaf.detach().requires_grad_()
        matrix = ts.functional.argsort(leaf, ts.Logistic(0.5), dim=dim, **options)
        moved = leaf.movedim(dim, -1)
        assert matrix.shape == (*moved.shape, moved.shape[-1]) and matrix.dtype == x.dtype
        (gradient,) = torch.autograd.grad(matrix.cumsum(-1).sum(-2).sum(), leaf)
        results.append((matrix, gradient))
    torch.testing.assert_close(*results, rtol=0, atol=0)
    ones = torch.ones(matrix.shape[:-1], device=device, dtype=torch.float32)
    torch.testing.assert_close(matrix.float().sum(-1), ones, rtol=0, atol=0.02)
    torch.testing.assert_close(matrix.float().sum(-2), ones, rtol=0, atol=0.02)


def test_views_that_require_grad(device: torch.device) -> None:
    base = torch.randn(4, 6, device=device, requires_grad=True)
    view = base[1:, ::2].t()  # [3, 3]
    (actual,) = torch.autograd.grad(
        ts.functional.argsort(view, ts.Gumbel(), num_samples=64, seed=0)[..., 0].cumsum(-1).sum(),
        base,
    )
    leaf = view.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(
        ts.functional.argsort(leaf, ts.Gumbel(), num_samples=64, seed=0)[..., 0].cumsum(-1).sum(),
        leaf,
    )
    torch.testing.assert_close(actual[1:, ::2].t(), expected, rtol=0, atol=0)
    assert actual.abs().sum() == expected.abs().sum()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3), (1,), (4, 1)])
def test_empty_and_trivial(shape: tuple[int, ...], device: torch.device) -> None:
    x = torch.randn(shape, device=device, requires_grad=True)
    scale = torch.tensor(0.5, device=device, requires_grad=True)
    matrix = ts.functional.argsort(x, ts.Gumbel(scale), num_samples=8)
    torch.testing.assert_close(matrix, torch.ones(*shape, shape[-1], device=device))
    for leaf, gradient in zip(
        (x, scale), torch.autograd.grad(matrix.sum(), (x, scale)), strict=True
    ):
        torch.testing.assert_close(gradient, torch.zeros_like(leaf), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [5, 9])
def test_bad_numbers_stay_in_their_batch_element(n: int, bad: float, device: torch.device) -> None:
    x, weight = torch.randn(4, n, device=device), torch.randn(4, n, n, device=device)

    def results() -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        matrix = ts.functional.argsort(leaf, ts.Logistic(), num_samples=64, seed=0)
        return matrix, torch.autograd.grad(matrix, leaf, weight)[0]

    clean = results()
    x[2, 1] = bad
    for actual, expected in zip(results(), clean, strict=True):
        assert actual[2].isnan().all()
        others = [0, 1, 3]
        torch.testing.assert_close(actual[others], expected[others], rtol=0, atol=0)


# --- seeds -----------------------------------------------------------------------------------


def sample(x: Tensor, seed: int | Tensor | None, **options: Any) -> Tensor:
    return ts.functional.argsort(
        x, ts.Gumbel(), num_samples=64, sampler="mc", seed=seed, **options
    ).detach()


def test_seeds(device: torch.device) -> None:
    x = torch.randn(3, 6, device=device)
    for seed in (0, -1, 2**63 - 1, -(2**63)):
        assert torch.equal(sample(x, seed), sample(x, seed))
        assert torch.equal(sample(x, seed), sample(x, torch.tensor(seed, device=device)))
        assert torch.equal(sample(x, seed), sample(x, torch.tensor([seed])))
        assert not torch.equal(sample(x, seed), sample(x, 12345))
    assert not torch.equal(sample(x, 1), sample(x, 1 + 2**32)), "all 64 bits count"


def test_without_a_seed_torchs_generator_decides(device: torch.device) -> None:
    x = torch.randn(3, 6, device=device)
    torch.manual_seed(7)
    first, second = sample(x, None), sample(x, None)
    torch.manual_seed(7)
    assert torch.equal(sample(x, None), first)
    assert torch.equal(sample(x, None), second)
    assert not torch.equal(first, second)


def test_noise_depends_on_the_place_in_the_batch_alone(device: torch.device) -> None:
    x = torch.randn(6, device=device)
    equal = sample(x.expand(5, 6), 0)
    mixed = torch.randn(9, 6, device=device)
    mixed[1], mixed[4] = x, x
    for place in (1, 4):
        assert torch.equal(sample(mixed, 0)[place], equal[place])
    assert torch.equal(sample(x, 0), equal[0])
    for one, other in itertools.combinations(range(5), 2):
        assert not torch.equal(equal[one], equal[other])


# --- laws and matrices without a kernel ------------------------------------------------------


@pytest.mark.parametrize("covariate", COVARIATES)
def test_from_torch_is_the_law_itself(covariate: str, device: torch.device) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, device=device)
    scale = torch.rand(4, dtype=torch.float64, device=device) + 0.5
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64, device=device), 1.0)
    results = []
    for distribution in (ts.Gaussian, lambda s: ts.FromTorch(normal, s)):
        leaves = [t.clone().requires_grad_() for t in (x, scale)]
        matrix = ts.functional.argsort(
            leaves[0], distribution(leaves[1]), num_samples=64, covariate=covariate, seed=0
        )
        results.append((matrix, *torch.autograd.grad(matrix[..., 0].cumsum(-1).sum(), leaves)))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("descending", [False, True])
def test_diagonal_scale_matrix_is_a_scale_per_dimension(
    descending: bool, device: torch.device
) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, device=device)
    scale = (torch.rand(4, dtype=torch.float64, device=device) + 0.5).requires_grad_()
    matrix = scale.detach().diag().requires_grad_()
    results = []
    for leaf, distribution in (
        (scale, ts.Gumbel(scale)),
        (matrix, ts.Gumbel(scale_matrix=matrix)),
    ):
        value = ts.functional.argsort(
            x, distribution, num_samples=64, descending=descending, seed=0
        )
        (gradient,) = torch.autograd.grad(value[..., 0].cumsum(-1).sum(), leaf)
        results.append((value, gradient if leaf is scale else gradient.diagonal()))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


# --- torch.func ------------------------------------------------------------------------------


def smoothed(x: Tensor) -> Tensor:
    return ts.functional.argsort(x, ts.Gaussian(), num_samples=16, seed=0)


@pytest.mark.parametrize("n", [3, 12])
def test_func_grad(n: int) -> None:
    """It agrees with autograd; `test_derivatives.py` has the others."""
    x = torch.randn(2, n, requires_grad=True)
    weight = torch.randn(2, n, n)
    (expected,) = torch.autograd.grad(smoothed(x), x, weight)
    actual = torch.func.grad(lambda y: (weight * smoothed(y)).sum())(x.detach())
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
