"""Idioms of training programs under `soften`: conversions, masks, accuracies, own extrema."""

import gc
import io
import itertools
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor

import torchsmooth as ts
from torchsmooth import soft


INF = math.inf
X = torch.tensor([[0.0, 1.0, 3.0], [2.0, -1.0, 0.5]], dtype=torch.float64)
LABELS = torch.tensor([2, 0])
LAW = ts.Gumbel(0.7)


def softened(program: Callable[[], Any], law: ts.AbstractDistribution = LAW) -> Any:
    with ts.soften(law):
        return program()


# --- conversions -----------------------------------------------------------------------------

CONVERSIONS: dict[str, Callable[[Tensor], Any]] = {
    "type_as floats": lambda c: c.type_as(X),
    "type_as integers": lambda c: c.type_as(LABELS),
    "to a tensor": lambda c: c.to(X),
    "to integers": lambda c: c.to(LABELS),
    "to tensor=": lambda c: c.to(tensor=X),
    "type_as other=": lambda c: c.type_as(other=X),
    "type dtype=": lambda c: c.type(dtype=torch.float64),
    "type of a name": lambda c: c.type("torch.DoubleTensor"),
    "type of integers": lambda c: c.type("torch.LongTensor"),
    "type of a class": lambda c: c.type(torch.DoubleTensor),
    "type of a dtype": lambda c: c.type(torch.float64),
    "type_as a soft number": lambda c: c.type_as(c.double()),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_give_the_expected_number(name: str) -> None:
    """What the hard program makes a number becomes one, so that + adds and does not unite."""
    convert = CONVERSIONS[name]
    assert convert(X > 0).dtype != torch.bool  # the hard program

    def program() -> tuple[Any, Any]:
        true_positives, false_positives = convert(X > 0), convert(X > 1)
        return true_positives, true_positives + false_positives

    p, q = soft.greater(X, 0.0, LAW), soft.greater(X, 1.0, LAW)
    number, total = softened(program)
    assert isinstance(number, Tensor)
    torch.testing.assert_close(number, p)
    torch.testing.assert_close(total, p + q)


@pytest.mark.parametrize(
    "convert",
    [
        lambda c: c.type_as(torch.tensor(True)),
        lambda c: c.type_as(c),
        lambda c: c.to(torch.bool),
        lambda c: c.type("torch.BoolTensor"),
        lambda c: c.to("cpu"),
    ],
)
def test_conversions_to_booleans_stay_events(convert: Callable[[Any], Any]) -> None:
    event = softened(lambda: convert(X > 0) + convert(X > 1))  # of bool tensors + is or
    assert isinstance(event, ts.SoftBoolean)
    expected = soft.logical_or(soft.greater(X, 0.0, LAW), soft.greater(X, 1.0, LAW))
    torch.testing.assert_close(event.probability, expected)


def test_the_name_of_the_type() -> None:
    assert softened(lambda: (X > 0).type()) == (X > 0).type()


# --- masks -----------------------------------------------------------------------------------

LOWEST = torch.finfo(torch.float64).min
MASKS: dict[str, Callable[[Any], Tensor]] = {
    "masked_fill": lambda c: X.masked_fill(c, -INF),
    "where": lambda c: torch.where(c, -INF, X),
    "where of the others": lambda c: torch.where(~c, X, torch.tensor(-INF).double()),
    "a tensor of -inf": lambda c: torch.where(c, torch.full_like(X, -INF), X),
    "the lowest number": lambda c: X.masked_fill(c, LOWEST),
}


@pytest.mark.parametrize("mask", MASKS)
def test_masks_before_a_softmax(mask: str) -> None:
    """Each element counts with the probability that it is not masked: (1 - p) exp(x) / sum."""
    x = X.clone().requires_grad_()
    p = soft.less(x, 0.75, LAW)
    weights = (1 - p) * X.exp()
    expected = weights / weights.sum(-1, keepdim=True)
    actual = softened(lambda: MASKS[mask](x < 0.75).softmax(-1))
    torch.testing.assert_close(actual, expected)
    weight = torch.randn_like(X)
    slopes = [
        torch.autograd.grad((weight * y).sum(), x, retain_graph=True) for y in (actual, expected)
    ]
    torch.testing.assert_close(*slopes)


def test_masks_of_positive_infinity() -> None:
    """As before a softmax of -x."""
    p = soft.less(X, 0.75, LAW)
    weights = (1 - p) * (-X).exp()
    expected = weights / weights.sum(-1, keepdim=True)
    actual = softened(lambda: (-X.masked_fill(X < 0.75, INF)).softmax(-1))
    torch.testing.assert_close(actual, expected)


def test_masks_that_are_certain() -> None:
    """Of probability 1 and 0, also with the gradient; masked twice; beside a hard mask."""
    x = X.clone().requires_grad_()
    law = ts.Triangular(0.1)
    hard = X.masked_fill(X < 0.75, -INF)

    def program() -> Tensor:
        once = x.masked_fill(x < 0.75, -INF)
        return once.masked_fill(x < 0.75, -INF)

    value = softened(program, law)
    assert torch.equal(value, hard)
    probabilities = value.softmax(-1)
    torch.testing.assert_close(probabilities, hard.softmax(-1))
    (gradient,) = torch.autograd.grad(probabilities[:, 0].sum(), x)
    assert bool(gradient.isfinite().all())
    padded = X.masked_fill(torch.tensor([True, False, False]), -INF)
    value = softened(lambda: torch.where(X < 0.75, -INF, padded), law)
    assert torch.equal(value, torch.where(X < 0.75, -INF, padded))


def test_top_k_filter() -> None:
    """The usual one: no NaN, and in the limit of small scales the program itself."""

    def program() -> Tensor:
        remove = X < torch.topk(X, 2)[0][..., -1, None]
        return X.masked_fill(remove, -INF).softmax(-1)

    soft_value = softened(program)
    torch.testing.assert_close(soft_value.sum(-1), torch.ones(2, dtype=X.dtype))
    assert bool((soft_value > 0).all())


# --- accuracies ------------------------------------------------------------------------------

ACCURACIES: dict[str, Callable[[Tensor], Any]] = {
    "labels ==": lambda x: LABELS == x.argmax(1),
    "labels.eq": lambda x: LABELS.eq(x.argmax(1)),
    "argmax ==": lambda x: x.argmax(1) == LABELS,
    "pred.eq": lambda x: x.argmax(1).eq(LABELS),
    "view_as": lambda x: x.argmax(1, keepdim=True).eq(LABELS.view_as(x.argmax(1, keepdim=True)))[
        :, 0
    ],
    "pred.view_as": lambda x: x.argmax(1, keepdim=True).view_as(LABELS).eq(LABELS),
    "max(1)[1]": lambda x: x.max(1)[1].cpu().eq(LABELS.cpu()),
    "transposed": lambda x: x.argmax(1, keepdim=True).t().eq(LABELS.view(1, -1))[0],
    "expanded": lambda x: x.argmax(1).eq(LABELS.expand_as(x.argmax(1))),
}


@pytest.mark.parametrize("name", ACCURACIES)
def test_accuracies(name: str) -> None:
    """The probability that the largest logit is that of the label: softmax under Gumbel noise."""
    program = ACCURACIES[name]
    assert program(X).tolist() == [True, True]
    event = softened(lambda: program(X))
    expected = torch.softmax(X / 0.7, -1)[torch.arange(2), LABELS]
    torch.testing.assert_close(event.probability, expected)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x.argmax(1).ne(LABELS),
        lambda x: x.argmax(1) != LABELS,
        lambda x: LABELS != x.argmax(1),
        lambda x: LABELS.ne(x.argmax(1)),
    ],
)
def test_errors(program: Callable[[Tensor], Any]) -> None:
    event = softened(lambda: program(X))
    expected = 1 - torch.softmax(X / 0.7, -1)[torch.arange(2), LABELS]
    torch.testing.assert_close(event.probability, expected)


def test_events_meet_booleans_from_either_side() -> None:
    truth = X > 0.7
    p = soft.greater(X, 0.0, LAW)
    equal = torch.where(truth, p, 1 - p)
    for program, expected in [
        (lambda: truth == (X > 0), equal),
        (lambda: (X > 0) == truth, equal),
        (lambda: truth != (X > 0), 1 - equal),
        (lambda: truth.eq(X > 0), equal),
    ]:
        with ts.soften(LAW):
            event = program()
        torch.testing.assert_close(event.probability, expected)


def test_accuracy_of_the_first_k() -> None:
    """The usual function of examples: topk, t, eq, expand_as, reshape, sum."""

    def program() -> Tensor:
        _, pred = X.topk(2, 1, True, True)
        pred = pred.t()
        correct = pred.eq(LABELS.view(1, -1).expand_as(pred))
        return correct[:2].reshape(-1).float().sum(0)

    hard = program()
    with ts.soften(ts.Gumbel(1e-3)):
        torch.testing.assert_close(program(), hard)


@pytest.mark.parametrize(
    "program",
    [
        lambda i: i.t(),
        lambda i: i.T,
        lambda i: i.mT,
        lambda i: i.transpose(0, 1),
        lambda i: i.permute(1, 0),
        lambda i: i.movedim(0, 1),
        lambda i: i.ravel(),
        lambda i: i[:, :1].expand(2, 4),
        lambda i: i[:, :1].expand_as(torch.zeros(2, 4)),
        lambda i: i.flip(1),
        lambda i: i.roll(1, 0),
        lambda i: i.repeat(2, 1),
        lambda i: i.select(1, 0),
        lambda i: i.narrow(1, 0, 1),
        lambda i: torch.stack([i, i]),
        lambda i: torch.stack([i, i], -1),
        lambda i: torch.cat([i, i], 1),
        lambda i: i.split(1, 1)[1],
        lambda i: i.unbind(1)[0],
        lambda i: i.clone(),
        lambda i: i.contiguous().cpu().detach(),
    ],
)
def test_indices_are_rearranged_as_integers_are(program: Callable[[Any], Any]) -> None:
    """By the hard limit: entries, shape and number of dimensions."""
    expected = program(X.argsort(1))
    with ts.soften(ts.Gumbel(1e-6)):
        actual = program(X.argsort(1))
        assert actual.shape == expected.shape and actual.ndim == expected.ndim
        assert actual.numel() == expected.numel() and actual.size() == expected.size()
    assert torch.equal(actual.probabilities.argmax(-1), expected)


# --- comparisons with what an operator has made of the same tensor ---------------------------

SATURATED: dict[str, Callable[[Tensor], Any]] = {
    "relu(x) > 0": lambda x: x.relu() > 0,
    "0 < relu(x)": lambda x: 0 < torch.relu(x),
    "relu(x) >= 0": lambda x: x.relu() >= 0,
    "relu(x) <= 0": lambda x: x.relu() <= 0,
    "relu(x) < 0": lambda x: x.relu() < 0,
    "relu(x) == 0": lambda x: x.relu() == 0,
    "relu(x) != 0": lambda x: x.relu() != 0,
    "relu(x) > 1": lambda x: x.relu() > 1,
    "clamp >= hi": lambda x: x.clamp(0.25, 1.5) >= 1.5,
    "clamp > hi": lambda x: x.clamp(0.25, 1.5) > 1.5,
    "clamp == hi": lambda x: x.clamp(0.25, 1.5) == 1.5,
    "clamp <= lo": lambda x: x.clamp(0.25, 1.5) <= 0.25,
    "clamp < lo": lambda x: x.clamp(0.25, 1.5) < 0.25,
    "clamp between": lambda x: x.clamp(0.25, 1.5) > 1,
    "clamp(min)": lambda x: x.clamp(min=0.25) > 0.25,
    "clamp_max": lambda x: x.clamp_max(0.25) >= 0.25,
    "hardtanh": lambda x: torch.nn.functional.hardtanh(x) < 1,
    "relu6": lambda x: torch.nn.functional.relu6(4 * x) >= 6,
    "round >= 2": lambda x: x.round() >= 2,
    "round == 1": lambda x: x.round() == 1,
    "round != 1": lambda x: x.round() != 1,
    "round > 0.7": lambda x: x.round() > 0.7,
    "floor >= 1": lambda x: x.floor() >= 1,
    "floor > 1": lambda x: x.floor() > 1,
    "ceil <= 1": lambda x: x.ceil() <= 1,
    "ceil < 1": lambda x: x.ceil() < 1,
    "trunc >= 0": lambda x: x.trunc() >= 0,
    "trunc > 0": lambda x: x.trunc() > 0,
    "trunc == 0": lambda x: x.trunc() == 0,
    "sign > 0": lambda x: x.sign() > 0,
    "sign >= 1": lambda x: x.sign() >= 1,
    "sign == -1": lambda x: x.sign() == -1,
    "x >= amax": lambda x: x >= x.amax(-1, keepdim=True),
    "x == max": lambda x: x == x.max(),
    "x == max(0)": lambda x: x == x.max(0, keepdim=True)[0],
    "x < max(1)[:, None]": lambda x: x < x.max(1)[0][:, None],
    "x > max": lambda x: x > x.max(1).values.unsqueeze(1),
    "x <= max": lambda x: x <= x.max(1).values.unsqueeze(-1),
    "min != x": lambda x: x.amin(1, True) != x,
    "min >= x": lambda x: x.min(0).values[None] >= x,
    "min < x": lambda x: x.amin(0, True) < x,
    "topk filter": lambda x: x < torch.topk(x, 2)[0][..., -1, None],
    "topk filter, slice": lambda x: x >= x.topk(2, 1).values[:, -1:],
    "topk filter, unsqueeze": lambda x: x.topk(2, 1)[0][:, -1].unsqueeze(1) > x,
    "smallest": lambda x: x <= x.topk(2, 1, largest=False)[0][..., 1:],
    "strictly among the first": lambda x: x > torch.topk(x, 2)[0][..., -1, None],
    "sort": lambda x: x >= x.sort(1, descending=True)[0][:, 1:2],
    "the second of a sort": lambda x: x == x.sort(1)[0][:, 1, None],
}
# No entry lies at a bound, and the extrema are single.
POINTS = torch.tensor(
    [[0.1, 1.2, 3.4, -0.7], [2.3, -1.3, 0.6, 1.7], [-0.4, 0.2, -2.6, -0.1]], dtype=torch.float64
)


@pytest.mark.parametrize("name", SATURATED)
def test_ties_go_to_the_program(name: str) -> None:
    """As the scale goes to 0. == needs no tolerance for a value that has a probability."""
    program = SATURATED[name]
    expected = program(POINTS).double()
    event = softened(lambda: program(POINTS), ts.Gumbel(1e-7))
    torch.testing.assert_close(event.probability, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "program, expected",
    [
        ("relu(x) > 0", lambda x: soft.greater(x, 0.0, LAW)),
        ("relu(x) <= 0", lambda x: soft.less(x, 0.0, LAW)),
        ("relu(x) == 0", lambda x: soft.less(x, 0.0, LAW)),
        ("relu(x) > 1", lambda x: soft.greater(x, 1.0, LAW)),
        ("clamp >= hi", lambda x: soft.greater(x, 1.5, LAW)),
        ("clamp <= lo", lambda x: soft.less(x, 0.25, LAW)),
        ("clamp between", lambda x: soft.greater(x, 1.0, LAW)),
        ("round >= 2", lambda x: soft.greater(x, 1.5, LAW)),
        ("round == 1", lambda x: soft.greater(x, 0.5, LAW) - soft.greater(x, 1.5, LAW)),
        ("floor > 1", lambda x: soft.greater(x, 2.0, LAW)),
        ("ceil <= 1", lambda x: soft.less(x, 1.0, LAW)),
        ("trunc == 0", lambda x: soft.greater(x, -1.0, LAW) - soft.greater(x, 1.0, LAW)),
        ("sign == -1", lambda x: soft.less(x, 0.0, LAW)),
        ("x >= amax", lambda x: torch.softmax(x / 0.7, -1)),
        ("x == max", lambda x: torch.softmax(x.flatten() / 0.7, 0).reshape(x.shape)),
        ("x < max(1)[:, None]", lambda x: 1 - torch.softmax(x / 0.7, -1)),
        ("topk filter", lambda x: 1 - first_two(x)),
        ("topk filter, slice", lambda x: first_two(x)),
        ("strictly among the first", lambda x: torch.softmax(x / 0.7, -1)),
        ("the second of a sort", lambda x: first_two(x, second_last=True)),
    ],
)
def test_ties_are_exact(program: str, expected: Callable[[Tensor], Tensor]) -> None:
    """The expectation itself, with its gradient: the noise is on x."""
    x = POINTS.clone().requires_grad_()
    value, exact = softened(lambda: SATURATED[program](x)).probability, expected(x)
    torch.testing.assert_close(value, exact, rtol=1e-6, atol=1e-6)
    weight = torch.randn_like(exact)
    slopes = [torch.autograd.grad((weight * y).sum(), x)[0] for y in (value, exact)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)


def first_two(x: Tensor, second_last: bool = False) -> Tensor:
    """P(among the two largest) or P(the second smallest), by the law of Plackett and Luce."""
    n = x.shape[-1]
    weights = (x / 0.7).exp()
    total = torch.zeros_like(x)
    for order in itertools.permutations(range(n)):  # from the largest to the smallest
        p, left = torch.ones_like(x[..., 0]), weights.sum(-1)
        for i in order:
            p, left = p * weights[..., i] / left, left - weights[..., i]
        chosen = (order[-2],) if second_last else order[:2]
        mask = torch.zeros(n, dtype=x.dtype)
        mask[list(chosen)] = 1
        total = total + p.unsqueeze(-1) * mask
    return total


def test_other_tensors_are_compared_as_before() -> None:
    """Another tensor, another dimension, and one that was changed since."""
    y = POINTS.flip(1)
    square = POINTS[:, :3]

    def changed() -> Any:
        x = POINTS.clone()
        top = x.amax(-1, keepdim=True)
        x += 1
        return x >= top

    def changed_output() -> Any:
        top = POINTS.relu()
        top += 1
        return top > 0

    amax = soft.amax(POINTS, -1, LAW, keepdim=True)
    for program, expected in [
        (lambda: y >= POINTS.amax(-1, keepdim=True), soft.greater(y, amax, LAW)),
        (lambda: square >= square.amax(-1), soft.greater(square, soft.amax(square, -1, LAW), LAW)),
        (changed, soft.greater(POINTS + 1, amax, LAW)),
        (changed_output, soft.greater(soft.relu(POINTS, LAW) + 1, 0.0, LAW)),
        (lambda: POINTS.relu() > y, soft.greater(soft.relu(POINTS, LAW), y, LAW)),
    ]:
        torch.testing.assert_close(softened(program).probability, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "name", ["relu(x) > 0", "clamp >= hi", "round == 1", "x >= amax", "topk filter"]
)
def test_ties_in_compiled_programs(name: str) -> None:
    """As in eager mode, in one graph."""

    def program(x: Tensor) -> Tensor:
        with ts.soften(ts.Gumbel(0.7)):
            return SATURATED[name](x).double()

    torch._dynamo.reset()
    compiled = torch.compile(program, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(POINTS), program(POINTS))
    torch._dynamo.reset()


def test_ties_of_rows() -> None:
    """Of one dimension, also under vmap."""
    with ts.soften(LAW):
        rows = torch.func.vmap(lambda row: (row >= row.amax()).double())(POINTS)
        row = POINTS[0]
        programs = [
            row >= row.amax(0),
            row >= row.max(0)[0],
            row >= row.max(0)[0][None],
            row >= row.topk(2)[0][0],
            row >= row.topk(2)[0][0].unsqueeze(0),
        ]
    torch.testing.assert_close(rows, torch.softmax(POINTS / 0.7, -1))
    for event in programs:
        torch.testing.assert_close(event.probability, torch.softmax(row / 0.7, -1))


def test_outputs_are_not_kept_alive() -> None:
    """Nor their inputs, once a program has dropped them."""
    block = ts.soften(LAW)
    with block:
        x = POINTS.clone()
        top = x.amax()
        reference = weakref.ref(x)
        del x, top
        gc.collect()
        assert reference() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("compiled", [False, True])
def test_outputs_can_be_saved(compiled: bool) -> None:
    """Nothing of the block is left on them that a file could not hold."""

    def program(x: Tensor) -> tuple[Tensor, Tensor]:
        with ts.soften(LAW):
            y = x.relu()
            return y, (y > 0).float()

    torch._dynamo.reset()
    run = torch.compile(program, fullgraph=True, backend="eager") if compiled else program
    y, _ = run(POINTS)
    file = io.BytesIO()
    torch.save(y, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=True), y)
    torch._dynamo.reset()
