"""What layers answer to bad input: when they are made where that is possible, else when called."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchsmooth as ts
import torchsmooth.nn


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "ArgSort": ts.nn.ArgSort,
    "Sort": ts.nn.Sort,
    "Rank": ts.nn.Rank,
    "ArgMax": ts.nn.ArgMax,
    "TopK": lambda *args, **options: ts.nn.TopK(2, *args, **options),
    "Median": ts.nn.Median,
    "Quantile": lambda *args, **options: ts.nn.Quantile(0.5, *args, **options),
    "Smooth": lambda *args, **options: ts.nn.Smooth(torch.sign, *args, **options),
}
MATRIX = torch.eye(3)


def assert_raises(error: type[Exception], parts: tuple[str, ...], call: Callable[[], Any]) -> None:
    """The message has all parts, in one sentence."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert "\n" not in message and not message.endswith(".")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "options, error, parts",
    [
        (
            {"eval_mode": "nope"},
            ValueError,
            ("eval_mode must be one of 'smooth', 'hard'", "got 'nope'", "pass 'hard'"),
        ),
        ({"eval_mode": True}, ValueError, ("eval_mode must be one of", "got True")),
        ({"learn_scale": "yes"}, TypeError, ("learn_scale must be True or False", "got 'yes'")),
        ({"num_samples": 0}, ValueError, ("num_samples must be at least 1", "got 0")),
        ({"num_samples": 1}, ValueError, ("num_samples must be at least 2", "'loo'", "got 1")),
        ({"sampler": "halton"}, ValueError, ("sampler must be one of", "got 'halton'")),
        ({"antithetic": 1}, TypeError, ("antithetic must be True or False", "got 1")),
        ({"covariate": "mean"}, ValueError, ("covariate must be one of", "got 'mean'")),
        ({"seed": 1.5}, TypeError, ("seed must be an int", "got 1.5")),
        ({"seed": torch.zeros(1)}, TypeError, ("seed must be", "torch.float32", ".long()")),
        ({"samples": 8}, TypeError, ("unexpected keyword argument 'samples'",)),
    ],
)
def test_options(
    layer: str, options: dict[str, Any], error: type[Exception], parts: tuple[str, ...]
) -> None:
    """At construction."""
    assert_raises(error, parts, lambda: LAYERS[layer](ts.Logistic(), **options))


@pytest.mark.parametrize("layer", LAYERS)
def test_distributions(layer: str) -> None:
    make = LAYERS[layer]
    assert_raises(
        TypeError,
        ("distribution must be a distribution of torchsmooth", "got float", "ts.Logistic"),
        lambda: make(0.3),
    )
    for learn_scale in (False, True):
        assert_raises(
            ValueError,
            ("scale must not require grad", "the layer owns", "pass scale.detach()"),
            lambda: make(ts.Logistic(torch.ones(3, requires_grad=True)), learn_scale=learn_scale),  # noqa: B023
        )
    assert_raises(
        ValueError,
        ("scale_matrix must not require grad", "pass scale_matrix.detach()"),
        lambda: make(ts.Logistic(scale_matrix=MATRIX.clone().requires_grad_())),
    )


@pytest.mark.parametrize("learn_scale", [False, True])
@pytest.mark.parametrize(
    "scale, error, parts",
    [
        (0.0, ValueError, ("scale must be a number or a floating-point tensor", "got 0.0")),
        (-1.0, ValueError, ("scale must be", "got -1.0")),
        (float("nan"), ValueError, ("scale must be", "got nan")),
        (torch.tensor([1.0, -1.0, 1.0]), ValueError, ("scale must be", "finite and positive")),
        (torch.tensor(2), TypeError, ("scale must be", "torch.int64", ".float()")),
        ("small", TypeError, ("scale must be", "got 'small'")),
        (torch.ones(2), ValueError, ("scale must broadcast", "[3]", "got shape [2]")),
        (torch.ones(2, 3), ValueError, ("scale must broadcast", "[3]", "got shape [2, 3]")),
        (1e-50, ValueError, ("finite and positive in the layer's type, torch.float32", "1e-50")),
    ],
)
def test_assigned_scales(
    learn_scale: bool, scale: Any, error: type[Exception], parts: tuple[str, ...]
) -> None:
    layer = ts.nn.ArgSort(ts.Logistic(torch.ones(3)), learn_scale=learn_scale)
    assert_raises(error, parts, lambda: setattr(layer, "scale", scale))
    assert torch.equal(layer.scale, torch.ones(3))  # nothing was changed


def test_no_scale_beside_a_matrix() -> None:
    layer = ts.nn.ArgSort(ts.Logistic(scale_matrix=MATRIX))
    assert_raises(
        ValueError,
        ("scale must not be set", "scale_matrix", "assign to layer.scale_matrix"),
        lambda: setattr(layer, "scale", 0.5),
    )


def test_assigned_eval_mode() -> None:
    layer = ts.nn.ArgSort(ts.Logistic())
    assert_raises(
        ValueError,
        ("eval_mode must be one of", "got 'hrad'"),
        lambda: setattr(layer, "eval_mode", "hrad"),
    )
    layer.eval_mode = "hard"
    assert layer.eval_mode == "hard"


@pytest.mark.parametrize("training", [True, False], ids=["smooth", "hard"])
@pytest.mark.parametrize(
    "make, parts",
    [
        (lambda **options: ts.nn.TopK(4, ts.Logistic(), **options), ("k must be", "got 4")),
        (lambda **options: ts.nn.TopK(-1, ts.Logistic(), **options), ("k must be", "got -1")),
        (lambda **options: ts.nn.Quantile(1.5, ts.Logistic(), **options), ("q must", "got 1.5")),
        (lambda **options: ts.nn.Sort(ts.Logistic(), dim=2, **options), ("dim must be", "got 2")),
    ],
    ids=["k beyond n", "negative k", "q beyond 1", "dim beyond x"],
)
def test_arguments_that_depend_on_x(
    make: Callable[..., nn.Module], parts: tuple[str, ...], training: bool
) -> None:
    """The same errors in training and in evaluation."""
    layer = make(num_samples=8, eval_mode="hard").train(training)
    assert_raises(ValueError, parts, lambda: layer(torch.zeros(2, 3)))


def test_functions() -> None:
    for f in (None, 3):
        assert_raises(TypeError, ("f must be callable", "got "), lambda: ts.nn.Smooth(f))  # noqa: B023
    assert_raises(
        ValueError,
        ("event_dim must be at least 0", "got -1"),
        lambda: ts.nn.Smooth(torch.sign, event_dim=-1),
    )
    assert_raises(
        ValueError,
        ("chunk_size must be at least 1", "got 0"),
        lambda: ts.nn.Smooth(torch.sign, chunk_size=0),
    )


@pytest.mark.parametrize("training", [True, False], ids=["smooth", "hard"])
def test_outputs_of_functions(training: bool) -> None:
    """What is wrong with f is said in training and in evaluation alike."""

    def sum_of_all(y: Tensor) -> Tensor:
        return y.sum()

    layer = ts.nn.Smooth(sum_of_all, num_samples=8, eval_mode="hard").train(training)
    assert_raises(ValueError, ("f must map [m, *event]", "[]"), lambda: layer(torch.zeros(2, 3)))
