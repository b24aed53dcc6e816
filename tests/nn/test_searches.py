"""Layers of searches, roots and soft indices against their functions and closed forms."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchsmooth as ts


# --- shortest paths through a graph ----------------------------------------------------------

# 0 -> 1, 0 -> 2, 1 -> 2
INDPTR, INDICES = torch.tensor([0, 2, 3, 3]), torch.tensor([1, 2, 2])


def test_shortest_path_graph() -> None:
    """P(w_0 + w_2 + noise < w_1 + noise) under Gaussians is the distribution function."""
    weights = torch.tensor([[2.0, 4.5, 2.0], [2.0, 3.5, 2.0]], requires_grad=True)
    options: dict[str, Any] = {"num_samples": 4096, "seed": 0, "learn_scale": True}
    layer = ts.nn.ShortestPathGraph(
        INDPTR, INDICES, ts.Gaussian(0.2), eval_mode="hard", min_weight=1e-6, **options
    )
    value = layer(weights)
    p = ts.soft.greater(weights[:, 1], weights[:, 0] + weights[:, 2], ts.Gaussian(0.2 * 3**0.5))
    expected = torch.stack([p, 1 - p, p], -1)
    torch.testing.assert_close(value, expected, rtol=0, atol=0.01)
    (gradient,) = torch.autograd.grad(value[:, 0].sum(), weights, retain_graph=True)
    (exact,) = torch.autograd.grad(p.sum(), weights)
    torch.testing.assert_close(gradient, exact, rtol=0, atol=0.1)
    (in_scale,) = torch.autograd.grad(value[0, 0], layer.log_scale)
    assert in_scale < 0  # more noise, less often the shorter way
    hard = layer.eval()(weights)
    assert hard.tolist() == [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]] and not hard.requires_grad
    assert {"indptr", "indices"} <= layer.state_dict().keys()
    assert layer.half().indptr.dtype == torch.int64


@pytest.mark.parametrize(
    "indptr, indices, options, error, message",
    [
        (INDPTR, INDICES[:2], {}, ValueError, "indptr must rise from 0 to the number of edges"),
        (INDPTR.float(), INDICES, {}, TypeError, "indptr must be a 1-D tensor of int64 or int32"),
        (INDPTR, [1, 2, 2], {}, TypeError, "indices must be a 1-D tensor"),
        (INDPTR, INDICES, {"source": 3}, ValueError, "source must be a node"),
        (INDPTR, INDICES, {"target": 0.5}, TypeError, "target must be an int, got 0.5"),
        (INDPTR, INDICES, {"min_weight": -1}, ValueError, "min_weight must be finite"),
    ],
    ids=str,
)
def test_bad_graphs(
    indptr: Any, indices: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ts.nn.ShortestPathGraph(indptr, indices, ts.Gaussian(), **options)


# --- grid search -----------------------------------------------------------------------------


class Parabola(nn.Module):
    """(x - c)^2 for a c that is learned, moved by an argument of the layer."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c))

    def forward(self, grid: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        offset = torch.as_tensor(offset)
        return (grid - self.c - offset.unsqueeze(-1)).square()


@pytest.mark.parametrize(
    "law, options",
    [(ts.Gaussian(0.1), {"num_nodes": 64}), (ts.Gumbel(0.1), {"mirrored": True})],
    ids=["quadrature", "closed form"],
)
def test_grid_search(law: ts.AbstractDistribution, options: dict[str, Any]) -> None:
    """With the gradients of the module, the grid and the scale."""
    grid = nn.Parameter(torch.linspace(-1, 1, 9))
    layer = ts.nn.SoftGridSearch(Parabola(0.3), grid, law, learn_scale=True, **options)
    assert sorted(dict(layer.named_parameters())) == ["f.c", "grid", "log_scale"]
    offset = torch.tensor([0.0, 0.4])
    scale = layer.scale.detach().requires_grad_()
    expected = ts.soft.grid_search(
        lambda x: layer.f(x, offset), grid, law.with_scale(scale), **options
    )
    value = layer(offset)
    assert isinstance(value, ts.soft.GridSearch)
    weights = [torch.randn_like(leaf) for leaf in expected]
    for a, b in zip(value, expected, strict=True):
        torch.testing.assert_close(a, b)
    totals = [
        sum((w * leaf).sum() for w, leaf in zip(weights, result, strict=True))
        for result in (value, expected)
    ]
    parameters = (layer.f.c, grid)
    in_layer = torch.autograd.grad(totals[0], (*parameters, layer.log_scale))
    in_function = torch.autograd.grad(totals[1], (*parameters, scale))
    torch.testing.assert_close(in_layer[:2], in_function[:2])
    torch.testing.assert_close(in_layer[2], scale.detach() * in_function[2])


def test_hard_grid_search() -> None:
    """The first smallest value, with the gradient of that value and of that point."""
    grid = nn.Parameter(torch.linspace(-1, 1, 9))
    layer = ts.nn.SoftGridSearch(Parabola(0.3), grid, ts.Gaussian(5.0), eval_mode="hard").eval()
    offset = torch.tensor([0.0, 0.325])  # halfway between .5 and .75 the first is taken
    found = layer(offset)
    assert found.argmin.tolist() == [0.25, 0.5]
    torch.testing.assert_close(found.min.detach(), torch.tensor([0.05**2, 0.125**2]))
    assert found.probability.argmax(-1).tolist() == [5, 6]
    assert found.probability.sum(-1).tolist() == [1.0, 1.0]
    (in_c,) = torch.autograd.grad(found.min[0], layer.f.c, retain_graph=True)
    torch.testing.assert_close(in_c, torch.tensor(2 * 0.05))  # d/dc (.25 - c)^2 at .3
    (in_grid,) = torch.autograd.grad(found.argmin[1], grid)
    assert in_grid.nonzero().flatten().tolist() == [6]
    with_nan = layer(torch.tensor([0.0, math.nan]))
    for leaf, exact in zip(with_nan, found, strict=True):
        assert torch.equal(leaf[0], exact[0]) and bool(leaf[1].isnan().all())


def test_hard_grid_search_of_points() -> None:
    """Points of two coordinates, infinities, and a scale that adds a dimension."""
    grid = torch.cartesian_prod(torch.linspace(0, 1, 3), torch.linspace(0, 1, 3))
    layer = ts.nn.SoftGridSearch(
        lambda x: torch.where(x[:, 0] > 0.6, math.inf, (x - 0.6).square().sum(-1)),
        grid,
        ts.Gaussian(torch.full((2, 1), 0.1)),
        eval_mode="hard",
    )
    soft, exact = layer(), layer.eval()()
    for a, b in zip(soft, exact, strict=True):
        assert a.shape == b.shape
    assert exact.argmin.tolist() == [[0.5, 0.5]] * 2
    torch.testing.assert_close(exact.min, torch.full((2,), 0.02))


@pytest.mark.parametrize(
    "f, grid, options, error, message",
    [
        (3, torch.zeros(2), {}, TypeError, "f must be a module or a function, got 3"),
        (abs, torch.zeros(0), {}, ValueError, "grid must hold at least one point"),
        (abs, torch.zeros(2).long(), {}, TypeError, "grid must be a floating-point tensor"),
        (abs, torch.zeros(2), {"mirrored": 1}, TypeError, "mirrored must be True or False"),
        (abs, torch.zeros(2), {"mirrored": True}, ValueError, "must be a Gumbel"),
        (abs, torch.zeros(2), {"num_nodes": 1}, ValueError, "num_nodes must be at least 2"),
        (abs, torch.zeros(2, requires_grad=True), {}, ValueError, r"nn.Parameter\(grid.detach"),
    ],
    ids=str,
)
def test_bad_grid_searches(
    f: Any, grid: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """At construction."""
    with pytest.raises(error, match=message):
        ts.nn.SoftGridSearch(f, grid, ts.Gaussian(), **options)


# --- bisection -------------------------------------------------------------------------------


class Line(nn.Module):
    """x - w c, whose root is w c."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return x - self.w * c


def test_implicit_bisection() -> None:
    """The root w c, with the gradients c and w, in training and in evaluation."""
    layer = ts.nn.SoftImplicitBisect(Line(0.5), torch.tensor(-2.0), 2.0)
    assert sorted(layer.state_dict()) == ["g.w", "lo"]
    c = torch.tensor([0.3, -1.7], dtype=torch.float64, requires_grad=True)
    for training in (True, False):
        root = layer.train(training)(c)
        torch.testing.assert_close(root, 0.5 * c, rtol=0, atol=1e-15)
        in_c, in_w = torch.autograd.grad(root.sum(), (c, layer.g.w))
        torch.testing.assert_close(in_c, torch.full_like(c, 0.5))
        torch.testing.assert_close(in_w, c.detach().sum())


def test_bisection_with_modules_and_brackets() -> None:
    """Modules and brackets are trained with the scale; exact bisection has no gradient in g."""
    lo = nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))
    layer = ts.nn.SoftBisect(
        Line(0.5),
        lo,
        torch.tensor([2.0, 3.0], dtype=torch.float64),
        ts.Logistic(torch.tensor(0.1, dtype=torch.float64)),
        num_steps=20,
        learn_scale=True,
        eval_mode="hard",
    )
    assert sorted(dict(layer.named_parameters())) == ["g.w", "lo", "log_scale"]
    assert sorted(dict(layer.named_buffers())) == ["hi"]
    c = torch.tensor([0.3, -1.7], dtype=torch.float64)
    expected = ts.soft.bisect(
        layer.g, layer.lo, layer.hi, c, num_steps=20, distribution=layer.distribution
    )
    value = layer(c)
    torch.testing.assert_close(value, expected)
    value.sum().backward()
    assert all(p.grad.abs() > 0 for p in layer.parameters())
    hard = layer.eval()(c)
    torch.testing.assert_close(hard, 0.5 * c, rtol=0, atol=5 * 2.0**-21)
    in_w, in_lo = torch.autograd.grad(hard.sum(), (layer.g.w, lo), allow_unused=True)
    assert in_w is None and in_lo is not None


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: ts.nn.SoftImplicitBisect(3, 0.0, 1.0), TypeError, "g must be a module or a fun"),
        (
            lambda: ts.nn.SoftImplicitBisect(abs, 0.0, 1.0, num_steps=-1),
            ValueError,
            "num_steps must be at least 0, got -1",
        ),
        (
            lambda: ts.nn.SoftBisect(abs, 0.0, 1.0, ts.Logistic(), num_steps=2.5),
            TypeError,
            "num_steps must be an int, got 2.5",
        ),
        (
            lambda: ts.nn.SoftBisect(
                abs, 0.0, 1.0, ts.Logistic(scale_matrix=torch.eye(2)), num_steps=2
            ),
            ValueError,
            "scale_matrix",
        ),
        (
            lambda: ts.nn.SoftWhile(abs, abs, -1, ts.Logistic()),
            ValueError,
            "max_steps must be at least 0, got -1",
        ),
        (lambda: ts.nn.SoftWhile(abs, 2.0, 1, ts.Logistic()), TypeError, "body_fn must be a mod"),
    ],
)
def test_bad_arguments(make: Any, error: type[Exception], message: str) -> None:
    """At construction."""
    with pytest.raises(error, match=message):
        make()


# --- loops -----------------------------------------------------------------------------------


def test_parameters_of_a_loop() -> None:
    """E of a geometric exit: with the margin m at every test, carry + k has p^k (1 - p)."""
    m = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    class Margin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.m = m

        def forward(self, carry: dict[str, Tensor]) -> Tensor:
            return self.m.expand(carry["count"].shape[:1])

    layer = ts.nn.SoftWhile(
        Margin(),
        lambda carry: {"count": carry["count"] + 1},
        60,
        ts.Logistic(torch.tensor(0.5, dtype=torch.float64)),
        learn_scale=True,
        eval_mode="hard",
    )
    carry = {"count": torch.zeros(2, 3, dtype=torch.float64)}
    count = layer(carry)["count"]
    p = torch.sigmoid(m / layer.scale)
    expected = p / (1 - p)  # its terms beyond 60 are p^60 / (1 - p) = 2e-11
    torch.testing.assert_close(count, expected.expand(2, 3), rtol=0, atol=1e-9)
    actual = torch.autograd.grad(count[0, 0], list(layer.parameters()))
    exact = torch.autograd.grad(expected, list(layer.parameters()))
    torch.testing.assert_close(actual, exact, rtol=0, atol=1e-7)
    assert layer.eval()(carry)["count"].tolist() == [[60.0] * 3] * 2
    with torch.no_grad():
        m.fill_(-0.1)
    assert layer(carry)["count"].tolist() == [[0.0] * 3] * 2


# --- soft indices ----------------------------------------------------------------------------


def test_soft_indices() -> None:
    """The expectation for probabilities, the entry itself for one-hot vectors."""
    x = torch.randn(3, 4, 5)
    p = torch.softmax(torch.randn(2, 4), -1)
    torch.testing.assert_close(ts.nn.SoftTake(1)(x, p), torch.einsum("bi,aic->abc", p, x))
    hard = nn.functional.one_hot(torch.tensor([3, 1]), 4).float()
    assert torch.equal(ts.nn.SoftTake(dim=1)(x, hard), x[:, [3, 1]])
    layer = ts.nn.SoftTakeAlongDim(1)
    q = torch.softmax(torch.randn(3, 4, 5), 1)
    torch.testing.assert_close(layer(x, q), torch.einsum("aic,aic->ac", q, x))
    index = torch.randint(4, (3, 1, 5))
    one_hot = torch.zeros(3, 4, 5).scatter(1, index, 1.0)
    assert torch.equal(layer(x, one_hot), x.take_along_dim(index, 1).squeeze(1))
    assert list(layer.parameters()) == [] and layer.state_dict() == {}
    with pytest.raises(ValueError, match="soft_index must have 5 probabilities"):
        ts.nn.SoftTake(2)(x, p)
