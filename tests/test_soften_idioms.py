"""Idioms of training programs under `soften`: conversions, masks, accuracies, own extrema."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torchsmooth as ts
from torchsmooth import soft


INF = math.inf
X = torch.tensor([[0.0, 1.0, 3.0], [2.0, -1.0, 0.5]], dtype=torch.float64)
LABELS = torch.tensor([2, 0])
LAW = ts.Gumbel(0.7)


def softened(program: Callable[[], Any], law: ts.AbstractDistribution = LAW) -> Any:
    with ts.soften(law, seed=1):
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
    with ts.soften(ts.Gumbel(1e-3), seed=1):
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
    with ts.soften(ts.Gumbel(1e-6), seed=1):
        actual = program(X.argsort(1))
        assert actual.shape == expected.shape and actual.ndim == expected.ndim
        assert actual.numel() == expected.numel() and actual.size() == expected.size()
    assert torch.equal(actual.probabilities.argmax(-1), expected)
