"""The gradient of black-box solvers against the interpolation that it is the slope of."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from problems import grid_paths, one_hot_vectors, permutations, solver_of
from torch import Tensor

import torchsmooth as ts


PROBLEMS = {
    "argmax": one_hot_vectors(4),
    "ranking": permutations(4),
    "paths": grid_paths(3, 3),
    "any set": torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.9], [0.0, 0.0]]).double(),
}


def interpolated(theta: Tensor, costs: Tensor, solutions: Tensor, maximize: bool, lambda_: float):
    """f_lambda of f(y) = <costs, y> (Vlastelica et al., section 3.2), over all solutions [c, n].

    min over y of { f(y) + (c(theta, y) - min c(theta, .)) / lambda }, where c(theta, y) is what the
    solver minimises: <theta, y>, or its negative.
    """
    sign = -1 if maximize else 1
    objective = sign * theta @ solutions.mT
    gap = (objective - objective.amin(-1, keepdim=True)) / lambda_
    return (costs @ solutions.mT + gap).amin(-1)


@pytest.mark.parametrize("lambda_", [0.3, 2.0, 50.0])
@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_is_the_slope_of_the_interpolation(problem: str, maximize: bool, lambda_: float) -> None:
    """By finite differences of all solutions' costs, at 50 points; and the value is exact."""
    solutions = PROBLEMS[problem]
    event = solutions.shape[1:]
    theta = torch.randn(50, *event, dtype=torch.float64).requires_grad_()
    costs = torch.randn(50, *event, dtype=torch.float64)
    solver = solver_of(solutions, maximize=maximize)
    g = ts.blackbox(solver, lambda_, maximize=maximize, event_dim=len(event))
    solution = g(theta)
    assert torch.equal(solution, solver(theta.detach()))
    (gradient,) = torch.autograd.grad((costs * solution).sum(), theta)

    flat = solutions.flatten(1)
    rows, slopes = theta.detach().flatten(1), costs.flatten(1)
    step = 1e-6
    for i in range(flat.shape[1]):
        up, down = rows.clone(), rows.clone()
        up[:, i] += step
        down[:, i] -= step
        high = interpolated(up, slopes, flat, maximize, lambda_)
        low = interpolated(down, slopes, flat, maximize, lambda_)
        torch.testing.assert_close(
            gradient.flatten(1)[:, i], (high - low) / (2 * step), rtol=1e-6, atol=1e-6
        )


def test_by_hand() -> None:
    """A maximiser of two: the loss is the first entry; moved, the second one wins from 1 on."""
    for lambda_, expected in ((0.9, [0.0, 0.0]), (1.25, [0.8, -0.8])):
        theta = torch.tensor([1.0, 0.0], requires_grad=True)
        ts.blackbox(ts.hard.argmax, lambda_)(theta)[0].backward()
        assert theta.grad.tolist() == pytest.approx(expected)


def test_descent_finds_the_shortest_path() -> None:
    target = ts.hard.shortest_path(torch.rand(8, 4, 4))
    theta = torch.ones(8, 4, 4, requires_grad=True)
    path = ts.blackbox(ts.hard.shortest_path, 1.0, maximize=False, event_dim=2)
    optimizer = torch.optim.SGD([theta], lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        y = path(theta)
        # The Hamming distance; its slope is not 0 where y is right, as that of |y - target| is.
        (target * (1 - y) + (1 - target) * y).sum().backward()
        optimizer.step()
    assert torch.equal(path(theta), target)


@pytest.mark.parametrize("solver", [ts.hard.rank, lambda z: ts.hard.topk(z, 2).sum(-2)])
def test_hard_algorithms(solver: Callable[[Tensor], Tensor]) -> None:
    theta, costs = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    y = ts.blackbox(solver, 3.0)(theta)
    (gradient,) = torch.autograd.grad((costs * y).sum(), theta)
    torch.testing.assert_close(gradient, (y.detach() - solver(theta - 3 * costs)) / 3)


def test_solver_is_called_once_in_each_pass() -> None:
    seen: list[int] = []

    def solver(z: Tensor) -> np.ndarray:
        assert not torch.is_grad_enabled()
        seen.append(len(z))
        return z.numpy().argsort(-1).argsort(-1)  # integers, and no graph

    theta = torch.randn(2, 5, 3, requires_grad=True)
    y = ts.blackbox(solver, 1.0)(theta)
    assert seen == [10]
    torch.autograd.grad((y * torch.randn(2, 5, 3)).sum(), theta)
    assert seen == [10, 10]


def test_one_event_at_a_time_with_numpy() -> None:
    """With an array that is filled again, and arguments of each example."""
    buffer = np.empty(3)

    def solver(z: Tensor, allowed: Tensor, name: str) -> np.ndarray:
        assert z.shape == (3,) and name == "unchanged"
        buffer[:] = 0
        buffer[np.where(allowed.numpy(), z.numpy(), -np.inf).argmax()] = 1
        return buffer

    def vectorized(z: Tensor, allowed: Tensor, name: str) -> Tensor:
        return ts.hard.argmax(torch.where(allowed, z, -1e9))

    allowed = torch.tensor([[[True, True, False]], [[False, True, True]]])
    theta = torch.randn(2, 1, 3, requires_grad=True)
    costs = torch.randn(2, 1, 3)
    results = []
    for f, flag in ((solver, False), (vectorized, True)):
        y = ts.blackbox(f, 5.0, vectorized=flag)(theta, allowed, "unchanged")
        results.append((y, *torch.autograd.grad((costs * y).sum(), theta)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("vectorized", [True, False])
def test_solver_may_write_into_its_scores(vectorized: bool) -> None:
    def solver(z: Tensor) -> Tensor:
        z -= z.amax(-1, keepdim=True)
        return z.eq_(0)

    theta = torch.tensor([[1.0, 0.0, -3.0]], requires_grad=True)
    y = ts.blackbox(solver, 2.0, vectorized=vectorized)(theta)
    assert torch.equal(theta, torch.tensor([[1.0, 0.0, -3.0]]))
    # The same numbers as in the docstring.
    (gradient,) = torch.autograd.grad((y * torch.tensor([1.0, 0.0, 0.5])).sum(), theta)
    torch.testing.assert_close(gradient, torch.tensor([[0.5, -0.5, 0.0]]))


def test_arguments_that_change_between_the_passes_are_seen() -> None:
    """Or the second solution would be that of another problem."""

    def solver(z: Tensor, moved: Tensor) -> Tensor:
        return ts.hard.argmax(z + moved)

    theta, moved = torch.randn(2, 3, requires_grad=True), torch.zeros(2, 3)
    y = ts.blackbox(solver, 1.0)(theta, moved)
    moved.fill_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types(dtype: torch.dtype, device: torch.device) -> None:
    storage = torch.randn(4, 3, dtype=torch.float64, device=device).to(dtype).requires_grad_()
    y = ts.blackbox(ts.hard.rank, 4.0)(storage.mT)
    (gradient,) = torch.autograd.grad(y[:, 0].sum(), storage)
    exact = storage.detach().double().requires_grad_()
    expected = ts.blackbox(ts.hard.rank, 4.0)(exact.mT)
    (expected_gradient,) = torch.autograd.grad(expected[:, 0].sum(), exact)
    assert y.dtype == dtype and gradient.dtype == dtype
    assert torch.equal(y.double(), expected)
    assert torch.equal(gradient.double(), expected_gradient)  # quarters are exact


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_empty(shape: tuple[int, ...]) -> None:
    theta = torch.ones(shape, requires_grad=True)
    y = ts.blackbox(ts.hard.argmax, 1.0)(theta)
    (gradient,) = torch.autograd.grad(y.sum(), theta)
    assert y.shape == gradient.shape == shape


def test_nan_stays_with_its_example() -> None:
    """NaN in the input, and NaN in the gradient that comes from above."""
    solver = solver_of(one_hot_vectors(2).float(), maximize=True)  # takes no notice
    theta = torch.tensor([[0.1, 0.2], [0.0, math.inf], [0.3, 0.1]], requires_grad=True)
    y = ts.blackbox(solver, 1.0)(theta)
    assert y[[0, 2]].isfinite().all() and y[1].isnan().all()
    upstream = torch.tensor([[1.0, 0.0], [1.0, 0.0], [math.nan, 0.0]])
    (gradient,) = torch.autograd.grad(y, theta, upstream)
    assert gradient[0].isfinite().all() and gradient[1:].isnan().all()


def test_second_derivatives_raise() -> None:
    theta = torch.randn(3, requires_grad=True)
    y = ts.blackbox(ts.hard.argmax, 1.0)(theta)
    (gradient,) = torch.autograd.grad(y.square().sum(), theta, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(gradient.sum(), theta)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_equals_eager() -> None:
    g = ts.blackbox(ts.hard.rank, 2.0)
    compiled = torch.compile(g, fullgraph=True, backend="aot_eager")
    theta, costs = torch.randn(4, 3), torch.randn(4, 3)
    results = []
    for f in (g, compiled):
        leaf = theta.clone().requires_grad_()
        y = f(leaf)
        results.append((y, *torch.autograd.grad((costs * y).sum(), leaf)))
    torch.testing.assert_close(*results)
    torch._dynamo.reset()


def test_layer() -> None:
    layer = ts.nn.BlackBox(ts.hard.shortest_path, 2.0, maximize=False, event_dim=2)
    function = ts.blackbox(ts.hard.shortest_path, 2.0, maximize=False, event_dim=2)
    theta, costs = torch.rand(4, 3, 3), torch.randn(4, 3, 3)
    results = []
    for f in (layer, function, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        leaf = theta.clone().requires_grad_()
        y = f(leaf)
        results.append((y, *torch.autograd.grad((costs * y).sum(), leaf)))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])
    assert torch.equal(layer.eval()(theta), ts.hard.shortest_path(theta))
    shown = "solver=shortest_path, lambda_=2.0, maximize=False, event_dim=2, vectorized=True"
    assert f"BlackBox({shown})" in repr(layer)


@pytest.mark.parametrize("make", [ts.blackbox, ts.nn.BlackBox])
@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(solver=3), TypeError, "solver must be callable, got int"),
        (dict(lambda_="big"), TypeError, "lambda_ must be a number, got 'big'"),
        (dict(lambda_=True), TypeError, "lambda_ must be a number, got True"),
        (dict(lambda_=0), ValueError, "lambda_ must be finite and positive, got 0"),
        (dict(lambda_=-1.0), ValueError, "positive, got -1.0.*maximize=False"),
        (dict(lambda_=math.inf), ValueError, "lambda_ must be finite"),
        (dict(lambda_=math.nan), ValueError, "lambda_ must be finite"),
        (dict(maximize=1), TypeError, "maximize must be True or False, got 1"),
        (dict(event_dim=-1), ValueError, "event_dim must be at least 0"),
        (dict(vectorized=None), TypeError, "vectorized must be True or False"),
    ],
    ids=str,
)
def test_bad_options(
    make: Callable[..., Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"solver": ts.hard.argmax, "lambda_": 1.0, **options}
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    "theta, args, error, message",
    [
        ([0.0], (), TypeError, "theta must be a torch.Tensor, got list"),
        (torch.tensor([1, 2]), (), TypeError, "theta must be a floating-point tensor"),
        (torch.tensor(1.0), (), ValueError, "theta must have at least event_dim=1"),
        (torch.ones(2, 3), (torch.ones(3),), ValueError, r"args\[0\] must start with the batch"),
        (
            torch.ones(2, 3),
            (1, torch.ones(2, requires_grad=True)),
            ValueError,
            r"args\[1\] must not require grad",
        ),
    ],
)
def test_bad_calls(theta: Any, args: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ts.blackbox(lambda z, *_: ts.hard.argmax(z), 1.0)(theta, *args)


@pytest.mark.parametrize(
    "solver, error, message",
    [
        (lambda z: z.argmax(-1), ValueError, r"solver must return.*\[2, 3\], got \[2\].*indices"),
        (lambda z: "y", TypeError, "solver must return a tensor or a NumPy array, got str"),
        (lambda z: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_bad_solvers(solver: Callable[..., Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ts.blackbox(solver, 1.0)(torch.zeros(2, 3))
