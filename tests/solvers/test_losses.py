"""Fenchel-Young losses against closed forms, quadrature and enumeration: value and gradient."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch
from facts import replicate
from laws import SCIPY
from problems import grid_paths, one_hot_vectors, permutations, solver_of
from torch import Tensor

import torchsmooth as ts


X = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
FIRST = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
RANKS = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
GAMMA = 0.7
MATRIX = torch.tensor([[0.5, 0.1, 0.0], [0.0, -0.4, 0.3], [0.2, 0.0, 0.6]], dtype=torch.float64)
REPLICATES = 400


def estimates(
    loss: Callable[..., Tensor], x: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:  # [replicates], [replicates, *event]
    theta = replicate(x, REPLICATES)
    values = loss(theta, target.expand_as(theta))
    (gradient,) = torch.autograd.grad(values.sum(), theta)
    return values, gradient


@pytest.mark.parametrize("sampler", ["mc", "sobol"])
@pytest.mark.parametrize("target", [FIRST, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)])
def test_argmax_under_gumbel_is_cross_entropy(
    target: Tensor, sampler: str, assert_mean: Callable[..., None]
) -> None:
    """gamma log sum exp(x / gamma) - <x, t>, also for targets that are no corner."""
    loss = ts.fenchel_young_loss(
        ts.hard.argmax,
        ts.Gumbel(GAMMA),
        num_samples=256,
        sampler=sampler,
        reduction="none",
        seed=1,
    )
    values, gradient = estimates(loss, X, target)
    exact = GAMMA * torch.nn.functional.cross_entropy(X / GAMMA, target)
    assert_mean(values, exact, resolution=0.02)
    assert_mean(gradient, (X / GAMMA).softmax(0) - target, resolution=0.01)


@pytest.mark.parametrize("law", ["gaussian", "logistic", "laplace", "triangular"])
def test_argmax_by_quadrature(law: str, assert_mean: Callable[..., None]) -> None:
    """E max = integral of x d prod F(x - x_i); its gradient, the probability of being the largest.

    The noise has mean 0, so that <noise, target> does not count.
    """
    noise = SCIPY[law]
    x = X.numpy() / GAMMA

    def density(t: float, i: int) -> float:
        others = np.prod([noise.cdf(t - x[j]) for j in range(3) if j != i])
        return float(noise.pdf(t - x[i]) * others)

    kinks = sorted({*x, *(x - 1), *(x + 1)})
    span = (-40.0, 40.0)
    largest = [
        scipy.integrate.quad(density, *span, args=(i,), points=kinks, limit=400)[0]
        for i in range(3)
    ]
    expected_maximum = sum(
        scipy.integrate.quad(
            lambda t, i: t * density(t, i), *span, args=(i,), points=kinks, limit=400
        )[0]
        for i in range(3)
    )
    classes = {law.name: law for law in (ts.Gaussian, ts.Logistic, ts.Laplace, ts.Triangular)}
    loss = ts.fenchel_young_loss(
        ts.hard.argmax, classes[law](GAMMA), num_samples=128, reduction="none", seed=2
    )
    values, gradient = estimates(loss, X, FIRST)
    assert_mean(values, GAMMA * expected_maximum - X[0], resolution=0.01)
    assert_mean(gradient, torch.tensor(largest) - FIRST, resolution=0.01)


def ranking_loss(x: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """Exact under Gaussian noise: <z, ranks(z)> = sum of z_i + sum over i < j of max(z_i, z_j)."""
    total = x.sum()
    for i in range(len(x)):
        for j in range(i):
            deviation = (scale[i].square() + scale[j].square()).sqrt()
            gap = (x[i] - x[j]) / deviation
            density = torch.exp(-gap.square() / 2) / math.sqrt(2 * math.pi)
            total = total + x[j] + (x[i] - x[j]) * torch.special.ndtr(gap) + deviation * density
    return total - x @ target


def test_permutations_in_closed_form(assert_mean: Callable[..., None]) -> None:
    """Value, and the gradients in the scores and in a scale per element."""
    x, scale = X.clone().requires_grad_(), torch.tensor([0.5, 0.3, 0.9], dtype=torch.float64)
    scale.requires_grad_()
    exact = ranking_loss(x, scale, RANKS)
    exact_gradients = torch.autograd.grad(exact, (x, scale))
    scales = replicate(scale, REPLICATES)
    loss = ts.fenchel_young_loss(
        ts.hard.rank, ts.Gaussian(scales), num_samples=128, reduction="none", seed=3
    )
    theta = replicate(x, REPLICATES)
    values = loss(theta, RANKS.expand_as(theta))
    in_x, in_scale = torch.autograd.grad(values.sum(), (theta, scales))
    assert_mean(values, exact, resolution=0.01)
    assert_mean(in_x, exact_gradients[0], resolution=0.01)
    assert_mean(in_scale, exact_gradients[1], resolution=0.02)


def test_gradient_in_a_scale_matrix(assert_mean: Callable[..., None]) -> None:
    """Under Gaussian noise L eps has covariance L L^T, and that of z_i - z_j has a closed form."""
    matrix = MATRIX.clone().requires_grad_()
    exact = X.sum() - X @ RANKS
    for i in range(3):
        for j in range(i):
            deviation = (matrix[i] - matrix[j]).square().sum().sqrt()
            gap = (X[i] - X[j]) / deviation
            density = torch.exp(-gap.square() / 2) / math.sqrt(2 * math.pi)
            exact = exact + X[j] + (X[i] - X[j]) * torch.special.ndtr(gap) + deviation * density
    (expected,) = torch.autograd.grad(exact, matrix)
    matrices = replicate(MATRIX, REPLICATES)
    loss = ts.fenchel_young_loss(
        ts.hard.rank,
        ts.Gaussian(scale_matrix=matrices),
        num_samples=128,
        reduction="none",
        seed=4,
    )
    values = loss(X.expand(REPLICATES, 3), RANKS.expand(REPLICATES, 3))
    (gradient,) = torch.autograd.grad(values.sum(), matrices)
    assert_mean(values, exact, resolution=0.02)
    assert_mean(gradient, expected, resolution=0.03)


def test_second_derivatives(assert_mean: Callable[..., None]) -> None:
    """Of value and gradient by the score, in the scores and in the scale, against closed forms."""
    x = X.clone().requires_grad_()
    scale = torch.full((3,), GAMMA, dtype=torch.float64, requires_grad=True)
    direction = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    first = torch.autograd.grad(ranking_loss(x, scale, RANKS), (x, scale), create_graph=True)
    along = direction @ first[0] + direction @ first[1]
    exact = torch.autograd.grad(along, (x, scale))

    theta, scales = replicate(x, REPLICATES), replicate(scale, REPLICATES)
    loss = ts.fenchel_young_loss(ts.hard.rank, ts.Gaussian(scales), num_samples=128, seed=5)
    total = REPLICATES * loss(theta, RANKS.expand_as(theta))
    first = torch.autograd.grad(total, (theta, scales), create_graph=True)
    along = (first[0] @ direction).sum() + (first[1] @ direction).sum()
    second = torch.autograd.grad(along, (theta, scales))
    for got, expected in zip(second, exact, strict=True):
        assert_mean(got, expected, resolution=0.15)


def test_paths_by_enumeration() -> None:
    """3 x 3, all simple paths: against as many samples of NumPy's own generator, within 5 sigma."""
    paths = grid_paths(3, 3)
    solver = solver_of(paths, maximize=False)
    weights = torch.tensor([[1.0, 0.4, 2.0], [0.7, 1.5, 0.3], [0.9, 0.6, 1.0]]).double()
    target = solver(weights[None])[0]
    replicates = 100
    loss = ts.fenchel_young_loss(
        solver,
        ts.Gaussian(GAMMA),
        num_samples=512,
        sampler="mc",
        maximize=False,
        event_dim=2,
        reduction="none",
        seed=6,
    )
    theta = replicate(weights, replicates)
    values = loss(theta, target.expand_as(theta))
    (gradient,) = torch.autograd.grad(values.sum(), theta)

    rng = np.random.default_rng(0)
    z = weights.numpy() + GAMMA * rng.standard_normal((51_200, 3, 3))
    costs = z.reshape(-1, 9) @ paths.flatten(1).numpy().T
    cheapest = paths.numpy()[costs.argmin(1)]
    oracle_values = (z * (target.numpy() - cheapest)).sum((1, 2))
    oracle_gradients = target.numpy() - cheapest
    for got, oracle in ((values, oracle_values), (gradient, oracle_gradients)):
        mean, error = got.detach().mean(0), got.detach().std(0) / replicates**0.5
        expected = torch.as_tensor(oracle.mean(0))
        oracle_error = torch.as_tensor(oracle.std(0)) / len(oracle) ** 0.5
        allowed = 5 * (error.square() + oracle_error.square()).sqrt()
        assert (allowed < 0.05).all()  # an error of 0.05 would be seen
        assert ((mean - expected).abs() <= allowed + 1e-12).all()


def test_shortest_path_with_bounded_noise() -> None:
    """No weight falls below min_weight: then Dijkstra's paths are the minimisers, sample by sample.

    The enumeration sees the same noise, so that all agrees to rounding.
    """
    paths = grid_paths(3, 3)
    theta = (1 + torch.rand(4, 3, 3, dtype=torch.float64)).requires_grad_()
    target = ts.hard.shortest_path(1 + torch.rand(4, 3, 3, dtype=torch.float64))
    results = []
    for solver in (ts.hard.shortest_path, solver_of(paths, maximize=False)):
        loss = ts.fenchel_young_loss(
            solver,
            ts.Triangular(0.9),
            num_samples=64,
            maximize=False,
            event_dim=2,
            reduction="none",
            seed=7,
        )
        values = loss(theta, target)
        results.append((values, *torch.autograd.grad(values.sum(), theta)))
    torch.testing.assert_close(*results)
    assert (results[0][0] >= 0).all()


LAWS = {
    "number": lambda: ts.Gaussian(GAMMA),
    "no mean of 0": lambda: ts.Gumbel(torch.tensor(GAMMA, dtype=torch.float64)),
    "per element": lambda: ts.Laplace(torch.tensor([0.5, 0.3, 0.9], dtype=torch.float64)),
    "per example": lambda: ts.WignerSemicircle(torch.rand(4, 3, dtype=torch.float64) + 0.5),
    "matrix": lambda: ts.Logistic(scale_matrix=MATRIX),
    "matrices": lambda: ts.Triangular(scale_matrix=MATRIX * torch.rand(4, 1, 1).double()),
    "without a kernel": lambda: ts.FromTorch(
        torch.distributions.Normal(torch.tensor(0.1).double(), torch.tensor(2.0).double()), 0.3
    ),
}


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("law", LAWS)
def test_gradient_is_the_values_derivative(law: str, maximize: bool, device: torch.device) -> None:
    """At a fixed seed the loss is piecewise linear: finite differences agree to rounding."""
    distribution = LAWS[law]()
    theta = torch.randn(4, 3, dtype=torch.float64, device=device).requires_grad_()
    target = ts.hard.rank(torch.randn(4, 3, dtype=torch.float64, device=device))

    def solver(z: Tensor) -> Tensor:
        return ts.hard.rank(z, descending=not maximize)

    parameters: list[Tensor] = []
    for name in ("scale", "scale_matrix"):
        value = getattr(distribution, name)
        if isinstance(value, Tensor):
            value = value.to(device).requires_grad_()
            setattr(distribution, name, value)
            parameters.append(value)

    def f(*inputs: Tensor) -> Tensor:
        law = copy.copy(distribution)
        for value in inputs[1:]:
            setattr(law, "scale" if law.scale_matrix is None else "scale_matrix", value)
        loss = ts.fenchel_young_loss(
            solver, law, num_samples=32, maximize=maximize, reduction="none", seed=0
        )
        return loss(inputs[0], target)

    assert torch.autograd.gradcheck(f, (theta, *parameters), eps=1e-7, atol=1e-6)


def test_gradient_is_the_expected_solution() -> None:
    """That of `torchsmooth.smooth` with the same options."""
    theta = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    target = ts.hard.topk(torch.randn(4, 5, dtype=torch.float64), 2).sum(-2)
    options: dict[str, Any] = dict(num_samples=64, sampler="rqmc_latin", antithetic=True, seed=5)

    def solver(z: Tensor) -> Tensor:
        return ts.hard.topk(z, 2).sum(-2)

    loss = ts.fenchel_young_loss(solver, ts.Logistic(GAMMA), reduction="sum", **options)
    (gradient,) = torch.autograd.grad(loss(theta, target), theta)
    expected = ts.smooth(solver, ts.Logistic(GAMMA), **options)(theta.detach()) - target
    torch.testing.assert_close(gradient, expected)


def test_minimising_is_maximising_the_negative() -> None:
    """Under noise of a symmetric law with its samples in mirror images."""
    theta, target = torch.randn(4, 5).double(), ts.hard.argmax(torch.randn(4, 5)).double()
    options: dict[str, Any] = dict(num_samples=64, antithetic=True, reduction="none", seed=5)
    up = ts.fenchel_young_loss(ts.hard.argmax, ts.Gaussian(), **options)
    down = ts.fenchel_young_loss(
        lambda z: ts.hard.argmax(-z), ts.Gaussian(), maximize=False, **options
    )
    torch.testing.assert_close(up(theta, target), down(-theta, target))


@pytest.mark.parametrize("scale", [0.5, 5.0])
def test_vanishes_where_the_target_wins_by_far(scale: float) -> None:
    """Exactly, if it wins in every sample; and it is never negative before."""
    solutions = permutations(3)
    loss = ts.fenchel_young_loss(
        solver_of(solutions, maximize=True),
        ts.Logistic(scale),
        num_samples=64,
        reduction="none",
        seed=0,
    )
    values = loss(1e6 * scale * solutions, solutions)
    assert (values == 0).all()
    assert (loss(torch.randn(6, 3).double(), solutions) > 0).all()


@pytest.mark.parametrize("moment", [False, True])
def test_chunks_do_not_change_the_result(moment: bool) -> None:
    theta, target = torch.randn(3, 4).double(), ts.hard.rank(torch.randn(3, 4)).double()
    results = []
    for chunk_size in (None, 1, 7, 1000):
        leaf = theta.clone().requires_grad_()
        scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=moment)
        loss = ts.fenchel_young_loss(
            ts.hard.rank, ts.Gaussian(scale), num_samples=32, chunk_size=chunk_size, seed=0
        )
        value = loss(leaf, target)
        inputs = (leaf, scale) if moment else (leaf,)
        results.append((value, *torch.autograd.grad(value, inputs)))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


def test_solver_is_called_once_per_sample() -> None:
    """Also by the backward pass; only second derivatives take another round."""
    seen: list[int] = []

    def solver(z: Tensor) -> np.ndarray:
        assert not torch.is_grad_enabled()
        seen.append(len(z))
        return z.numpy().argsort(-1).argsort(-1)  # integers, and no graph

    theta, target = torch.randn(5, 3, requires_grad=True), torch.arange(3).expand(5, 3)
    loss = ts.fenchel_young_loss(solver, ts.Gaussian(), num_samples=16, seed=0)
    value = loss(theta, target)
    torch.autograd.grad(value, theta, retain_graph=True)
    assert sum(seen) == 5 * 16
    (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
    assert sum(seen) == 2 * 5 * 16 and gradient.requires_grad


def test_second_derivatives_see_the_same_samples() -> None:
    """Also if the seed, a buffer, was filled with another number before the backward pass."""
    theta, seed = torch.randn(5, 3, requires_grad=True), torch.tensor(1)
    target = ts.hard.argmax(torch.randn(5, 3))
    loss = ts.fenchel_young_loss(ts.hard.argmax, ts.Gaussian(), num_samples=16, seed=seed)
    value = loss(theta, target)
    (gradient,) = torch.autograd.grad(value, theta, retain_graph=True)
    seed.fill_(2)
    (again,) = torch.autograd.grad(value, theta, create_graph=True)
    torch.testing.assert_close(again.detach(), gradient)


def test_one_event_at_a_time_with_numpy() -> None:
    """With an array that is filled again, and arguments of each example."""
    buffer = np.empty(4, dtype=np.float64)

    def solver(z: Tensor, allowed: Tensor, name: str) -> np.ndarray:
        assert z.shape == (4,) and name == "unchanged"
        buffer[:] = 0
        buffer[np.where(allowed.numpy(), z.numpy(), -np.inf).argmax()] = 1
        return buffer

    def vectorized(z: Tensor, allowed: Tensor, name: str) -> Tensor:
        return ts.hard.argmax(torch.where(allowed, z, -1e9))

    allowed = torch.tensor([[True, True, False, True], [False, True, True, True]])
    theta = torch.randn(2, 4, dtype=torch.float64)
    target = torch.eye(4, dtype=torch.float64)[[0, 1]]
    results = []
    for f, flag in ((solver, False), (vectorized, True)):
        leaf = theta.clone().requires_grad_()
        loss = ts.fenchel_young_loss(
            f, ts.Logistic(), num_samples=32, vectorized=flag, reduction="none", seed=0
        )
        values = loss(leaf, target, allowed, "unchanged")
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
        results.append((values, gradient, loss.unperturbed(theta, target, allowed, "unchanged")))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("vectorized", [True, False])
def test_solver_may_write_into_its_scores(vectorized: bool) -> None:
    """<z, y - t> is that of the scores as they were: for argmax, max z - z of the target."""

    def solver(z: Tensor) -> Tensor:
        z -= z.amax(-1, keepdim=True)
        return z.eq_(0)

    theta = torch.tensor([[0.3, -0.2, 0.9], [1.0, 0.5, -2.0]], dtype=torch.float64)
    before, target = theta.clone(), FIRST.expand(2, 3)
    results = []
    for f in (solver, ts.hard.argmax):
        loss = ts.fenchel_young_loss(
            f, ts.Logistic(), num_samples=16, vectorized=vectorized, reduction="none", seed=0
        )
        results.append((loss(theta, target), loss.unperturbed(theta, target)))
    assert torch.equal(theta, before)
    torch.testing.assert_close(*results)
    torch.testing.assert_close(results[0][1], torch.tensor([0.6, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types(dtype: torch.dtype, device: torch.device) -> None:
    """Half types compute in float32, from a view that is not contiguous."""
    storage = torch.randn(5, 3, dtype=torch.float64, device=device).to(dtype)
    target = ts.hard.argmax(torch.randn(3, 5, device=device)).bool()

    def solver(z: Tensor) -> Tensor:
        assert z.dtype in (torch.float32, torch.float64)
        return ts.hard.argmax(z)

    loss = ts.fenchel_young_loss(
        solver, ts.Gaussian(), num_samples=64, reduction="none", seed=torch.tensor(3)
    )
    leaf = storage.clone().requires_grad_()
    values = loss(leaf.mT, target)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    exact = storage.double().requires_grad_()
    expected = loss(exact.mT, target)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), exact)
    assert values.dtype == dtype and gradient.dtype == dtype
    tolerance = dict(rtol=2 * torch.finfo(dtype).eps, atol=2 * torch.finfo(dtype).eps)
    torch.testing.assert_close(values.double(), expected, **tolerance)
    torch.testing.assert_close(gradient.double(), expected_gradient, **tolerance)


def test_reductions_and_shapes() -> None:
    theta, target = torch.randn(2, 3, 4, 5), ts.hard.argmax(torch.randn(2, 3, 4, 5))
    losses = {
        reduction: ts.fenchel_young_loss(
            ts.hard.argmax, ts.Gaussian(), num_samples=8, reduction=reduction, seed=0
        )(theta, target)
        for reduction in ("none", "mean", "sum")
    }
    assert losses["none"].shape == (2, 3, 4)
    torch.testing.assert_close(losses["mean"], losses["none"].mean())
    torch.testing.assert_close(losses["sum"], losses["none"].sum())


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_empty(shape: tuple[int, ...]) -> None:
    theta = torch.ones(shape, requires_grad=True)
    loss = ts.fenchel_young_loss(ts.hard.argmax, ts.Gaussian(), reduction="none")
    values = loss(theta, torch.ones(shape))
    (gradient,) = torch.autograd.grad(values.sum(), theta)
    assert torch.equal(values, torch.zeros(shape[0])) and gradient.shape == shape


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_stays_with_its_example(bad: float) -> None:
    theta = torch.tensor([[0.1, 0.2], [0.0, bad]], requires_grad=True)
    target = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    solver = solver_of(one_hot_vectors(2).float(), maximize=True)  # takes no notice
    loss = ts.fenchel_young_loss(solver, ts.Gaussian(), reduction="none", seed=0)
    for f in (loss, loss.unperturbed):
        values = f(theta, target)
        (gradient,) = torch.autograd.grad(values.sum(), theta)
        assert values[0].isfinite() and values[1].isnan()
        assert gradient[0].isfinite().all() and gradient[1].isnan().all()


def test_same_seed_same_loss() -> None:
    theta, target = torch.randn(4, 3), ts.hard.argmax(torch.randn(4, 3))
    loss = ts.fenchel_young_loss(ts.hard.argmax, ts.Gaussian(), num_samples=4)
    torch.manual_seed(1)
    first, second = loss(theta, target), loss(theta, target)
    torch.manual_seed(1)
    assert torch.equal(loss(theta, target), first) and not torch.equal(first, second)


def test_descent_finds_the_target() -> None:
    """Convex in theta: gradient steps reach scores whose solution is the target."""
    target = ts.hard.shortest_path(torch.rand(8, 4, 4))
    theta = torch.full((8, 4, 4), 2.0, requires_grad=True)
    loss = ts.fenchel_young_loss(
        ts.hard.shortest_path,
        ts.Triangular(0.5),
        num_samples=16,
        maximize=False,
        event_dim=2,
        reduction="sum",
        seed=0,
    )
    optimizer = torch.optim.SGD([theta], lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        loss(theta, target).backward()
        optimizer.step()
    assert theta.min() > 0.501  # no weight fell below min_weight
    assert torch.equal(ts.hard.shortest_path(theta), target)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_equals_eager() -> None:
    loss = ts.fenchel_young_loss(ts.hard.rank, ts.Gaussian(GAMMA), num_samples=16, seed=0)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    theta, target = torch.randn(4, 3), ts.hard.rank(torch.randn(4, 3))
    results = []
    for f in (loss, compiled):
        leaf = theta.clone().requires_grad_()
        value = f(leaf, target)
        results.append((value, *torch.autograd.grad(value, leaf)))
    torch.testing.assert_close(*results)
    torch._dynamo.reset()


def test_layer() -> None:
    """As the function; its scale is learned, and it is exact in evaluation on request."""
    theta, target = torch.randn(4, 3), ts.hard.argmax(torch.randn(4, 3))
    options: dict[str, Any] = dict(num_samples=16, seed=torch.tensor(0))
    layer = ts.nn.FenchelYoungLoss(
        ts.hard.argmax, ts.Gaussian(GAMMA), learn_scale=True, eval_mode="hard", **options
    )
    value = layer(theta, target)
    expected = ts.fenchel_young_loss(ts.hard.argmax, ts.Gaussian(GAMMA), **options)(theta, target)
    torch.testing.assert_close(value.detach(), expected)
    (gradient,) = torch.autograd.grad(value, layer.log_scale)
    assert gradient > 0  # more noise, larger expected maxima
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(theta, target), value)
    assert "FenchelYoungLoss(Gaussian(scale=0.7), learn_scale=True" in repr(layer)
    assert "solver=argmax, num_samples=16" in repr(layer)

    leaf = theta.clone().requires_grad_()
    hard = layer.eval()(leaf, target)
    best = ts.hard.argmax(theta)
    torch.testing.assert_close(hard.detach(), (theta * (best - target)).sum(-1).mean())
    (gradient,) = torch.autograd.grad(hard, leaf)
    torch.testing.assert_close(gradient, (best - target) / 4)


def test_layer_owns_a_solver_that_is_a_module() -> None:
    class Solver(torch.nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return ts.hard.argmax(z)

    layer = ts.nn.FenchelYoungLoss(Solver(), ts.Gaussian(), num_samples=4)
    assert isinstance(layer.solver, Solver) and "(solver): Solver()" in repr(layer)
    assert layer(torch.zeros(3), torch.tensor([1.0, 0.0, 0.0])).shape == ()


@pytest.mark.parametrize("make", [ts.fenchel_young_loss, ts.nn.FenchelYoungLoss])
@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(solver=3), TypeError, "solver must be callable, got int"),
        (dict(distribution=0.3), TypeError, "distribution must be a distribution of torchsmooth"),
        (dict(distribution=ts.Cauchy()), ValueError, "distribution must have a mean.*Cauchy"),
        (
            dict(distribution=ts.FromTorch(torch.distributions.Cauchy(0.0, 1.0))),
            ValueError,
            "distribution must have a mean.*FromTorch",
        ),
        (dict(num_samples=0), ValueError, "num_samples must be at least 1, got 0"),
        (dict(num_samples=8.0), TypeError, "num_samples must be an int, got 8.0"),
        (dict(sampler="halton"), ValueError, "sampler must be one of"),
        (dict(antithetic=1), TypeError, "antithetic must be True or False"),
        (dict(maximize="yes"), TypeError, "maximize must be True or False, got 'yes'"),
        (dict(event_dim=-1), ValueError, "event_dim must be at least 0"),
        (dict(vectorized=None), TypeError, "vectorized must be True or False"),
        (dict(chunk_size=0), ValueError, "chunk_size must be at least 1"),
        (
            dict(reduction="max"),
            ValueError,
            "reduction must be one of 'mean'.*got 'max'",
        ),
    ],
    ids=str,
)
def test_bad_options(
    make: Callable[..., Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"solver": ts.hard.argmax, "distribution": ts.Gaussian(), **options}
    with pytest.raises(error, match=message):
        make(**arguments)


ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    "theta, target, args, error, message",
    [
        ([0.0], ONE_HOT, (), TypeError, "theta must be a torch.Tensor, got list"),
        (ONE_HOT.long(), ONE_HOT, (), TypeError, "theta must be a floating-point tensor"),
        (torch.tensor(1.0), ONE_HOT, (), ValueError, "theta must have at least event_dim=1"),
        (ONE_HOT, [0, 1], (), TypeError, "target must be a torch.Tensor, got list"),
        (ONE_HOT, torch.tensor([0, 1]), (), ValueError, r"shape of theta.*\[2\].*not indices"),
        (ONE_HOT, ONE_HOT + 0j, (), TypeError, "target must hold real numbers.*target.real"),
        (
            ONE_HOT,
            ONE_HOT.clone().requires_grad_(),
            (),
            ValueError,
            "target must not require grad.*target.detach",
        ),
        (ONE_HOT, ONE_HOT, (torch.ones(3),), ValueError, r"args\[0\] must start with the batch"),
        (
            ONE_HOT,
            ONE_HOT,
            (1, torch.ones(2, requires_grad=True)),
            ValueError,
            r"args\[1\] must not require grad",
        ),
    ],
)
def test_bad_calls(
    theta: Any, target: Any, args: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    loss = ts.fenchel_young_loss(lambda z, *_: ts.hard.argmax(z), ts.Gaussian(), num_samples=8)
    for f in (loss, loss.unperturbed):
        with pytest.raises(error, match=message):
            f(theta, target, *args)


@pytest.mark.parametrize(
    "solver, error, message",
    [
        (lambda z: z.argmax(-1), ValueError, r"solver must return.*\[8, 3\], got \[8\].*indices"),
        (lambda z: [None], TypeError, "solver must return a tensor or a NumPy array, got list"),
        (lambda z: z + 0j, TypeError, "solver must return real numbers, got torch.complex64"),
        (lambda z: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_bad_solvers(solver: Callable[..., Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ts.fenchel_young_loss(solver, ts.Gaussian(), num_samples=8)(torch.zeros(3), ONE_HOT[0])


@pytest.mark.parametrize("maximize", [True, False])
def test_wrong_direction_is_seen(maximize: bool) -> None:
    """The wrong sign of every gradient."""
    loss = ts.fenchel_young_loss(
        lambda z: ts.hard.rank(z, descending=maximize), ts.Gaussian(), maximize=maximize, seed=0
    )
    theta, target = torch.randn(4, 5), ts.hard.rank(torch.randn(4, 5))
    with pytest.raises(ValueError, match=f"solver must .*pass maximize={not maximize}"):
        loss(theta, target)
    # One solution that is worse than its target proves nothing: that may be out of reach.
    loss = ts.fenchel_young_loss(
        lambda z: ts.hard.rank(z, descending=not maximize), ts.Gaussian(), maximize=maximize, seed=0
    )
    target[0] = (1e6 if maximize else -1e6) * theta[0]
    assert loss(theta, target) < 0


def test_sampling_is_checked_in_the_call() -> None:
    loss = ts.fenchel_young_loss(
        ts.hard.argmax, ts.Gaussian(), sampler="rqmc_cartesian", num_samples=10
    )
    with pytest.raises(ValueError, match="nearest valid: 8 or 27"):
        loss(torch.zeros(3), ONE_HOT[0])
    with pytest.raises(ValueError, match="at least 2 for covariate='loo'"):
        loss = ts.fenchel_young_loss(ts.hard.argmax, ts.Gaussian(), num_samples=1)
        theta = torch.zeros(3, requires_grad=True)
        torch.autograd.grad(loss(theta, ONE_HOT[0]), theta, create_graph=True)
