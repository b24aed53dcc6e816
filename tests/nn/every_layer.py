"""One example of every layer, with what it is called with: for tests that hold for all of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import torchsmooth as ts


class Example(NamedTuple):
    """How a layer is made, and what it is called with."""

    make: Callable[..., nn.Module]
    inputs: tuple[Any, ...]


# At the top level of the module, so that they can be pickled.


def margin(x: Tensor) -> Tensor:
    return x[:, 0] - 0.1


def double(x: Tensor) -> Tensor:
    return 2 * x


def cube(x: Tensor, c: Tensor) -> Tensor:
    return x**3 - c


def distance(x: Tensor, c: Tensor) -> Tensor:
    return (x - c.unsqueeze(-1)).square()


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


X, Y = _normal(5, 4), _normal(5, 4, 1).squeeze(-1)
LAW, GUMBEL = ts.Gaussian(0.5), ts.Gumbel(0.5)
SAMPLING: dict[str, Any] = {"num_samples": 16, "seed": 3}
INDPTR, INDICES = torch.tensor([0, 2, 3, 3]), torch.tensor([1, 2, 2])
VERTICES = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
FACES = torch.tensor([[0, 1, 2]])
POSE_NOISE = ts.Logistic(torch.tensor([0.1, 5.0, 5.0, 0.25]))


def _sampled(layer: Callable[..., nn.Module], *args: Any) -> Callable[..., nn.Module]:
    return lambda **options: layer(*args, **{**SAMPLING, **options})


def _exact(layer: Callable[..., nn.Module], *args: Any, **fixed: Any) -> Callable[..., nn.Module]:
    return lambda **options: layer(*args, **fixed, **options)


EXAMPLES = {
    "ArgMax": Example(_sampled(ts.nn.ArgMax, GUMBEL), (X,)),
    "ArgSort": Example(_sampled(ts.nn.ArgSort, LAW), (X,)),
    "BlackBox": Example(_exact(ts.nn.BlackBox, ts.hard.argmax, 2.0), (X,)),
    "FenchelYoungLoss": Example(
        _sampled(ts.nn.FenchelYoungLoss, ts.hard.argmax, LAW), (X, ts.hard.argmax(Y))
    ),
    "GumbelSoftmax": Example(_exact(ts.nn.GumbelSoftmax, 0.5, seed=3), (X,)),
    "Median": Example(_sampled(ts.nn.Median, LAW), (X,)),
    "Quantile": Example(_sampled(ts.nn.Quantile, torch.tensor([0.25, 0.5]), LAW), (X,)),
    "Rank": Example(_sampled(ts.nn.Rank, LAW), (X,)),
    "Render": Example(
        _sampled(ts.nn.Render, VERTICES, FACES, POSE_NOISE), (torch.tensor([4.0, 0.0, 0.0, 20.0]),)
    ),
    "ShortestPath": Example(_sampled(ts.nn.ShortestPath, LAW), (1 + X.abs(),)),
    "ShortestPathGraph": Example(
        _sampled(ts.nn.ShortestPathGraph, INDPTR, INDICES, LAW),
        (torch.tensor([[1.0, 2.2, 1.0], [1.0, 1.9, 1.0]]),),
    ),
    "Smooth": Example(_sampled(ts.nn.Smooth, torch.sign, LAW), (X,)),
    "SoftAbs": Example(_exact(ts.nn.SoftAbs, LAW), (X,)),
    "SoftAMax": Example(_exact(ts.nn.SoftAMax, -1, GUMBEL), (X,)),
    "SoftAMin": Example(_exact(ts.nn.SoftAMin, -1, LAW), (X,)),
    "SoftArgMax": Example(_exact(ts.nn.SoftArgMax, -1, GUMBEL), (X,)),
    "SoftArgMin": Example(_exact(ts.nn.SoftArgMin, -1, LAW), (X,)),
    "SoftBisect": Example(_exact(ts.nn.SoftBisect, cube, -3.0, 3.0, LAW, num_steps=4), (X,)),
    "SoftCeil": Example(_exact(ts.nn.SoftCeil, LAW), (X,)),
    "SoftClamp": Example(_exact(ts.nn.SoftClamp, torch.tensor([-0.5]), 0.5, LAW), (X,)),
    "SoftCond": Example(_exact(ts.nn.SoftCond, margin, torch.sin, double, LAW), (X,)),
    "SoftEqual": Example(_exact(ts.nn.SoftEqual, 0.5, LAW), (X, Y)),
    "SoftFloor": Example(_exact(ts.nn.SoftFloor, LAW), (X,)),
    "SoftGreater": Example(_exact(ts.nn.SoftGreater, LAW), (X, Y)),
    "SoftGridSearch": Example(
        _exact(ts.nn.SoftGridSearch, distance, torch.linspace(-1, 1, 7), LAW), (X,)
    ),
    "SoftHardshrink": Example(_exact(ts.nn.SoftHardshrink, 0.5, LAW), (X,)),
    "SoftHeaviside": Example(_exact(ts.nn.SoftHeaviside, LAW), (X,)),
    "SoftImplicitBisect": Example(_exact(ts.nn.SoftImplicitBisect, cube, -3.0, 3.0), (X,)),
    "SoftLess": Example(_exact(ts.nn.SoftLess, LAW), (X, Y)),
    "SoftLogHeaviside": Example(_exact(ts.nn.SoftLogHeaviside, LAW), (X,)),
    "SoftMaximum": Example(_exact(ts.nn.SoftMaximum, LAW), (X, Y)),
    "SoftMinimum": Example(_exact(ts.nn.SoftMinimum, LAW), (X, Y)),
    "SoftQuantize": Example(_exact(ts.nn.SoftQuantize, [-1.0, 0.5, 2.0], LAW), (X,)),
    "SoftReLU": Example(_exact(ts.nn.SoftReLU, LAW), (X,)),
    "SoftRound": Example(_exact(ts.nn.SoftRound, LAW), (X,)),
    "SoftSign": Example(_exact(ts.nn.SoftSign, LAW), (X,)),
    "SoftTake": Example(_exact(ts.nn.SoftTake), (X, torch.softmax(_normal(2, 5), -1))),
    "SoftTakeAlongDim": Example(_exact(ts.nn.SoftTakeAlongDim, -1), (X, torch.softmax(Y, -1))),
    "SoftThreshold": Example(_exact(ts.nn.SoftThreshold, 0.5, -1.0, LAW), (X,)),
    "SoftArgSort": Example(_exact(ts.nn.SoftArgSort, LAW), (X,)),
    "SoftLogArgMax": Example(_exact(ts.nn.SoftLogArgMax, -1, LAW), (X,)),
    "SoftLogArgSort": Example(_exact(ts.nn.SoftLogArgSort, LAW), (X,)),
    "SoftMedian": Example(_exact(ts.nn.SoftMedian, LAW), (X,)),
    "SoftQuantile": Example(_exact(ts.nn.SoftQuantile, torch.tensor([0.25, 0.5]), LAW), (X,)),
    "SoftRank": Example(_exact(ts.nn.SoftRank, LAW), (X,)),
    "SoftSort": Example(_exact(ts.nn.SoftSort, LAW), (X,)),
    "SoftTopK": Example(_exact(ts.nn.SoftTopK, 2, LAW), (X,)),
    "SoftTopKMask": Example(_exact(ts.nn.SoftTopKMask, 2, LAW), (X,)),
    "SoftTrunc": Example(_exact(ts.nn.SoftTrunc, LAW), (X,)),
    "SoftWhile": Example(_exact(ts.nn.SoftWhile, margin, double, 3, LAW), (X,)),
    "Sort": Example(_sampled(ts.nn.Sort, LAW), (X,)),
    "StraightThrough": Example(_exact(ts.nn.StraightThrough, torch.sign, double), (X,)),
    "TopK": Example(_sampled(ts.nn.TopK, 2, LAW), (X,)),
}

WITH_NOISE = sorted(
    name for name in EXAMPLES if issubclass(getattr(ts.nn, name), ts.nn.AbstractSmoothingLayer)
)
