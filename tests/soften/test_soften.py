"""Programs softened: every operator against its twin, whole programs against ts.smooth."""

import itertools
import math
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from facts import assert_mean, replicate
from torch import Tensor, nn

import torchsmooth as ts
from torchsmooth import soft
from torchsmooth._soften import SOFTENED, SoftBoolean, SoftIndex, soften


Law = ts.AbstractDistribution
Y = torch.tensor([[0.4, -0.2, 1.1], [-0.8, 0.9, 0.1]], dtype=torch.float64)
TABLE = torch.tensor([10.0, 20.0, 40.0], dtype=torch.float64)
COND = torch.cond


def negated(p: Tensor) -> Tensor:
    return 1 - p


# Operator, program, twin. Programs are as one would write them, twins as ts.soft spells them.
PROGRAMS: list[tuple[str, Callable[[Tensor], Any], Callable[[Tensor, Law], Tensor]]] = [
    ("gt", lambda x: x > 0.3, lambda x, d: soft.greater(x, 0.3, d)),
    ("gt", lambda x: 0.3 < x, lambda x, d: soft.greater(x, 0.3, d)),
    ("gt", lambda x: torch.greater(x, Y), lambda x, d: soft.greater(x, Y, d)),
    ("ge", lambda x: x >= Y, lambda x, d: soft.greater(x, Y, d)),
    ("ge", lambda x: x.greater_equal(1), lambda x, d: soft.greater(x, 1.0, d)),
    ("lt", lambda x: x < Y, lambda x, d: soft.less(x, Y, d)),
    ("lt", lambda x: torch.lt(x, torch.tensor(1)), lambda x, d: soft.less(x, 1.0, d)),
    ("le", lambda x: torch.less_equal(x, 0.3), lambda x, d: soft.less(x, 0.3, d)),
    ("eq", lambda x: x == Y, lambda x, d: soft.equal(x, Y, 0.25, d)),
    ("ne", lambda x: torch.not_equal(x, 0.3), lambda x, d: 1 - soft.equal(x, 0.3, 0.25, d)),
    ("heaviside", lambda x: x.heaviside(TABLE[0]), soft.heaviside),
    ("sign", torch.sign, soft.sign),
    ("sign", lambda x: x.sgn(), soft.sign),
    ("abs", abs, soft.abs),
    ("abs", torch.absolute, soft.abs),
    ("relu", torch.relu, soft.relu),
    ("relu", F.relu, soft.relu),
    ("relu", nn.ReLU(), soft.relu),
    ("relu6", F.relu6, lambda x, d: soft.clamp(x, 0.0, 6.0, d)),
    ("hardtanh", nn.ReLU6(), lambda x, d: soft.clamp(x, 0.0, 6.0, d)),
    ("hardtanh", nn.Hardtanh(-0.5, 0.7), lambda x, d: soft.clamp(x, -0.5, 0.7, d)),
    ("threshold", nn.Threshold(0.1, -2.0), lambda x, d: soft.threshold(x, 0.1, -2.0, d)),
    ("hardshrink", nn.Hardshrink(0.4), lambda x, d: soft.hardshrink(x, 0.4, d)),
    ("clamp", lambda x: x.clamp(-0.5, 0.7), lambda x, d: soft.clamp(x, -0.5, 0.7, d)),
    ("clamp", lambda x: torch.clip(x, Y, Y + 1), lambda x, d: soft.clamp(x, Y, Y + 1, d)),
    ("clamp", lambda x: x.clamp(min=0), lambda x, d: soft.maximum(x, 0.0, d)),
    ("clamp", lambda x: x.clip(max=0.2), lambda x, d: soft.minimum(x, 0.2, d)),
    ("clamp_min", lambda x: x.clamp_min(0.2), lambda x, d: soft.maximum(x, 0.2, d)),
    ("clamp_max", lambda x: torch.clamp_max(x, 0.2), lambda x, d: soft.minimum(x, 0.2, d)),
    ("round", torch.round, soft.round),
    ("floor", lambda x: x.floor(), soft.floor),
    ("ceil", torch.ceil, soft.ceil),
    ("trunc", torch.fix, soft.trunc),
    ("maximum", lambda x: torch.maximum(x, Y), lambda x, d: soft.maximum(x, Y, d)),
    ("minimum", lambda x: x.minimum(Y), lambda x, d: soft.minimum(x, Y, d)),
    ("max", lambda x: torch.max(x, Y), lambda x, d: soft.maximum(x, Y, d)),
    ("max", torch.max, lambda x, d: soft.amax(x.flatten(), 0, d)),
    ("max", lambda x: x.max(0).values, lambda x, d: soft.amax(x, 0, d)),
    ("max", lambda x: x.max(1, keepdim=True)[1], lambda x, d: soft.argmax(x, 1, d).unsqueeze(1)),
    ("min", lambda x: x.min(dim=-1).values, lambda x, d: soft.amin(x, -1, d)),
    ("min", lambda x: x.min(0).indices, lambda x, d: soft.argmin(x.T, -1, d)),
    ("amax", lambda x: x.amax((0, 1)), lambda x, d: soft.amax(x.reshape(6), 0, d)),
    ("amax", lambda x: x.amax(1, True), lambda x, d: soft.amax(x, 1, d)[:, None]),
    ("amin", lambda x: torch.amin(x, 1), lambda x, d: soft.amin(x, 1, d)),
    ("argmax", lambda x: x.argmax(), lambda x, d: soft.argmax(x.flatten(), 0, d)),
    ("argmax", lambda x: x.argmax(0), lambda x, d: soft.argmax(x.T, 1, d)),
    ("argmin", lambda x: x.argmin(1, True), lambda x, d: soft.argmin(x, 1, d)[:, None]),
    ("sort", lambda x: x.sort(1)[0], lambda x, d: soft.sort(x, d)),
    ("sort", lambda x: x.sort(0, True)[1], lambda x, d: soft.argsort(
        x, d, dim=0, descending=True).transpose(0, 1)),
    ("argsort", lambda x: x.argsort(), lambda x, d: soft.argsort(x, d)),
    ("msort", torch.msort, lambda x, d: soft.sort(x, d, dim=0)),
    ("topk", lambda x: x.topk(2)[0], lambda x, d: soft.sort(x, d, descending=True)[:, :2]),
    ("topk", lambda x: x.topk(2, largest=False)[1], lambda x, d: soft.topk(
        x, 2, d, largest=False)),
    ("median", torch.median, lambda x, d: soft.median(x.flatten(), d)),
    ("median", lambda x: x.median(1, True)[0], lambda x, d: soft.median(x, d, keepdim=True)),
    ("median", lambda x: x.median(1)[1], lambda x, d: soft.argsort(x, d)[:, 1]),
    ("quantile", lambda x: x.quantile(0.3, 1), lambda x, d: soft.quantile(x, 0.3, d)),
]  # fmt: skip


def points() -> Tensor:
    x = torch.tensor([[0.6, -0.45, 1.3], [-1.2, 0.15, 0.2]], dtype=torch.float64)
    return x.requires_grad_()


def numbers(result: Any) -> Tensor:
    if isinstance(result, SoftBoolean):
        return result.probability
    return result.probabilities if isinstance(result, SoftIndex) else result


def softened(distribution: Law, **options: Any) -> Any:
    return soften(distribution, **{"tolerance": 0.25} | options)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p[0])
@pytest.mark.parametrize("law", [ts.Gumbel(0.4), ts.Gumbel(torch.tensor([0.4]).double())], ids=str)
def test_twins(program: tuple[str, Callable, Callable], law: Law) -> None:
    name, hard, twin = program
    x = points()
    with softened(law) as report:
        actual = numbers(hard(x))
    expected = twin(x, law)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn(expected.shape, dtype=expected.dtype)
    slopes = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (actual, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)
    assert [entry.operator for entry in report] == [name]
    assert report.count(name) == 1


def test_table_is_complete() -> None:
    assert {name for name, *_ in PROGRAMS} == set(SOFTENED)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p[0])
def test_hard_limits(program: tuple[str, Callable, Callable]) -> None:
    name, hard, _ = program
    x = points().detach()
    expected = hard(x)
    with softened(ts.Gumbel(1e-9), tolerance=1e-3):
        actual = hard(x)
    if isinstance(actual, SoftIndex):
        assert actual.shape == expected.shape and actual.dtype == expected.dtype
        actual, n = actual.probabilities, actual.probabilities.shape[-1]
        expected = F.one_hot(expected, n)
    elif isinstance(actual, SoftBoolean):
        assert actual.shape == expected.shape and actual.dtype == expected.dtype
        actual = actual.probability
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=0, atol=1e-7)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p[0])
def test_integers_stay(program: tuple[str, Callable, Callable]) -> None:
    _, hard, _ = program
    x = torch.tensor([[3, -1, 4], [2, 0, -5]])
    try:
        expected = hard(x)
    except (RuntimeError, NotImplementedError, TypeError):
        pytest.skip("torch itself has no such operator for integers")
    if isinstance(expected, Tensor) and expected.is_floating_point():
        return  # with a floating-point operand
    with softened(ts.Gumbel(0.4)) as report:
        actual = hard(x)
    if not isinstance(actual, Tensor):  # compared with a floating-point tensor
        assert isinstance(actual, SoftBoolean) and len(report) == 1
        return
    assert torch.equal(actual, expected)
    assert len(report) == 0


KEPT: list[Callable[..., Any]] = [
    lambda x, dim, keepdim: tuple(x.max(dim, keepdim)),
    lambda x, dim, keepdim: tuple(x.min(dim, keepdim)),
    lambda x, dim, keepdim: tuple(x.median(dim, keepdim)),
    lambda x, dim, keepdim: x.amax(dim, keepdim),
    lambda x, dim, keepdim: x.amin((dim,), keepdim),
    lambda x, dim, keepdim: x.argmax(dim, keepdim),
    lambda x, dim, keepdim: x.argmin(None, keepdim),
    lambda x, dim, keepdim: x.quantile(0.3, dim, keepdim),
    lambda x, dim, keepdim: x.quantile(0.3, None, keepdim),
    lambda x, dim, keepdim: x.quantile(x.new_tensor([0.1, 0.9]), dim, keepdim),
    lambda x, dim, keepdim: x.quantile(x.new_tensor([0.1, 0.9]), None, keepdim),
    lambda x, dim, keepdim: tuple(x.sort(dim, keepdim)),
    lambda x, dim, keepdim: x.argsort(dim, keepdim),
    lambda x, dim, keepdim: tuple(x.topk(1, dim, keepdim)),
]
"""Hard programs, whose second flag is `descending` or `largest` for the last three."""


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("index", range(len(KEPT)))
def test_dimensions(index: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    for dim, flag in itertools.product(sorted({0, -1, max(x.ndim - 2, 0)}), (False, True)):
        expected = KEPT[index](x, dim, flag)
        with softened(ts.Gumbel(1e-9)):
            actual = KEPT[index](x, dim, flag)
        expected, actual = (v if isinstance(v, tuple) else (v,) for v in (expected, actual))
        for soft_one, hard_one in zip(actual, expected, strict=True):
            assert soft_one.shape == hard_one.shape
            if isinstance(soft_one, SoftIndex):
                assert soft_one.probabilities.shape[:-1] == hard_one.shape
                assert torch.equal(soft_one.probabilities.argmax(-1), hard_one)
            else:
                torch.testing.assert_close(soft_one, hard_one, rtol=0, atol=1e-7)


def test_extrema_of_other_laws() -> None:
    x, law = points(), ts.Gaussian(0.4)
    with softened(law):
        torch.testing.assert_close(x.amax(1), soft.amax(x, 1, law))
        torch.testing.assert_close(x.argmax(1).probabilities, soft.argmax(x, 1, law))
    # Long rows are exact too: E max of 40 equal elements, from the tables of Harter (1961).
    row = torch.zeros(40, dtype=torch.float64)
    with softened(law) as report:
        value, index = row.max(0)
    assert [entry.twin for entry in report] == ["ts.soft.amax"]
    assert value.item() == pytest.approx(0.4 * 2.16078, abs=4e-6)
    torch.testing.assert_close(
        index.probabilities, torch.full_like(row, 1 / 40), rtol=0, atol=1e-10
    )
    scale = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], dtype=torch.float64)
    with softened(ts.Gaussian(scale)):
        torch.testing.assert_close(
            x.amin((0, 1)), soft.amin(x.flatten(), 0, ts.Gaussian(scale.flatten()))
        )
        torch.testing.assert_close(x.sort(0)[0], soft.sort(x.T, ts.Gaussian(scale.T)).T)


# Events.


def test_logic() -> None:
    x, law = points(), ts.Logistic(0.5)
    p, q = soft.greater(x, 0.0, law), soft.less(x, 0.5, law)
    certain = torch.tensor([True, False, True])
    with softened(law) as report:
        a, b = x > 0, x < 0.5
        for actual, expected in [
            (a & b, p * q),
            (torch.logical_and(a, b), p * q),
            (a | b, p + q - p * q),
            (a ^ b, p + q - 2 * p * q),
            (~a, 1 - p),
            (a.logical_not(), 1 - p),
            (a == b, p * q + (1 - p) * (1 - q)),
            (a != b, p + q - 2 * p * q),
            (a & certain, p * certain),
            (certain & a, p * certain),
            (a | True, torch.ones_like(p)),
            (False | a, p),
            (a * b, p * q),
            (a + b, p + q - p * q),
            (a.all(), p.prod()),
            (torch.any(a, dim=1), 1 - (1 - p).prod(1)),
            (torch.all(a, 1, keepdim=True), p.prod(1, keepdim=True)),
            (torch.where(a, b, ~b), p * q + (1 - p) * (1 - q)),
            (torch.where(certain, a, b), torch.where(certain, p, q)),
            (torch.cat([a, b]), torch.cat([p, q])),
            (torch.stack([a[0], certain]), torch.stack([p[0], certain.double()])),
            (a.reshape(3, 2).T, p.reshape(3, 2).T),
            (a[:, 1:], p[:, 1:]),
            (a.to("cpu"), p),
        ]:
            assert isinstance(actual, SoftBoolean)
            torch.testing.assert_close(actual.probability, expected)
        assert [row.probability.shape for row in a] == [torch.Size([3])] * 2
    counted = {"logical_and": 4, "logical_or": 3, "logical_xor": 1, "logical_not": 3, "where": 2}
    assert {name: report.count(name) for name in counted} == counted


def test_events_as_numbers() -> None:
    x, law = points(), ts.Logistic(0.5)
    p = soft.greater(x, 0.0, law)
    with softened(law):
        a = x > 0
        for actual, expected in [
            (a.float(), p),
            (a.to(torch.float32), p.float()),
            (a.double(), p),
            (a.long(), p),
            (a.int(), p),
            (a.to(torch.int64), p),
            (a.type(torch.float64), p),
            (a * x, p * x),
            (x * a, p * x),
            (x + a, x + p),
            (1 - a, 1 - p),
            (x - a, x - p),
            (a / 2, p / 2),
            (a.sum(), p.sum()),
            (a.sum(dtype=torch.long), p.sum()),
            (torch.sum(a, 1), p.sum(1)),
            (a.float().mean(), p.mean()),
            (torch.count_nonzero(a), p.sum()),
            (torch.where(a, 1, 0), p),
            (torch.where(a, x, Y), p * x + (1 - p) * Y),
            (x.where(a, Y), p * x + (1 - p) * Y),
            (x.masked_fill(a, -1.0), -p + (1 - p) * x),
            (torch.cat([a, x]), torch.cat([p, x])),
        ]:
            torch.testing.assert_close(actual, expected.to(actual.dtype))
        x_or_more = x.clone()
        x_or_more += a
        torch.testing.assert_close(x_or_more, x + p)
    # They are as soft outside.
    torch.testing.assert_close(torch.where(a & ~a, x, Y), p * (1 - p) * (x - Y) + Y)
    with pytest.raises(ValueError, match="Python branch"):
        bool(a)


def test_cond() -> None:
    x, law = points(), ts.Logistic(0.5)
    p = soft.greater(x[0, 0], 0.2, law)
    branches = (lambda y: {"value": y + 1}, lambda y: {"value": 3 * y}, (x,))
    with softened(law) as report:
        result = torch.cond(x[0, 0] > 0.2, *branches)["value"]
        certain = torch.cond(True, *branches)["value"]
        with pytest.raises(ValueError, match="same structure"):
            torch.cond(x[0, 0] > 0.2, lambda y: y, lambda y: (y,), (x,))
    torch.testing.assert_close(result, p * (x + 1) + (1 - p) * 3 * x)
    assert torch.equal(certain, x + 1)
    assert report.count("cond") == 2
    assert torch.cond is COND


# Indices.


def test_indices() -> None:
    x, law = points(), ts.Gumbel(0.5)
    p = torch.softmax(x.detach() / 0.5, 1)
    matrix = torch.randn(3, 2, dtype=torch.float64)
    with softened(law):
        index = x.argmax(1)
        kept = x.argmax(1, keepdim=True)
        for actual, expected in [
            (TABLE[index], p @ TABLE),
            (torch.take(TABLE, index), p @ TABLE),
            (matrix[index], p @ matrix),
            (F.embedding(index, matrix), p @ matrix),
            (matrix.T.index_select(1, index), matrix.T @ p.T),
            (torch.gather(Y, 1, kept), (p * Y).sum(1, keepdim=True)),
            (Y.gather(1, index.unsqueeze(1)), (p * Y).sum(1, keepdim=True)),
            (torch.take_along_dim(Y, kept, 1), (p * Y).sum(1, keepdim=True)),
            (F.one_hot(index), p),
            (F.one_hot(index, 5), F.pad(p, (0, 2))),
            ((index == 2).double(), p[:, 2]),
            ((index == torch.tensor([0, 7])).double(), torch.stack([p[0, 0], p[0, 0] * 0])),
            ((index != 1).double(), 1 - p[:, 1]),
            ((index == index).double(), (p * p).sum(1)),
            (index.double(), p @ torch.arange(3).double()),
            (index[1].probabilities, p[1]),
            (index.reshape(2, 1).probabilities, p[:, None]),
            (index.long().view(-1, 1).flatten().to(torch.int32).probabilities, p),
        ]:
            torch.testing.assert_close(actual.detach(), expected)
        order = x.argsort(1)
        # The expected sorted payload: the rows of the permutation matrix.
        torch.testing.assert_close(
            Y.gather(1, order), (order.probabilities @ Y.unsqueeze(-1)).squeeze(-1)
        )
    assert index.shape == (2,) and kept.shape == (2, 1) and order.shape == (2, 3)


def test_indices_refuse() -> None:
    x = points()
    with softened(ts.Gumbel(0.5)):
        index = x.argmax(1)
        for program, text in [
            (lambda: int(index[0]), "int()"),
            (lambda: list(range(index[0])), "integer index"),
            (lambda: [1, 2, 3][index[0]], "integer index"),
            (lambda: index[0].item(), "item()"),
            (lambda: Y[torch.arange(2), index], "cannot be combined with other indices"),
            (lambda: index > 1, "> needs the values of a soft index"),
            (lambda: 1 + index, r"go on with the expected index, index.float\(\)"),
            (lambda: index * Y.sum(), r"\* needs the values of a soft index"),
            (lambda: -index[0], "- needs the values of a soft index"),
            (lambda: torch.add(index, 1), "does not take a soft index"),
            (lambda: Y.scatter(1, index.unsqueeze(1), 1.0), "does not take a soft index"),
            (lambda: F.one_hot(index, 2), "num_classes must be at least"),
            (lambda: Y.gather(1, index), "must have as many dimensions"),
            (lambda: Y.__setitem__(index, 0.0), "use x = torch.where"),
            (lambda: bool(index == 0) if index else 0, "Python branch"),
        ]:
            with pytest.raises(ValueError, match=text):
                program()
        place = re.escape(__file__)
        with pytest.raises(AttributeError, match=rf"{place}:\d+: .*ts.soft.rank for ranks"):
            x.argsort(1).argsort(1)


# What cannot be smoothed.


def test_branches_name_the_line() -> None:
    def branch(x: Tensor) -> int:
        if x.sum() > 0:
            return 1
        return 0

    def loop(x: Tensor) -> Tensor:
        while (x > 0).any():
            x = x - 1
        return x

    def check(x: Tensor) -> None:
        assert (x < 9).all(), "too large"

    def both(x: Tensor) -> Any:
        return x[0, 0] > 0 and x[0, 1] > 0

    def largest(x: Tensor) -> Tensor:
        return max(x[0, 0], x[0, 1])

    for function in (branch, loop, check, both, largest):
        line = function.__code__.co_firstlineno + 1
        remedy = "use torch.where(condition, a, b) or ts.soft.cond"
        place = re.escape(f"{__file__}:{line}: a Python branch")
        with softened(ts.Logistic(0.1)), pytest.raises(ValueError, match=place) as error:
            function(points())
        assert remedy in str(error.value)


@pytest.mark.parametrize(
    "program, text",
    [
        (lambda x: x[x > 0], "use torch.where(condition, x, 0.0)"),
        (lambda x: x[:, (x > 0)[0]], "use torch.where(condition, x, 0.0)"),
        (lambda x: x.masked_select(x > 0), "use torch.where(condition, x, 0.0)"),
        (lambda x: x.detach().clone().__setitem__(x > 0, 0.0), "x = torch.where(condition"),
        (lambda x: torch.where(x > 0), "without values"),
        (lambda x: (x > 0).nonzero(), "nonzero()"),
        (lambda x: (x > 0).any().item(), "item()"),
        (lambda x: float((x > 0).any()), "float()"),
        (lambda x: (x > 0).tolist(), "tolist()"),
        (lambda x: (x > 0).numpy(), "numpy()"),
        (lambda x: (x > 0) & x, "compare it first"),
        (lambda x: 1 / (x > 0), "/ needs the values of a soft boolean"),
        (lambda x: (x > 0) ** 2, "and condition.float() in arithmetic"),
        (lambda x: -(x > 0), "and condition.float() in arithmetic"),
        (lambda x: (x > 0) < (x > 1), "< needs the values of a soft boolean"),
        (lambda x: (x > 0) @ x.T, "@ needs the values of a soft boolean"),
        (lambda x: torch.div(x, x > 0), "division"),
        (lambda x: torch.exp(x > 0), "exp does not take a soft boolean"),
        (lambda x: (x > 0).exp(), "call .float() first"),
        (lambda x: F.relu(x > 0), "relu does not take a soft boolean"),
        (lambda x: x.sum().item(), "x.detach() if the number is only looked at"),
        (lambda x: float(x.sum()), "x.detach() if the number is only looked at"),
        (lambda x: int(x.sum()), "index with ts.soft.take"),
        (lambda x: 1 if x.sum() else 0, "in place of a branch"),
        (lambda x: x.long(), "index with ts.soft.take"),
        (lambda x: x.to(torch.int32), "index with ts.soft.take"),
        (lambda x: x.type(torch.LongTensor), "index with ts.soft.take"),
        (lambda x: x.bool(), "compare first"),
        (lambda x: TABLE[x.round()[0]], "ts.soft.take"),
        (lambda x: x == 0, "tolerance=0.5"),
        (lambda x: x != Y, "tolerance=0.5"),
        (lambda x: 0.5 in x, "in place of a branch"),
        (lambda x: torch.equal(x, Y), "in place of a branch"),
        (lambda x: torch.allclose(x, Y), "in place of a branch"),
        (lambda x: x // 2.0, "quotient: (a / b).floor()"),
        (lambda x: 2.0 // x, "quotient: (a / b).floor()"),
        (lambda x: torch.frac(x), "x - x.trunc()"),
        (lambda x: x.fmod(2.0), "a - b * (a / b).trunc()"),
        (lambda x: torch.ones(()).double().copysign(x), "a.abs() * b.sign()"),
        (lambda x: torch.frexp(x), "2**k"),
        (lambda x: torch.angle(x), "torch.where(x < 0, math.pi, 0.0)"),
        (lambda x: F.grid_sample(Y[None, None], x[None, :, None, :2], mode="nearest"), "bilinear"),
        (lambda x: torch.isin(x, Y), "compare first"),
        (lambda x: torch.as_tensor(x, dtype=torch.int64), "index with ts.soft.take"),
        (lambda x: x.gather(1, (x > 0).long()), "torch.where(condition, a, b) for an index"),
        (lambda x: TABLE[(x > 0).long()], "torch.where(condition, a, b) for an index"),
        (lambda x: math.floor(x.sum()), "torch's functions in place of math's"),
        (lambda x: x % 1.0, "a - b * (a / b).floor()"),
        (lambda x: torch.div(x, 2.0, rounding_mode="floor"), "quotient: (a / b).floor()"),
        (lambda x: x.round(decimals=1), "10**decimals"),
        (lambda x: x.quantile(0.5, interpolation="lower"), 'interpolation="linear"'),
        (lambda x: torch.logical_and(x, Y), "compare first"),
        (lambda x: x.unique(), "use torch.where over all entries"),
        (lambda x: torch.bucketize(x, TABLE), "sum comparisons"),
        (lambda x: (x * 1).clamp_(0, 1), "clamp in place"),
        (lambda x: (x * 1).gt_(0), "gt in place"),
        (lambda x: nn.ReLU(inplace=True)(x * 1), "inplace= away"),
        (lambda x: torch.gt(x, 0, out=torch.empty(2, 3, dtype=torch.bool)), "out= "),
    ],
)
def test_refusals(program: Callable[[Tensor], Any], text: str) -> None:
    with soften(ts.Logistic(0.1)), pytest.raises((ValueError, TypeError, AttributeError)) as error:
        program(points())
    assert text in str(error.value)
    if isinstance(error.value, ValueError):
        line = program.__code__.co_firstlineno
        assert str(error.value).startswith(f"{__file__}:{line}: ")


def test_conditions_are_not_changed_in_place() -> None:
    def of(x: Tensor, change: Callable[[Any], Any]) -> None:
        with softened(ts.Logistic(0.1)), pytest.raises(ValueError, match="make a new one"):
            change(x > 0)

    def augmented(condition: Any) -> None:
        condition &= condition

    of(points(), augmented)
    of(points(), lambda c: c.__ior__(c))
    of(points(), lambda c: c.__ixor__(c))
    of(points(), lambda c: c.__setitem__(0, True))
    with softened(ts.Logistic(0.1)):
        with pytest.raises(ValueError, match=r"torch.stack"):
            torch.zeros(2, 3, dtype=torch.bool)[0] = points()[0] > 0
        target = torch.zeros(2, 3, dtype=torch.float64)
        target[0] = points()[0] > 0
    torch.testing.assert_close(target[0], soft.greater(points()[0], 0.0, ts.Logistic(0.1)))


def test_what_stays() -> None:
    x = points()
    with softened(ts.Logistic(0.1)) as report:
        assert torch.isnan(x).any().item() is False
        assert x.detach().sum().item() == x.sum().detach().item()
        assert (torch.arange(3) > 1).tolist() == [False, False, True]
        assert torch.arange(3)[torch.arange(3) > 1].tolist() == [2]
        assert not (x == None) and x != "name"  # noqa: E711
        assert (x == torch.zeros(2, 3, dtype=torch.complex128)).dtype == torch.bool
        assert torch.distributions.Normal(Y, 1.0).log_prob(Y).shape == (2, 3)
        rounded = soft.round(x, ts.Gumbel(0.3))  # the package's own bodies
        optimizer = torch.optim.Adam([nn.Parameter(Y.clone())])
        optimizer.param_groups[0]["params"][0].grad = Y.clone()
        optimizer.step()
    assert torch.equal(rounded, soft.round(x, ts.Gumbel(0.3)))
    assert len(report) == 0


# Blocks.


def program(x: Tensor) -> Tensor:
    return torch.where((x > 0.1) & (x < 2), x.round(), F.relu(-x)).sum(-1)


def by_hand(x: Tensor, law: Law) -> Tensor:
    p = soft.greater(x, 0.1, law) * soft.less(x, 2.0, law)
    return (p * soft.round(x, law) + (1 - p) * soft.relu(-x, law)).sum(-1)


def test_report() -> None:
    x = points()
    with softened(ts.Logistic(0.1)) as report:
        program(x)
        program(x)
    line = program.__code__.co_firstlineno + 1
    assert [(e.operator, e.count, e.place) for e in report] == [
        (name, 2, (__file__, line))
        for name in ("gt", "lt", "logical_and", "round", "relu", "where")
    ]
    assert [report[0].operator, report[-1].operator] == ["gt", "where"]
    assert repr(report) == str(report)
    table = str(report).splitlines()
    assert len(table) == len(report) + 1
    assert re.fullmatch(rf"gt +ts\.soft\.greater +2 +{re.escape(__file__)}:{line}", table[1])
    with softened(ts.Logistic(0.1)) as report:
        pass
    assert str(report) == "nothing was replaced"


def test_nothing_outlives_the_block() -> None:
    x, law = points(), ts.Logistic(0.1)
    block = softened(law)
    for _ in range(2):  # a block can be entered again
        with block:
            torch.testing.assert_close(program(x), by_hand(x, law))
        assert (x > 0).dtype == torch.bool
    with pytest.raises(ZeroDivisionError), block:
        1 / 0  # noqa: B018
    assert (x > 0).dtype == torch.bool
    with block, pytest.raises(ZeroDivisionError), block:
        1 / 0  # noqa: B018
    assert torch._C._len_torch_function_stack() == 0
    assert torch.cond is COND


def test_nested_blocks() -> None:
    x, outer, inner = points(), ts.Logistic(0.1), ts.Gaussian(0.7)
    with softened(outer) as report:
        first = program(x)
        with softened(inner) as second_report:
            second = program(x)
        with softened(outer, only=()) as third_report:
            third = program(x)
        fourth = program(x)
    torch.testing.assert_close(first, by_hand(x, outer))
    torch.testing.assert_close(second, by_hand(x, inner))
    assert torch.equal(third, program(x))
    assert torch.equal(first, fourth)
    assert report.count("round") == 2 and second_report.count("round") == 1
    assert len(third_report) == 0


def test_decorator() -> None:
    x, law = points(), ts.Logistic(0.1)

    @softened(law)
    def function(x: Tensor) -> Tensor:
        return program(x)

    assert function.__name__ == "function"
    torch.testing.assert_close(function(x), by_hand(x, law))
    torch.testing.assert_close(softened(law)(program)(x), by_hand(x, law))
    assert torch.equal(program(x), program(x.detach()))


def test_only_and_exclude() -> None:
    x, law = points(), ts.Logistic(0.1)
    with softened(law, exclude=("round", "long", "item")):
        rounded, integers, total = x.round(), x.long(), x.sum().item()
        assert isinstance(x > 0, SoftBoolean)
    assert torch.equal(rounded, x.round())
    assert torch.equal(integers, x.long())
    assert total == x.sum().item()
    with softened(law, only=("round",)):
        torch.testing.assert_close(x.round(), soft.round(x, law))
        assert (x > 0).dtype == torch.bool
        assert (x == 0).dtype == torch.bool


def test_threads() -> None:
    x, law = points(), ts.Logistic(0.1)
    inside, leave = threading.Event(), threading.Event()
    results = {}

    @softened(law)
    def held(x: Tensor) -> None:
        inside.set()
        assert leave.wait(30)
        results["thread"] = program(x)

    thread = threading.Thread(target=held, args=(x,))
    thread.start()
    assert inside.wait(30)
    assert (x > 0).dtype == torch.bool  # here nothing is softened
    with softened(ts.Gaussian(0.5)):
        results["main"] = program(x)
    leave.set()
    thread.join()
    torch.testing.assert_close(results["thread"], by_hand(x, law))
    torch.testing.assert_close(results["main"], by_hand(x, ts.Gaussian(0.5)))
    assert torch.cond is COND


def test_modules() -> None:
    law = ts.Logistic(0.2)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Hardtanh()).double()
    with softened(law) as report:
        y = model(points())
    hidden = soft.relu(model[0](points()), law)
    torch.testing.assert_close(y, soft.clamp(model[2](hidden), -1.0, 1.0, law))
    assert {entry.place.file for entry in report} == {__file__}
    encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    with softened(law) as report, torch.no_grad():
        encoder(torch.randn(2, 5, 4))  # without torch's fused kernel, whose relu is hard
    assert report.count("relu") == 1


def test_differentiable_accuracy() -> None:
    x = points()
    labels = torch.tensor([2, 0])
    with softened(ts.Gumbel(0.5)):
        accuracy = (x.argmax(-1) == labels).double().mean()
    expected = torch.softmax(x / 0.5, 1)[torch.arange(2), labels].mean()
    torch.testing.assert_close(accuracy, expected)
    slopes = [torch.autograd.grad(value, x)[0] for value in (accuracy, expected)]
    torch.testing.assert_close(*slopes)


def test_learned_scale() -> None:
    x = points()
    scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    with softened(ts.Logistic(scale)):
        y = program(x).sum()
    expected = by_hand(x, ts.Logistic(scale)).sum()
    slopes = [torch.autograd.grad(value, scale)[0] for value in (y, expected)]
    torch.testing.assert_close(*slopes)
    assert slopes[0] != 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, under forward mode
def test_transforms() -> None:
    x, law = points().detach(), ts.Logistic(0.3)

    def inside(x: Tensor) -> Tensor:
        with softened(law):
            return program(x)

    expected = torch.autograd.functional.jacobian(lambda x: by_hand(x, law), x)
    slopes = torch.stack([expected[i, i] for i in range(2)])
    torch.testing.assert_close(torch.func.vmap(inside)(x), by_hand(x, law))
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(inside))(x), slopes)
    torch.testing.assert_close(torch.func.jvp(inside, (x,), (x,))[1], (slopes * x).sum(1))
    with softened(law):
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(program))(x), slopes)
        events = torch.func.vmap(lambda row: row > 0.1)(x)
        torch.testing.assert_close(events.probability, soft.greater(x, 0.1, law))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, under forward mode
def test_transforms_of_sorting() -> None:
    """Without a seed: the same in every element of a batch, with the rows of argsort as slopes."""
    x, law = points().detach(), ts.Logistic(0.3)

    def ordered(row: Tensor) -> tuple[Tensor, ...]:
        with softened(law):
            return row.sort().values, row.median(), row.quantile(0.3), row.topk(2).values

    p = soft.argsort(x, law)
    expected = soft.sort(x, law), soft.median(x, law), soft.quantile(x, 0.3, law)
    *first, largest = torch.func.vmap(ordered)(x)
    for actual, exact in zip(first, expected, strict=True):
        torch.testing.assert_close(actual, exact)
    torch.testing.assert_close(largest, expected[0].flip(-1)[:, :2])
    for row, matrix in zip(x, p, strict=True):
        torch.testing.assert_close(torch.func.jacrev(lambda y: ordered(y)[0])(row), matrix)
        slope = torch.func.jvp(lambda y: ordered(y)[0], (row,), (row,))[1]
        torch.testing.assert_close(slope, matrix @ row)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiles_whole() -> None:
    x, law = points().detach(), ts.Logistic(0.3)

    def inside(x: Tensor) -> tuple[Tensor, Any]:
        with softened(law) as report:
            # The package's own operators keep their bodies.
            return program(x) + soft.round(x, law).sum(-1), report

    expected = by_hand(x, law) + soft.round(x, law).sum(-1)
    torch._dynamo.reset()
    value, report = torch.compile(inside, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(value, expected)
    line = program.__code__.co_firstlineno + 1
    assert {entry.place for entry in report} == {(__file__, line)}
    compiled = torch.compile(program, fullgraph=True, backend="eager")
    with softened(law):
        torch.testing.assert_close(compiled(x), by_hand(x, law))
        torch.testing.assert_close(compiled(x), by_hand(x, law))
    assert torch.equal(compiled(x), program(x))


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_in_pieces() -> None:
    x, law = points().detach(), ts.Logistic(0.3)

    def broken(x: Tensor) -> Tensor:
        with softened(law):
            y = (x > 0).float()
            torch._dynamo.graph_break()
            return y * program(x)[:, None]

    def branch(x: Tensor) -> Tensor:
        with softened(law):
            return x if (x > 0).any() else -x

    torch._dynamo.reset()
    torch.testing.assert_close(
        torch.compile(broken, backend="eager")(x),
        soft.greater(x, 0.0, law) * by_hand(x, law)[:, None],
    )
    line = branch.__code__.co_firstlineno + 2
    with pytest.raises(ValueError, match=re.escape(f"{__file__}:{line}: a Python branch")):
        torch.compile(branch, backend="eager")(x)


def test_arguments() -> None:
    for arguments, text in [
        ({"distribution": 0.3}, "distribution must be a distribution"),
        ({"distribution": ts.Gaussian(scale_matrix=torch.eye(2))}, "use ts.smooth"),
        ({"only": "round"}, r'pass \("round",\)'),
        ({"only": 3}, r'only must be a collection of names, got 3; pass \("round",\)'),
        ({"only": (3,)}, r"only must name operators that soften knows, got \[3\]"),
        ({"exclude": None}, "exclude must be a collection of names, got None"),
        ({"exclude": ("ruond",)}, "exclude must name operators that soften knows, got .'ruond'"),
        ({"tolerance": "wide"}, "tolerance must be a number"),
        ({"tolerance": True}, "tolerance must be a number"),
        ({"tolerance": -0.5}, "tolerance must not be negative, got -0.5"),
        ({"tolerance": math.nan}, "tolerance must not be negative, got nan"),
        ({"num_samples": 8}, "no keyword 'num_samples', because all operators are exact"),
        ({"seed": 0}, "no keyword 'seed', because all operators are exact"),
        ({"scale": 1.0}, "unexpected keyword argument 'scale'; it takes distribution, only"),
    ]:
        with pytest.raises((TypeError, ValueError), match=text):
            soften(**({"distribution": ts.Logistic()} | arguments))
    with pytest.raises(TypeError, match="function must be callable"):
        soften(ts.Logistic())(3.0)
    for unbounded, text in (
        (torch.relu, "must have a mean"),
        (torch.amax, "must have a mean"),
        (lambda x: x.sort(), "must not be Cauchy for sort here"),
        (lambda x: x.expand(50, 3).amax(0), "must have a mean"),
    ):
        with soften(ts.Cauchy()), pytest.raises(ValueError, match=text):
            unbounded(Y[:1])
    with soften(ts.Cauchy()):
        assert isinstance(Y.argsort(), SoftIndex)  # places always have a law


# Whole programs, written with where and comparisons, against ts.smooth.


def decision_list(x: Tensor) -> Tensor:  # [..., 3] -> [...]
    last = torch.where(x[..., 2] >= 0.0, 3.0, 7.0)
    return torch.where(x[..., 0] > 0.2, 1.0, torch.where(x[..., 1] < -0.3, 2.0, last))


WEIGHTS = torch.tensor([[0.7, -1.1, 0.4], [0.2, 0.5, -0.9]], dtype=torch.float64)


def quantised_layer(x: Tensor) -> Tensor:  # [..., 3] -> [..., 2]
    return F.linear(torch.round(x), WEIGHTS)


LABELS = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)


def hinge_cost(scores: Tensor) -> Tensor:  # [..., 3] -> [...]
    return torch.relu(1 - LABELS * scores).sum(-1)


def hit_or_miss(throw: Tensor) -> Tensor:  # [..., 2] -> [...]
    over_the_wall = throw[..., 0] > 0.3
    under_the_roof = throw[..., 1] < 0.8
    return 10 * (over_the_wall & under_the_roof).double() - 1


def compare_exchange(keys: Tensor, payload: Tensor) -> tuple[Tensor, Tensor]:
    """Two keys in order, and what they carry."""
    swap = keys[..., 0] > keys[..., 1]

    def ordered(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([torch.where(swap, b, a), torch.where(swap, a, b)], -1)

    return ordered(keys[..., 0], keys[..., 1]), ordered(payload[..., 0], payload[..., 1])


def sort_two(keys: Tensor) -> Tensor:  # [..., 2] -> [..., 2]
    return compare_exchange(keys, torch.tensor([3.0, 5.0], dtype=keys.dtype))[1]


def sort_three(keys: Tensor) -> Tensor:  # [..., 3] -> [..., 3]
    lanes = list(keys.unbind(-1))
    payload = [torch.full_like(lanes[0], value) for value in (3.0, 5.0, 9.0)]
    for i, j in ((0, 1), (1, 2), (0, 1)):
        pair, carried = compare_exchange(
            torch.stack([lanes[i], lanes[j]], -1), torch.stack([payload[i], payload[j]], -1)
        )
        lanes[i], lanes[j] = pair.unbind(-1)
        payload[i], payload[j] = carried.unbind(-1)
    return torch.stack(payload, -1)


X = (0.1, -0.45, 0.3)


@pytest.mark.parametrize(
    "function, x, noise, difference, resolution",
    [
        (decision_list, X, ts.Gumbel(0.5), ts.Gumbel(0.5), 0.2),
        (decision_list, X, ts.Gaussian(0.5), ts.Gaussian(0.5), 0.2),
        (quantised_layer, X, ts.Gaussian(0.3), ts.Gaussian(0.3), 0.2),
        (quantised_layer, X, ts.Gumbel(0.3), ts.Gumbel(0.3), 0.2),
        (hinge_cost, X, ts.Logistic(0.4), ts.Logistic(0.4), 0.2),
        (hit_or_miss, X[:2], ts.Gumbel(0.4), ts.Gumbel(0.4), 0.5),
        (hit_or_miss, X[:2], ts.Laplace(0.4), ts.Laplace(0.4), 0.5),
        # Both keys have noise, which differ by a variable of another law.
        (sort_two, X[:2], ts.Gumbel(0.5), ts.Logistic(0.5), 0.1),
        (sort_two, X[:2], ts.Gaussian(0.5), ts.Gaussian(0.5 * math.sqrt(2)), 0.1),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_programs_that_compare_once(
    function: Callable[[Tensor], Tensor], x: tuple, noise: Law, difference: Law, resolution: float
) -> None:
    """Value and gradient, within 5 standard errors of 128 independent estimates."""
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    with soften(difference):
        value = function(point)
    weights = torch.linspace(1.0, -0.5, value.numel(), dtype=torch.float64).reshape(value.shape)
    (slope,) = torch.autograd.grad((value * weights).sum(), point)
    points = replicate(point, 128)
    smoothed = ts.smooth(function, noise, num_samples=256, sampler="mc", seed=1)(points)
    (slopes,) = torch.autograd.grad((smoothed * weights).sum(), points)
    assert_mean(smoothed, value, resolution=resolution)
    assert_mean(slopes, slope, resolution=2 * resolution)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_programs_that_compare_twice() -> None:
    """Where softening is not the expectation of the program: by how much, in closed form."""
    x, scale = 0.2, 0.5
    point = torch.tensor(x, dtype=torch.float64)
    with soften(ts.Logistic(scale)):
        band = ((point > 0.0) & (point < 1.0)).double()
        branch = torch.where(point > 0, point, 0.0)
        steep = (10 * point > 0).double()
        rounded = point.clamp(0.0, 3.0).round()
    # Two comparisons of one variable: the events are not independent, softening takes them to be.
    above, below = sigmoid(x / scale), sigmoid((1 - x) / scale)
    assert band.item() == pytest.approx(above * below)
    expectation = above - sigmoid((x - 1) / scale)
    assert band.item() - expectation == pytest.approx((1 - above) * (1 - below))
    # A branch whose value depends on what was compared: E[1(y > 0) y] is the softplus.
    assert branch.item() == pytest.approx(x * above)
    softplus = scale * math.log1p(math.exp(x / scale))
    entropy = -above * math.log(above) - (1 - above) * math.log(1 - above)
    assert softplus - branch.item() == pytest.approx(scale * entropy)
    # The noise is on the operand: that of 10 x is 10 times as large relative to it as that of x.
    assert steep.item() == pytest.approx(sigmoid(10 * x / scale))
    # One operator on the result of another: twice noise, once inside and once outside.
    inner = soft.clamp(point, 0.0, 3.0, ts.Logistic(scale))
    assert rounded.item() == pytest.approx(soft.round(inner, ts.Logistic(scale)).item())


def test_network_of_three_keys() -> None:
    """Softening blends the keys themselves; the expectation is that of Plackett and Luce's law."""
    keys = torch.tensor(X, dtype=torch.float64)
    scale = 0.5
    # With noise -Gumbel the smallest of x is first; of -x + Gumbel the largest.
    weights = [math.exp(-v / scale) for v in X]
    expected = [0.0] * 3
    for order in itertools.permutations(range(3)):
        p, rest = 1.0, sum(weights)
        for i in order:
            p, rest = p * weights[i] / rest, rest - weights[i]
        for place, i in enumerate(order):
            expected[place] += p * (3.0, 5.0, 9.0)[i]
    smoothed = ts.smooth(lambda y: sort_three(-y), ts.Gumbel(scale), num_samples=2**14, seed=0)
    torch.testing.assert_close(smoothed(-keys), keys.new_tensor(expected), rtol=0, atol=0.05)
    # Softened: every comparator blends its two keys, and what they carry.
    blended = list(zip(X, (3.0, 5.0, 9.0), strict=True))
    for i, j in ((0, 1), (1, 2), (0, 1)):
        p = sigmoid((blended[i][0] - blended[j][0]) / scale)
        low = [p * b + (1 - p) * a for a, b in zip(blended[i], blended[j], strict=True)]
        high = [p * a + (1 - p) * b for a, b in zip(blended[i], blended[j], strict=True)]
        blended[i], blended[j] = low, high
    with soften(ts.Logistic(scale)):
        network = sort_three(keys)
    assert network.tolist() == pytest.approx([payload for _, payload in blended])
    distance = (network - keys.new_tensor(expected)).abs().max().item()
    assert distance == pytest.approx(0.64, abs=0.01)
    # Sharper noise, smaller difference.
    with soften(ts.Logistic(scale / 100)):
        network = sort_three(keys)
    assert network.tolist() == pytest.approx(sort_three(keys).tolist(), abs=1e-12)
