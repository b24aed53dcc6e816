"""Shortest paths against scipy's Dijkstra, and against all paths of a small grid."""

import functools
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from facts import replicate
from laws import FACTS
from paths import (
    LEAST,
    SCALE,
    WEIGHT,
    X,
    all_paths,
    assert_cheapest,
    assert_is_path,
    assert_same_mean,
    dijkstra_cost,
    expected,
    random_weights,
)
from torch import Tensor

import torchsmooth as ts
from torchsmooth._kernels import reference as reference
from torchsmooth.distributions import LAWS


OPS = torch.ops.torchsmooth
DTYPES = [torch.float32, torch.float64]

# --- the exact algorithm ---------------------------------------------------------------------


@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", range(4))
def test_cost_is_dijkstras(
    kind: int, dtype: torch.dtype, neighbors: int, device: torch.device
) -> None:
    for height, width in ((1, 1), (1, 7), (6, 1), (2, 2), (3, 5), (12, 12), (17, 9)):
        weights = random_weights(kind, (18, height, width)).to(dtype)
        ends = torch.randint(height * width, (2,)).tolist()
        for first, last in ((0, height * width - 1), ends):
            source, target = divmod(first, width), divmod(last, width)
            path = ts.hard.shortest_path(
                weights.to(device), neighbors=neighbors, source=source, target=target
            ).cpu()
            assert path.dtype == dtype and path.shape == weights.shape
            assert_cheapest(weights, path, neighbors, source, target, 1e-3)
            if kind < 3:
                for indicator in path.numpy():
                    assert_is_path(indicator, neighbors, source, target)


def test_large_grids(device: torch.device) -> None:
    weights = torch.rand(3, 96, 97)
    path = ts.hard.shortest_path(weights.to(device)).cpu()
    assert_cheapest(weights, path, 8, (0, 0), (95, 96), 1e-3)


def test_mazes(device: torch.device) -> None:
    """A way that winds through all of the grid, so that sweeps do little."""
    weights = torch.full((1, 15, 15), 1e6)
    weights[:, ::2] = 1
    weights[:, 1::4, -1] = weights[:, 3::4, 0] = 1
    path = ts.hard.shortest_path(weights.to(device), neighbors=4, target=(-1, 0)).cpu()
    torch.testing.assert_close(path, (weights == 1).float())


def staircases(side: int) -> Tensor:
    """Diagonal corridors of steps, joined at their ends in turn: every step is a turn."""
    row, column = torch.arange(side).unsqueeze(1), torch.arange(side)
    diagonal = row + column
    door = torch.where(diagonal // 4 % 2 == 0, column < 2, row < 2)
    return torch.where((diagonal % 4 < 2) | door, 1.0, 1e4)


@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grids", [1, 2, 16, 17])
def test_searched_paths_are_the_twins(grids: int, dtype: torch.dtype, neighbors: int) -> None:
    """Ties included, where sweeps give up and where they are not tried."""
    kinds = [random_weights(kind, (grids, 24, 24)) for kind in range(4)]
    mazes = staircases(24).expand(grids, 24, 24) * torch.randint(1, 3, (grids, 24, 24))
    for weights in (*kinds, mazes):
        arguments = (weights.to(dtype), neighbors, 0, 24 * 24 - 1, 1e-3)
        path = torch.ops.torchsmooth.hard_shortest_path(*arguments)
        assert torch.equal(path, reference.hard_shortest_path(*arguments))


def test_mazes_take_no_longer_than_dijkstra() -> None:
    """The best of three, against twice scipy's best of three."""
    weights = staircases(384).double()
    times, costs = [], []
    for _ in range(3):
        start = time.perf_counter()
        path = ts.hard.shortest_path(weights, neighbors=4)
        middle = time.perf_counter()
        costs.append(dijkstra_cost(weights.numpy(), 4, (0, 0), (383, 383)))
        times.append((middle - start, time.perf_counter() - middle))
    assert float((path * weights).sum()) == costs[0]
    ours, scipys = (min(pair) for pair in zip(*times, strict=True))
    assert ours <= 2 * scipys


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_that_vanish_in_sums(dtype: torch.dtype, device: torch.device) -> None:
    """Behind a wall, steps do not change the sum; paths stay simple, and reach the other end."""
    weights = torch.full((1, 9, 9), 1e-3, dtype=dtype)
    weights[:, 4] = 1e18
    path = ts.hard.shortest_path(weights.to(device)).cpu()[0].numpy()
    assert_is_path(path, 8, (0, 0), (8, 8))
    assert path[4].sum() == 1


def test_free_cells(device: torch.device) -> None:
    """Without a least weight all paths of zeros cost the same: one of the fewest steps is taken."""
    weights = torch.zeros(1, 7, 7, device=device)
    path = ts.hard.shortest_path(weights, min_weight=0)
    torch.testing.assert_close(path[0], torch.eye(7, device=device))
    path = ts.hard.shortest_path(weights, neighbors=4, min_weight=0).cpu()[0].numpy()
    assert_is_path(path, 4, (0, 0), (6, 6))


def test_ties_go_to_the_first_in_row_major_order(device: torch.device) -> None:
    """Going back from the target, among the neighbors that are cheapest to reach."""
    weights = torch.ones(3, 3, device=device)
    straight = ts.hard.shortest_path(weights, target=(0, 2))
    torch.testing.assert_close(straight.cpu(), torch.tensor([[1.0, 1, 1], [0, 0, 0], [0, 0, 0]]))
    around = ts.hard.shortest_path(weights, neighbors=4)
    torch.testing.assert_close(around.cpu(), torch.tensor([[1.0, 1, 1], [0, 0, 1], [0, 0, 1]]))
    back = ts.hard.shortest_path(weights, source=(2, 2), target=(0, 0), neighbors=4)
    torch.testing.assert_close(back.cpu(), torch.tensor([[1.0, 1, 1], [0, 0, 1], [0, 0, 1]]))
    there = ts.hard.shortest_path(weights, source=(2, 0), target=(2, 2))
    torch.testing.assert_close(there.cpu(), torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 0, 1]]))


def test_largest_and_smallest_weights(device: torch.device) -> None:
    weights = torch.tensor([[1.0, 3e38, 3e38], [3e38, 3e38, 1.0], [3e38, 1e-45, -5.0]])
    path = ts.hard.shortest_path(weights.to(device), neighbors=4).cpu()
    assert_is_path(path.numpy(), 4, (0, 0), (2, 2))
    assert path.sum() == 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_numbers_stay_in_their_grid(bad: float, device: torch.device) -> None:
    weights = torch.rand(20, 4, 5, device=device)
    clean = ts.hard.shortest_path(weights), smoothed(weights)
    weights[3, 1, 2] = bad
    others = torch.arange(20, device=device) != 3
    for path, before in zip(
        (ts.hard.shortest_path(weights), smoothed(weights)), clean, strict=True
    ):
        assert path[3].isnan().all()
        torch.testing.assert_close(path[others], before[others], rtol=0, atol=0)


# --- the kernels and their twins -------------------------------------------------------------


@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_hard_paths_are_the_twins(dtype: torch.dtype, neighbors: int, device: torch.device) -> None:
    """Cell by cell: the rule for ties leaves no choice."""
    for kind in range(4):
        for height, width in ((1, 1), (1, 9), (8, 1), (4, 3), (12, 12)):
            weights = random_weights(kind, (35, height, width)).to(dtype)
            weights[::7, 0, 0] = math.nan
            source, target = torch.randint(height * width, (2,)).tolist()
            arguments = (neighbors, source, target, 1e-3)
            actual = OPS.hard_shortest_path(weights.to(device), *arguments).cpu()
            expected = reference.hard_shortest_path(weights, *arguments)
            torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def arguments_of(
    dtype: torch.dtype, sampler: str, antithetic: bool, scale: str, law: str, neighbors: int
) -> dict[str, Any]:
    """Elements with weights that are far apart, so that no rounding of the noise moves a path."""
    elements, height, width, s = 3, 4, 5, 36
    n = height * width
    shape = {"11": (1, 1), "B1": (elements, 1), "1n": (1, n), "Bn": (elements, n)}[scale]
    return {
        "x": 1 + 3 * torch.rand(elements, height, width, dtype=dtype),
        "scale": 0.2 + 0.2 * torch.rand(shape, dtype=dtype),
        "seed": torch.tensor(-0x0123456789ABCDEF),
        "directions": ts.samplers.SAMPLERS[sampler].directions(n, torch.device("cpu")),
        "law": law,
        "sampler": sampler,
        "antithetic": antithetic,
        "num_samples": s,
        "neighbors": neighbors,
        "source": 1,
        "target": n - 1,
        "min_weight": 1e-3,
    }


def on(device: torch.device, arguments: dict[str, Any]) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in arguments.items()}


@pytest.mark.parametrize("scale", ["11", "B1", "1n", "Bn"])
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("sampler", ["mc", "rqmc_latin", "sobol"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ops_are_the_twins(
    dtype: torch.dtype, sampler: str, antithetic: bool, scale: str, device: torch.device
) -> None:
    for law, neighbors in zip(LAWS, itertools.cycle((4, 8)), strict=False):
        arguments = arguments_of(dtype, sampler, antithetic, scale, law, neighbors)
        mean = OPS.shortest_path(**on(device, arguments)).cpu()
        torch.testing.assert_close(mean, reference.shortest_path(**arguments), rtol=0, atol=1e-6)
        arguments |= {
            "grad": torch.randn_like(arguments["x"]),
            "baseline": torch.randn(3, dtype=dtype),
            "factor": 1 / 36,
            "pair_weight": 1 / 34 if antithetic else 0.0,
            "scale_gradient": True,
        }
        actual = OPS.shortest_path_backward(**on(device, arguments))
        expected = reference.shortest_path_backward(**arguments)
        for a, e in zip(actual, expected, strict=True):
            largest = float(e.abs().max())
            torch.testing.assert_close(
                a.cpu(), e, rtol=0, atol=1e3 * torch.finfo(dtype).eps * max(1.0, largest)
            )


@pytest.mark.parametrize("size", [(6, 160), (40, 40), (96, 96)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_grids_are_the_twins(
    dtype: torch.dtype, size: tuple[int, int], device: torch.device
) -> None:
    """In float32 the first fills what a CUDA block has unasked, to the last byte.

    In float64, with the scale's gradient, the last is larger than all that a block can have.
    """
    n = size[0] * size[1]
    arguments = arguments_of(dtype, "mc", False, "11", "logistic", 8)
    arguments |= {
        "x": 1 + 9 * torch.rand(2, *size, dtype=dtype),
        "num_samples": 5,
        "source": 0,
        "target": n - 1,
    }
    mean = OPS.shortest_path(**on(device, arguments)).cpu()
    torch.testing.assert_close(mean, reference.shortest_path(**arguments), rtol=0, atol=1e-6)
    arguments |= {
        "grad": torch.randn(2, *size, dtype=dtype),
        "baseline": torch.randn(2, dtype=dtype),
        "factor": 0.2,
        "pair_weight": 0.0,
    }
    for scale_gradient in (False, True):
        arguments["scale_gradient"] = scale_gradient
        actual = OPS.shortest_path_backward(**on(device, arguments))
        expected = reference.shortest_path_backward(**arguments)
        for a, e in zip(actual, expected, strict=True):
            atol = 1e3 * torch.finfo(dtype).eps * float(e.abs().max()) if e.numel() else 0.0
            torch.testing.assert_close(a.cpu(), e, rtol=0, atol=atol)


def smoothed(weights: Tensor, distribution: Any = None, **options: Any) -> Tensor:
    law = distribution or ts.Logistic(0.5)
    return ts.functional.shortest_path(weights, law, **{"num_samples": 32, "seed": 3, **options})


def value_and_gradients(f: Callable[..., Tensor], x: Tensor, scale: Tensor) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in (x, scale)]
    value = f(*leaves)
    weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(0)).to(value)
    return [value, *torch.autograd.grad(value, leaves, weight)]


def assert_equal_to_rounding(actual: list[Tensor], expected: list[Tensor]) -> None:
    for a, e in zip(actual, expected, strict=True):
        atol = 1e3 * torch.finfo(e.dtype).eps * max(1.0, float(e.detach().abs().max()))
        torch.testing.assert_close(a, e, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "covariate, sampler, antithetic",
    [
        ("none", "mc", True),
        ("fx", "sobol", False),
        ("loo", "mc", False),
        ("loo", "mc", True),
        ("loo", "rqmc_latin", False),
        ("loo", "rqmc_cartesian", False),
    ],
)
def test_fused_road_is_the_generic_road(
    covariate: str, sampler: str, antithetic: bool, device: torch.device
) -> None:
    options: dict[str, Any] = {
        "num_samples": 64,
        "sampler": sampler,
        "antithetic": antithetic,
        "covariate": covariate,
        "seed": 3,
    }
    path: dict[str, Any] = {"neighbors": 4, "source": (1, 0), "target": (0, -1)}
    x = 1 + 3 * torch.rand(3, 2, 2, 3, dtype=torch.float64, device=device)
    for shape in ((), (2, 3), (3, 2, 2, 3)):
        scale = 0.5 + torch.rand(shape, dtype=torch.float64, device=device)
        fused = value_and_gradients(
            lambda x, g: ts.functional.shortest_path(x, ts.Laplace(g), **path, **options), x, scale
        )
        hard = functools.partial(ts.hard.shortest_path, **path)
        generic = value_and_gradients(
            lambda x, g, hard=hard: ts.smooth(hard, ts.Laplace(g), event_dim=2, **options)(x),
            x,
            scale,
        )
        assert_equal_to_rounding(fused, generic)


def test_scale_matrix_takes_the_generic_road() -> None:
    x = 1 + 3 * torch.rand(3, 2, 3, dtype=torch.float64)
    matrix = torch.randn(6, 6, dtype=torch.float64) + 3 * torch.eye(6, dtype=torch.float64)
    actual = value_and_gradients(
        lambda x, m: smoothed(x, ts.Gumbel(scale_matrix=m), target=(0, 2)), x, matrix
    )
    hard = functools.partial(ts.hard.shortest_path, target=(0, 2))
    expected = value_and_gradients(
        lambda x, m: ts.smooth(
            hard, ts.Gumbel(scale_matrix=m), event_dim=2, num_samples=32, seed=3
        )(x),
        x,
        matrix,
    )
    assert_equal_to_rounding(actual, expected)


def test_laws_of_torch_take_the_generic_road() -> None:
    x = 1 + torch.rand(2, 3, 3, dtype=torch.float64)
    zero, one = torch.zeros((), dtype=x.dtype), torch.ones((), dtype=x.dtype)
    law = ts.FromTorch(torch.distributions.Normal(zero, one))
    torch.testing.assert_close(smoothed(x, law), smoothed(x, ts.Gaussian()), rtol=0, atol=1e-12)


def test_without_noise_worth_the_name_it_is_the_hard_algorithm(device: torch.device) -> None:
    x = random_weights(1, (5, 8, 9)).to(device)
    value = smoothed(x, ts.Triangular(1e-9))
    torch.testing.assert_close(value, ts.hard.shortest_path(x), rtol=0, atol=0)


def test_noise_that_overflows_is_a_large_weight(device: torch.device) -> None:
    x = torch.full((1, 4, 4), 1e38, device=device)
    value = smoothed(x, ts.Cauchy(1e38), num_samples=256)
    assert (value >= 0).all() and (value <= 1).all() and value[0, 0, 0] == value[0, 3, 3] == 1


# --- against all paths -----------------------------------------------------------------------


def test_number_of_paths() -> None:
    """Of self-avoiding walks from corner to corner of a lattice (OEIS A007764, A140518)."""
    assert len(all_paths(4)) == 12
    assert len(all_paths(8)) == 235


CASES = [
    *((law, 8, "mc", "loo") for law in LAWS),
    ("logistic", 4, "mc", "loo"),
    ("logistic", 8, "mc", "none"),
    ("logistic", 8, "mc", "fx"),
    ("logistic", 8, "sobol", "fx"),
    ("gumbel", 8, "rqmc_latin", "none"),
]


@pytest.mark.parametrize("law, neighbors, sampler, covariate", CASES)
def test_mean_and_gradients(law: str, neighbors: int, sampler: str, covariate: str) -> None:
    """Estimators without bias alone: of stratified points, leave-one-out has a little."""
    weights = replicate(X, 400)
    scale = torch.full((400, 3, 3), SCALE, dtype=torch.float64, requires_grad=True)
    path = ts.functional.shortest_path(
        weights,
        LAWS[law](scale),
        neighbors=neighbors,
        min_weight=LEAST,
        num_samples=512,
        sampler=sampler,
        covariate=covariate,
        seed=5,
    )
    in_x, in_scale = torch.autograd.grad((WEIGHT * path).sum(), (weights, scale))
    mean, known_x, known_scale = expected(law, neighbors)
    assert_same_mean(path, mean, 0.01)
    # The score's variance is infinite for laws on [-1, 1], see `facts.assert_mean_gradient`.
    sigmas, resolution = (4.0, 0.12) if FACTS[law].score_moments > 2 else (8.0, 0.5)
    assert_same_mean(in_x, known_x, resolution, sigmas)
    assert_same_mean(in_scale, known_scale, 2 * resolution, sigmas)


# --- shapes, types, threads, compilers -------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(3, 4), (2, 3, 4), (2, 1, 3, 4), (0, 3, 4), (1, 1), (2, 1, 1), (2, 1, 5), (4, 1)]
)
def test_shapes(shape: tuple[int, ...], device: torch.device) -> None:
    x = (1 + torch.rand(shape, device=device)).requires_grad_()
    value = smoothed(x)
    assert value.shape == shape
    (gradient,) = torch.autograd.grad(value.square().sum(), x)
    assert gradient.shape == shape and gradient.isfinite().all()
    assert ts.hard.shortest_path(x).shape == shape
    if value.numel():
        ends = value.detach().flatten(0, -3) if len(shape) > 2 else value.detach().unsqueeze(0)
        assert (ends[:, 0, 0] == 1).all() and (ends[:, -1, -1] == 1).all()


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (2, 0, 4)])
def test_no_cells(shape: tuple[int, ...], device: torch.device) -> None:
    x = torch.rand(shape, device=device, requires_grad=True)
    value = smoothed(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.shape == gradient.shape == ts.hard.shortest_path(x).shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES])
def test_dtypes(dtype: torch.dtype, device: torch.device) -> None:
    """Half types are computed in float32."""
    x = (1 + torch.rand(3, 5, 6, device=device)).to(dtype)
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    for f in (smoothed, ts.hard.shortest_path):
        assert f(x).dtype == dtype
        torch.testing.assert_close(f(x), f(x.to(compute)).to(dtype), rtol=0, atol=0)


def test_strides(device: torch.device) -> None:
    x = 1 + torch.rand(5, 6, 3, device=device)
    for view in (x.movedim(-1, 0), x[::2, ::3], x[:1].expand(4, 6, 3), x.flip(0)):
        for f in (smoothed, ts.hard.shortest_path):
            torch.testing.assert_close(f(view), f(view.contiguous()), rtol=0, atol=0)


def test_number_of_threads_changes_nothing(threads: Callable[[int], None]) -> None:
    x = (1 + torch.rand(2, 12, 12)).requires_grad_()
    results = []
    for number in (1, 2, 3):
        threads(number)
        value = smoothed(x, num_samples=3000)
        results.append((value, *torch.autograd.grad(value.square().sum(), x)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


def test_elements_do_not_depend_on_the_batch_behind_them(device: torch.device) -> None:
    x = 1 + torch.rand(5, 4, 4, device=device)
    torch.testing.assert_close(smoothed(x)[:2], smoothed(x[:2]), rtol=0, atol=0)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_equals_eager(device: torch.device) -> None:
    def f(x: Tensor, scale: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        law = ts.Logistic(scale)
        path = ts.functional.shortest_path(x, law, num_samples=16, covariate="fx", seed=seed)
        return path, ts.hard.shortest_path(x)

    torch._dynamo.reset()
    results = []
    for function in (f, torch.compile(f, fullgraph=True, backend="aot_eager")):
        x = torch.linspace(1, 3, 40).reshape(2, 4, 5).to(device).requires_grad_()
        scale = torch.tensor(0.5, device=device, requires_grad=True)
        path, hard = function(x, scale, torch.tensor(7, device=device))
        results.append((path, hard, *torch.autograd.grad(path.square().sum(), (x, scale))))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    torch._dynamo.reset()


def test_cells_may_be_integers_of_numpy() -> None:
    """As `divmod(weights.argmin(), width)` gives them."""
    x = 1 + torch.rand(3, 4)
    source, target = tuple(np.array([1, 0])), tuple(np.array([-1, 2]))
    options: dict[str, Any] = {"source": source, "target": target, "neighbors": np.int64(4)}
    expected: dict[str, Any] = {"source": (1, 0), "target": (-1, 2), "neighbors": 4}
    assert torch.equal(ts.hard.shortest_path(x, **options), ts.hard.shortest_path(x, **expected))
    assert torch.equal(smoothed(x, **options), smoothed(x, **expected))


# --- bad input -------------------------------------------------------------------------------

ONE = torch.ones(2, 3)
BAD = [
    ({"weights": torch.ones(3)}, ValueError, "weights must have at least two dimensions"),
    ({"weights": ONE.long()}, TypeError, "weights must be a floating-point tensor"),
    ({"weights": [[1.0]]}, TypeError, "weights must be a torch.Tensor, got list"),
    ({"neighbors": 6}, ValueError, "neighbors must be 4 or 8, got 6"),
    ({"neighbors": True}, ValueError, "neighbors must be 4 or 8, got True"),
    ({"neighbors": torch.tensor([4, 8])}, ValueError, "neighbors must be 4 or 8, got tensor"),
    (
        {"source": (2, 0)},
        ValueError,
        "a cell of the grid of 2 x 3 cells, got (2, 0)",
    ),
    ({"target": (0, -4)}, ValueError, "target must be a cell of the grid of 2 x 3 cells"),
    ({"source": 0}, TypeError, "source must be a (row, column) of two ints, got 0"),
    ({"target": (0, 1, 2)}, TypeError, "target must be a (row, column) of two ints"),
    ({"target": (0.0, 1)}, TypeError, "target must be a (row, column) of two ints"),
    ({"min_weight": -1.0}, ValueError, "min_weight must be finite and >= 0, got -1.0"),
    ({"min_weight": math.nan}, ValueError, "min_weight must be finite and >= 0, got nan"),
    ({"min_weight": "0"}, TypeError, "min_weight must be a number, got '0'"),
]
BAD_SAMPLING = [
    ({"distribution": 0.5}, TypeError, "distribution must be a distribution of torchsmooth"),
    ({"num_samples": 0}, ValueError, "num_samples must be at least 1, got 0"),
    ({"num_samples": 1}, ValueError, "num_samples must be at least 2"),
    ({"num_samples": 65, "sampler": "rqmc_cartesian"}, ValueError, "64 or 729"),
    ({"antithetic": 1}, TypeError, "antithetic must be True or False, got 1"),
    ({"covariate": "mean"}, ValueError, "covariate must be one of"),
    ({"distribution": ts.Logistic(torch.ones(3, 2))}, ValueError, "scale must broadcast against"),
]


@pytest.mark.parametrize("options, error, part", [*BAD, *BAD_SAMPLING])
def test_bad_input(options: dict[str, Any], error: type[Exception], part: str) -> None:
    with pytest.raises(error) as caught:
        smoothed(**{"weights": ONE, **options})
    assert part in str(caught.value)


@pytest.mark.parametrize("options, error, part", BAD)
def test_bad_input_of_the_exact_algorithm(
    options: dict[str, Any], error: type[Exception], part: str
) -> None:
    with pytest.raises(error) as caught:
        ts.hard.shortest_path(**{"weights": ONE, **options})
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "changed, part",
    [
        ({"x": torch.ones(2, 6)}, "x must be contiguous of shape [B, H, W]"),
        ({"neighbors": 5}, "neighbors must be 4 or 8, got 5"),
        ({"source": 20}, "source and target must lie in [0, 20)"),
        ({"target": -1}, "source and target must lie in [0, 20)"),
        ({"min_weight": -1.0}, "min_weight must be finite and >= 0"),
        ({"scale": torch.ones(1, 1)}, "scale must have x's dtype"),
        ({"scale": torch.ones(2, 1, dtype=torch.float64)}, "scale must be contiguous of shape"),
        ({"law": "normal"}, "law: no kernel for 'normal'"),
        ({"num_samples": 0}, "num_samples must be in"),
    ],
)
def test_bad_arguments_of_the_op(changed: dict[str, Any], part: str) -> None:
    arguments = arguments_of(torch.float64, "mc", False, "11", "logistic", 8)
    with pytest.raises(RuntimeError) as caught:
        OPS.shortest_path(**{**arguments, **changed})
    assert part in str(caught.value)
