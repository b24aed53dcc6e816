"""What type checkers see of a layer's call: they run over this file, and so does pytest."""

import torch
from torch import Tensor
from typing_extensions import assert_type

import torchsmooth as ts


def test_calls_are_typed() -> None:
    """A layer called is no Any, as torch declares it, but what its function returns."""
    x = torch.randn(3, 4)
    assert_type(ts.nn.ArgSort(ts.Logistic(), num_samples=8)(x), Tensor)
    assert_type(ts.nn.TopK(2, ts.Logistic(), num_samples=8)(x), Tensor)
    assert_type(ts.nn.ShortestPath(ts.Logistic(), num_samples=8)(x), Tensor)
    assert_type(ts.nn.SoftReLU(ts.Logistic())(x), Tensor)
    assert_type(ts.nn.SoftMaximum(ts.Logistic())(x, 0.0), Tensor)
    assert_type(ts.nn.SoftArgMax(-1, ts.Gumbel())(x), Tensor)
    assert_type(ts.nn.GumbelSoftmax()(x), Tensor)
    assert_type(ts.nn.SoftTakeAlongDim(-1)(x, torch.softmax(x, -1)), Tensor)
    search = ts.nn.SoftGridSearch(torch.square, torch.linspace(-1, 1, 5), ts.Logistic())
    assert_type(search(), ts.soft.GridSearch)


def margin(x: Tensor) -> Tensor:
    return x[:, 0]


def pair(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, x.square()


def step(carry: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"x": 2 * carry["x"]}


def distance(carry: dict[str, Tensor]) -> Tensor:
    return 1 - carry["x"]


def test_calls_return_what_their_functions_do() -> None:
    x = torch.randn(3, 4)
    branch = ts.nn.SoftCond(margin, pair, pair, ts.Logistic())
    assert_type(branch(x), tuple[Tensor, Tensor])
    loop = ts.nn.SoftWhile(distance, step, 3, ts.Logistic())
    assert_type(loop({"x": x}), dict[str, Tensor])
    layer = ts.nn.StraightThrough(pair, pair)
    assert_type(layer(x), tuple[Tensor, Tensor])


def test_wrong_calls_are_seen() -> None:
    """Each would be an unused comment, an error under strict, if the checker did not see it."""
    layer = ts.nn.ArgSort(ts.Logistic(), num_samples=8)
    branch = ts.nn.SoftCond(margin, pair, pair, ts.Logistic())
    calls = (
        lambda: layer("x"),  # type: ignore[arg-type]
        lambda: layer(torch.zeros(3), 1),  # type: ignore[call-arg]
        lambda: branch(3.0),  # type: ignore[arg-type]
        lambda: ts.nn.ArgSort(ts.Logistic(), eval_mode="hrad"),  # type: ignore[arg-type]
        lambda: ts.nn.ArgSort(ts.Logistic(), covariate="mean"),  # type: ignore[arg-type]
        lambda: ts.nn.ArgSort(ts.Logistic(), samples=3),  # type: ignore[call-arg]
    )
    for call in calls:
        try:
            call()
        except (TypeError, ValueError):
            continue
        raise AssertionError("nothing was raised")
