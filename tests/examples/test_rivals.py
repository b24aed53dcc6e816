import doctest
import functools
import importlib
import math
import pkgutil

import pytest
import rivals
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from facts import assert_mean, replicate
from rivals import RIVALS

import torchsmooth as ts


PACKAGES = {"diffsort": "diffsort", "softrank": "torchsort"}  # by how the rival's name begins


@pytest.fixture(params=RIVALS)
def rival(request):
    """The function that makes the rival of each name from a temperature."""
    need(request.param)
    return RIVALS[request.param]


@pytest.fixture(params=[name for name in RIVALS if name != "softrank"])
def relaxation(request):
    need(request.param)
    return RIVALS[request.param]


@pytest.fixture(params=[name for name in RIVALS if name not in ("softrank", "perturbed")])
def exact_relaxation(request):
    """Those whose matrix is no estimate: two calls agree."""
    need(request.param)
    return RIVALS[request.param]


def need(name):
    """Skip the test if the package that the rival comes from is not installed."""
    package = PACKAGES.get(name.split("-")[0])
    if package:
        pytest.importorskip(package)


def scores(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def truth_of(values):
    return ts.hard.argsort(torch.tensor([values], dtype=torch.float64))


# --- What holds for all of them -------------------------------------------------------------------


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(rivals.__path__)])
def test_docstrings(module):
    if module in ("soft_rank", "sorting_network"):
        pytest.importorskip({"soft_rank": "torchsort", "sorting_network": "diffsort"}[module])
    assert doctest.testmod(importlib.import_module(f"rivals.{module}")).failed == 0


def test_in_the_limit_of_temperature_0_a_relaxation_sorts(relaxation):
    # Evenly spaced, so that no pair is close: 1 is far above the temperature.
    x = torch.stack([torch.randperm(5) for _ in range(8)]).double()
    if relaxation is rivals.OTSort:  # Sinkhorn's iterations are slow where there is little entropy
        relaxation = functools.partial(rivals.OTSort, iterations=2000)
    matrix = relaxation(temperature=2e-4)(x)
    # The slowest is the Cauchy network: off by about temperature / pi per swap.
    torch.testing.assert_close(matrix, ts.hard.argsort(x), rtol=0, atol=1e-3)


@pytest.mark.parametrize("temperature", [0.03, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_rows_are_distributions(relaxation, n, temperature):
    matrix = relaxation(temperature=temperature)(scores(4, n))
    assert matrix.shape == (4, n, n)
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(-1), torch.ones(4, n, dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in RIVALS if "diffsort" in name or "pert" in name])
def test_columns_are_distributions(name):
    need(name)
    matrix = RIVALS[name](temperature=0.5)(scores(4, 5))
    torch.testing.assert_close(matrix.sum(-2), torch.ones(4, 5, dtype=torch.float64))


def test_the_gradient_is_the_derivative_of_the_matrix(exact_relaxation):
    x = scores(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(exact_relaxation(temperature=0.5), x)


def test_the_loss_moves_misordered_scores_towards_their_places(rival):
    x = torch.tensor([[0.0, 0.5, 1.0]], requires_grad=True)
    rival(temperature=1.0).loss(x, truth_of([3, 2, 1]).float()).backward()
    assert x.grad[0, 0] < 0 < x.grad[0, 2]


def test_the_loss_is_the_cross_entropy_of_the_matrix(exact_relaxation):
    x, truth = scores(3, 4), truth_of([0, 2, 1, 3]).expand(3, 4, 4)
    soft = exact_relaxation(temperature=1.0)
    expected = F.binary_cross_entropy(soft(x), truth)
    torch.testing.assert_close(soft.loss(x, truth), expected, rtol=1e-4, atol=0)


# --- What holds for each of them ------------------------------------------------------------------


@pytest.mark.parametrize("relaxation", [rivals.NeuralSort, rivals.SoftSort])
def test_two_elements_are_ordered_by_a_sigmoid(relaxation):
    x = scores(20, 2)
    difference = (x[:, 1] - x[:, 0]).numpy()
    # NeuralSort: (|d| + d) - (|d| - d) over 2 tau; SoftSort: |d| - 0 over tau.
    first = torch.tensor(scipy.special.expit(difference / 0.7))
    matrix = relaxation(temperature=0.7)(x)
    torch.testing.assert_close(matrix[:, 0, 0], first)
    torch.testing.assert_close(matrix[:, 1, 1], first)


def test_neuralsort_is_the_published_formula():
    (x,) = scores(1, 4)
    s, n, tau = x.tolist(), 4, 0.7
    rows = [  # of the paper: the largest comes first
        scipy.special.softmax(
            [
                ((n + 1 - 2 * i) * s[j] - sum(abs(s[j] - other) for other in s)) / tau
                for j in range(n)
            ]
        )
        for i in range(1, n + 1)
    ]
    expected = torch.tensor([row.tolist() for row in reversed(rows)])
    torch.testing.assert_close(rivals.NeuralSort(tau)(x[None])[0], expected, check_dtype=False)


def test_softsort_is_the_published_formula():
    (x,) = scores(1, 4)
    rows = [
        scipy.special.softmax([-abs(smallest - value) / 0.7 for value in x.tolist()]).tolist()
        for smallest in sorted(x.tolist())
    ]
    torch.testing.assert_close(
        rivals.SoftSort(0.7)(x[None])[0], torch.tensor(rows), check_dtype=False
    )


@pytest.mark.parametrize("relaxation", [rivals.NeuralSort, rivals.SoftSort])
def test_the_largest_entry_of_a_row_is_in_its_place_at_any_temperature(relaxation):
    x = scores(50, 6)
    matrix = relaxation(temperature=10.0)(x)
    assert matrix.argmax(-1).equal(x.argsort(-1))


@pytest.mark.parametrize(
    ("distribution", "swap"),
    [
        ("logistic", lambda v: 1 / (1 + math.exp(-v))),
        ("cauchy", lambda v: 0.5 + math.atan(v) / math.pi),
        ("optimal", lambda v: 0.5 + v if abs(v) <= 0.25 else (v > 0) - 1 / (16 * v)),
    ],
)
def test_the_swap_of_two_elements(distribution, swap):
    pytest.importorskip("diffsort")
    x = scores(20, 2)
    matrix = rivals.SortingNetwork(0.3, distribution)(x)
    first = [swap(difference / 0.3) for difference in (x[:, 1] - x[:, 0]).tolist()]
    first = torch.tensor(first, dtype=torch.float64)
    # The package adds 1e-10 to the denominator.
    torch.testing.assert_close(matrix[:, 0, 0], first, rtol=0, atol=1e-9)
    torch.testing.assert_close(matrix[:, 0, 1], 1 - first, rtol=0, atol=1e-9)


def test_three_elements_pass_through_three_swaps():
    pytest.importorskip("diffsort")
    # Odd-even transposition: places 1 and 2, then 2 and 3, then 1 and 2. Inputs that differ by the
    # temperature are mixed 3 : 1. The first swap leaves 3/4 in place 2, 1 less than in place 3.
    network = rivals.SortingNetwork(temperature=1.0, distribution="cauchy")
    (matrix,) = network(torch.tensor([[0.0, 1.0, 1.75]], dtype=torch.float64))
    # The third swap does not touch place 3.
    expected = torch.tensor([0.25 * 0.25, 0.25 * 0.75, 0.75], dtype=torch.float64)
    torch.testing.assert_close(matrix[2], expected)


def test_optimal_transport_of_two_elements():
    # Standardised, two scores are -1 and 1, whatever they were. A 2 x 2 plan with equal marginals
    # has one unknown, and (p / (1 - p))^2 = exp(crossed minus straight costs over epsilon).
    low, high = scipy.special.expit([-1, 1])
    crossed = (0 - high) ** 2 + (1 - low) ** 2
    straight = (0 - low) ** 2 + (1 - high) ** 2
    p = scipy.special.expit((crossed - straight) / 2 / 0.3)
    expected = torch.tensor([[[1 - p, p], [p, 1 - p]]], dtype=torch.float64)
    x = torch.tensor([[5.0, -3.0]], dtype=torch.float64)
    torch.testing.assert_close(rivals.OTSort(0.3)(x), expected)


def test_optimal_transport_has_its_marginals_and_the_form_of_the_optimum():
    x = scores(3, 5)
    plan = rivals.OTSort(temperature=0.05, iterations=2000)(x)
    torch.testing.assert_close(plan.sum(-2), torch.ones(3, 5, dtype=torch.float64))
    # Optimal is what is diag(u) exp(-cost / epsilon) diag(v): mixed differences of the logarithm
    # are those of the cost.
    squashed = torch.tensor(scipy.special.expit(scipy.stats.zscore(x.numpy(), axis=1)))
    grid = torch.linspace(0, 1, 5, dtype=torch.float64)
    cost = (grid[:, None] - squashed[:, None, :]) ** 2
    for_plan, for_cost = (m.diff(dim=-1).diff(dim=-2) for m in (plan.log(), -cost / 0.05))
    torch.testing.assert_close(for_plan, for_cost)


def test_tied_scores_have_a_finite_gradient(rival):
    x = torch.zeros(2, 4, requires_grad=True)
    rival(temperature=0.1).loss(x, truth_of([0, 2, 1, 3]).float().expand(2, 4, 4)).backward()
    assert x.grad.isfinite().all()


def test_perturbed_sorting_of_two_elements_is_a_normal_cdf():
    sigma, x = 0.7, torch.tensor([0.4, 1.0], dtype=torch.float64)
    leaf = replicate(x, 400)
    first = rivals.PerturbedSort(sigma, num_samples=256)(leaf)[:, 0, 0]
    first.sum().backward()
    # The difference of two normal variables, at five sigmas.
    law = scipy.stats.norm(scale=sigma * 2**0.5)
    assert_mean(first, law.cdf(0.6), resolution=0.01)
    slope = law.pdf(0.6)
    assert_mean(leaf.grad, [-slope, slope], resolution=0.05)


def test_soft_ranks_of_two_elements():
    pytest.importorskip("torchsort")
    x = scores(20, 2)
    half = ((x[:, 1] - x[:, 0]) / (2 * 0.8)).clamp(-0.5, 0.5)  # the projection onto a segment
    expected = torch.stack([1.5 - half, 1.5 + half], -1)
    torch.testing.assert_close(rivals.SoftRank(0.8).ranks(x), expected)


def test_soft_ranks_are_ranks_below_some_temperature():
    pytest.importorskip("torchsort")
    x = scores(6, 5)
    expected = torch.tensor(scipy.stats.rankdata(x.numpy(), axis=1))
    torch.testing.assert_close(rivals.SoftRank(1e-6).ranks(x), expected)


def test_the_loss_of_soft_ranks_is_their_squared_error():
    pytest.importorskip("torchsort")
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    loss = rivals.SoftRank(1e-6).loss(x, truth_of([2, 4, 1, 3]))
    assert loss.item() == pytest.approx((1 + 4 + 4 + 1) / 4)
