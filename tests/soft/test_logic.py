"""Logic of probabilities: truth tables, long products, derivatives at certain events."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from torchsmooth import soft


TRUTH = [
    (soft.logical_and, torch.logical_and),
    (soft.logical_or, torch.logical_or),
    (soft.logical_xor, torch.logical_xor),
]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_truth_tables(dtype: torch.dtype) -> None:
    p, q = torch.tensor(list(itertools.product([0, 1], repeat=2))).T
    for probable, hard in TRUTH:
        value = probable(p.to(dtype), q.to(dtype))
        assert value.tolist() == hard(p, q).float().tolist()
        assert value.dtype == (torch.float32 if dtype == torch.bool else dtype)
    assert soft.logical_not(p.to(dtype)).tolist() == (1 - p).tolist()
    events = torch.tensor(list(itertools.product([0, 1], repeat=5)))
    assert soft.all(events.to(dtype), -1).tolist() == events.all(-1).float().tolist()
    assert soft.any(events.to(dtype), -1).tolist() == events.any(-1).float().tolist()


def test_independent_events_by_enumeration() -> None:
    p = torch.tensor([0.1, 0.7, 0.45, 0.9, 0.03], dtype=torch.float64)
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)), dtype=torch.float64)
    weights = (outcomes * p + (1 - outcomes) * (1 - p)).prod(-1)
    happens = outcomes.bool()
    for probability, event in (
        (soft.all(p), happens.all(-1)),
        (soft.any(p), happens.any(-1)),
        (soft.logical_xor(p[0], p[1]), happens[:, 0] ^ happens[:, 1]),
        (soft.logical_or(p[0], p[1]), happens[:, 0] | happens[:, 1]),
    ):
        torch.testing.assert_close(probability, weights[event].sum())


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 100_001])
def test_any_of_many_rare_events(n: int) -> None:
    # 1 - (1 - p)^n, where 1 - p is 1 in float32.
    p = torch.full((n,), 1e-10, requires_grad=True)
    value = soft.any(p)
    assert value.item() == pytest.approx(-math.expm1(n * math.log1p(-1e-10)), rel=1e-6)
    (slope,) = torch.autograd.grad(value, p)
    torch.testing.assert_close(slope, torch.full((n,), 1.0), rtol=1e-4, atol=0)


def test_all_of_many_likely_events() -> None:
    p = torch.full((4, 10_000), 0.999, dtype=torch.float64)
    expected = math.exp(10_000 * math.log(0.999))
    torch.testing.assert_close(soft.all(p, 1), torch.full((4,), expected, dtype=torch.float64))


@pytest.mark.parametrize("p", [(0.0, 0.3, 0.6), (0.0, 0.0, 0.6), (1.0, 0.3, 1.0), (0.2, 0.3, 0.6)])
def test_derivatives_at_certain_events(p: tuple[float, ...]) -> None:
    # d all / d p_i is the product of the others; d any / d p_i that of the others' complements.
    x = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    (all_slope,) = torch.autograd.grad(soft.all(x), x)
    (any_slope,) = torch.autograd.grad(soft.any(x), x)
    for i in range(3):
        others = [q for j, q in enumerate(p) if j != i]
        assert all_slope[i].item() == pytest.approx(math.prod(others))
        assert any_slope[i].item() == pytest.approx(math.prod(1 - q for q in others))
    # Finite differences need room on both sides, which probabilities of 0 and 1 have not got, but
    # these polynomials have: what is checked here is off the ends.
    inner = (0.1 + 0.8 * x.detach()).requires_grad_()
    for function in (soft.all, soft.any):
        assert gradcheck(function, inner)
        assert gradgradcheck(function, inner)


@pytest.mark.parametrize("function, reference", [(soft.all, torch.all), (soft.any, torch.any)])
@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (1, -1), (0, 1, 2), ()])
@pytest.mark.parametrize("keepdim", [False, True])
def test_dimensions(
    function: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    dim: int | tuple[int, ...] | None,
    keepdim: bool,
) -> None:
    p = torch.rand(2, 3, 4).round()
    dims = tuple(range(3)) if dim is None else (dim,) if isinstance(dim, int) else dim
    expected = p.bool()
    for d in sorted((d % 3 for d in dims), reverse=True):
        expected = reference(expected, d, keepdim=keepdim)
    assert torch.equal(function(p, dim, keepdim=keepdim), expected.float())


def test_no_events() -> None:
    p = torch.zeros(3, 0)
    assert soft.all(p, 1).tolist() == [1, 1, 1]
    assert soft.any(p, 1).tolist() == [0, 0, 0]
    assert soft.all(torch.tensor(0.25)).item() == 0.25


def test_where() -> None:
    p = torch.tensor([0.0, 0.25, 1.0])
    assert soft.where(p, 8.0, torch.tensor(4.0)).tolist() == [4, 5, 8]
    p.requires_grad_()
    # What is not reached may be anything; the derivative in p is a - b where both are finite.
    a, b = torch.tensor([math.inf, 1.0, 2.0]), torch.tensor([1.0, 3.0, math.nan])
    value = soft.where(p, a, b)
    assert value.tolist() == [1, 2.5, 2]
    assert torch.autograd.grad(value.sum(), p)[0][1] == -2
    inner = [torch.rand(3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert gradcheck(soft.where, inner)
    assert gradgradcheck(soft.where, inner)


def test_transforms() -> None:
    p = torch.rand(5, 3)
    torch.testing.assert_close(torch.vmap(soft.any)(p), soft.any(p, 1))
    torch.testing.assert_close(
        torch.func.vmap(torch.func.grad(soft.all))(p)[0],
        torch.stack([p[0, 1] * p[0, 2], p[0, 0] * p[0, 2], p[0, 0] * p[0, 1]]),
    )


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiles_whole() -> None:
    def function(p: Tensor, q: Tensor) -> Tensor:
        both = soft.logical_xor(soft.logical_or(p, q), soft.logical_and(p, q))
        return soft.where(soft.any(both, -1), soft.all(p, -1), soft.logical_not(q)[..., 0])

    torch._dynamo.reset()
    p, q = torch.rand(2, 4, 5)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(p, q), function(p, q))
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "function",
    [
        soft.logical_not,
        soft.all,
        soft.any,
        lambda p: soft.logical_and(torch.ones(2), p),
        lambda p: soft.logical_or(p, torch.ones(2)),
        lambda p: soft.logical_xor(p, torch.ones(2)),
        lambda p: soft.where(p, 1.0, 0.0),
    ],
)
def test_bad_probabilities(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"must hold probabilities in \[0, 1\], got values from"):
        function(torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match="turn a score into a probability"):
        function(torch.tensor([-0.5, 0.5]))
    with pytest.raises(TypeError, match="must be a tensor of probabilities, .*got torch.int64"):
        function(torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="must be a tensor of probabilities, .*got float"):
        function(0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dim must be in"):
        soft.all(torch.ones(2), 3)


@pytest.mark.parametrize("function", [soft.logical_and, soft.logical_or, soft.logical_xor])
def test_shapes_that_do_not_fit(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"p, q must broadcast .* got shapes \(2,\), \(3,\)"):
        function(torch.ones(2), torch.ones(3))


@pytest.mark.parametrize("function", [soft.all, soft.any])
def test_bad_dimensions(function: Callable[..., Tensor]) -> None:
    for dim in (0.5, "all", (0.0,)):
        with pytest.raises(TypeError, match="dim must be an int"):
            function(torch.ones(2), dim)
    with pytest.raises(TypeError, match="keepdim must be True or False, got 'yes'"):
        function(torch.ones(2), keepdim="yes")


def test_sides_of_where() -> None:
    p = torch.tensor([0.25, 1.0])
    for a, b, expected in [
        (True, False, [0.25, 1.0]),
        (torch.tensor([False, True]), 2, [1.5, 1.0]),
        (torch.tensor([4, 8]), torch.tensor([0, 0]), [1.0, 8.0]),
    ]:
        assert soft.where(p, a, b).tolist() == expected
    for side in ("1", None, [0.0, 1.0], torch.ones(2, dtype=torch.complex64)):
        with pytest.raises(TypeError, match="b must be a number or a real tensor"):
            soft.where(p, 0.0, side)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"p, a, b must broadcast .* \(2,\), \(3,\), \(\)"):
        soft.where(p, torch.zeros(3), 0.0)
