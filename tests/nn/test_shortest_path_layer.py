"""The layer of shortest paths against the function that it wraps."""

import copy
import pickle
from typing import Any

import pytest
import torch

import torchsmooth as ts
import torchsmooth.nn


GRID: dict[str, Any] = {"neighbors": 4, "source": (1, 0), "target": (0, -1), "min_weight": 0.5}
SAMPLING: dict[str, Any] = {"num_samples": 32, "sampler": "rqmc_latin", "seed": 3}


@pytest.mark.parametrize("grid", [{}, GRID], ids=["defaults", "all options"])
def test_layer_is_the_function(grid: dict[str, Any]) -> None:
    x = 1 + torch.rand(2, 3, 4)
    layer = ts.nn.ShortestPath(ts.Laplace(0.5), **grid, **SAMPLING)
    expected = ts.functional.shortest_path(x, ts.Laplace(0.5), **grid, **SAMPLING)
    for module in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(module(x), expected, rtol=0, atol=0)
        torch.testing.assert_close(module.eval()(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("grid", [{}, GRID], ids=["defaults", "all options"])
def test_hard_in_evaluation(grid: dict[str, Any]) -> None:
    x = 1 + torch.rand(2, 3, 4)
    layer = ts.nn.ShortestPath(ts.Laplace(0.5), eval_mode="hard", **grid, **SAMPLING)
    assert not torch.equal(layer(x), ts.hard.shortest_path(x, **grid))
    torch.testing.assert_close(layer.eval()(x), ts.hard.shortest_path(x, **grid), rtol=0, atol=0)


def test_scale_is_learned() -> None:
    x = (1 + torch.rand(2, 3, 4)).requires_grad_()
    scale = torch.tensor(0.5, requires_grad=True)
    layer = ts.nn.ShortestPath(ts.Laplace(0.5), learn_scale=True, **SAMPLING)
    weight = torch.randn(2, 3, 4)
    of_layer = torch.autograd.grad((weight * layer(x)).sum(), (x, layer.log_scale))
    path = ts.functional.shortest_path(x, ts.Laplace(scale), **SAMPLING)
    in_x, in_scale = torch.autograd.grad((weight * path).sum(), (x, scale))
    torch.testing.assert_close(of_layer, (in_x, in_scale * scale.detach()))


def test_says_what_it_is() -> None:
    text = repr(ts.nn.ShortestPath(ts.Laplace(0.5), **GRID, **SAMPLING))
    for part in ("Laplace", "num_samples=32", "neighbors=4", "target=(0, -1)", "min_weight=0.5"):
        assert part in text


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        ts.nn.ShortestPath(ts.Laplace(0.5), num_samples=0)
    with pytest.raises(ValueError, match="neighbors must be 4 or 8, got 6"):
        ts.nn.ShortestPath(ts.Laplace(0.5), neighbors=6)
    with pytest.raises(ValueError, match="min_weight must be finite and >= 0, got -3"):
        ts.nn.ShortestPath(ts.Laplace(0.5), min_weight=-3)
    with pytest.raises(TypeError, match=r"source must be a \(row, column\) of two ints, got 3"):
        ts.nn.ShortestPath(ts.Laplace(0.5), source=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"target must be a cell of the grid of 2 x 3 cells"):
        ts.nn.ShortestPath(ts.Laplace(0.5), target=(2, 0))(torch.ones(2, 3))
