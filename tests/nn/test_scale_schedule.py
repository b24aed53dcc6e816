"""Schedules of the scale against their formula, and resumed."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchsmooth as ts
import torchsmooth.nn


class Nested(nn.Module):
    """Layers at several depths, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ts.nn.ArgSort(ts.Logistic())
        self.body = nn.Sequential(nn.Linear(3, 3), nn.Sequential(ts.nn.Median(ts.Cauchy(0.5))))
        self.again = self.first
        self.f = ts.nn.Smooth(ts.nn.Rank(ts.Gumbel(), num_samples=8), ts.Gaussian())


def scales(model: nn.Module) -> list[Tensor]:
    return [m.scale for m in model.modules() if isinstance(m, ts.nn.AbstractSmoothingLayer)]


def test_exponential_scale(device: torch.device) -> None:
    """start (end / start)^(k / N), in every layer, then constant."""
    model = Nested().to(device)
    assert len(scales(model)) == 4
    schedule = ts.nn.ExponentialScale(model, start=2.0, end=0.1, num_steps=10)
    for k in range(13):
        expected = math.exp(math.log(2.0) + min(k / 10, 1) * math.log(0.1 / 2.0))
        assert math.isclose(schedule.get_last_scale(), expected, rel_tol=1e-14)
        assert schedule.last_step == k
        for scale in scales(model):
            assert torch.equal(scale.cpu(), torch.tensor(schedule.get_last_scale()))
        schedule.step()
    assert schedule.get_last_scale() == 0.1


@pytest.mark.parametrize("start, end", [(1e-300, 1e300), (0.1, 3.0), (1.0, 1.0)])
def test_ends_are_exact(start: float, end: float) -> None:
    layer = ts.nn.ArgSort(ts.Logistic()).double()
    schedule = ts.nn.ExponentialScale(layer, start, end, 7)
    seen = [schedule.get_last_scale()]
    for _ in range(7):
        schedule.step()
        seen.append(schedule.get_last_scale())
        assert layer.scale.item() == seen[-1]
    assert (seen[0], seen[-1]) == (start, end)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    "choose",
    [lambda m: m.first, lambda m: [m.first], lambda m: iter((m.first, m.first, nn.Linear(2, 2)))],
    ids=["layer", "list", "iterator"],
)
def test_only_the_layers_given(choose: Callable[[Nested], Any]) -> None:
    model = Nested()
    ts.nn.ExponentialScale(choose(model), 0.25, 0.125, 2).step()
    assert model.first.scale.item() == pytest.approx(0.25 / 2**0.5)
    assert model.f.scale == 1.0


def test_layers_whose_scale_is_one_element() -> None:
    layer = ts.nn.ArgSort(ts.Logistic(torch.ones(1, 1)))
    ts.nn.ExponentialScale(layer, 0.25, 0.125, 2)
    assert torch.equal(layer.scale, torch.full((1, 1), 0.25))


def test_resumes_bit_for_bit(device: torch.device) -> None:
    """Another process's model and schedule go on with the same scales and the same outputs."""
    x = torch.randn(2, 5, device=device)

    def make(start: float) -> tuple[nn.Module, ts.nn.ExponentialScale]:
        layer = ts.nn.ArgSort(ts.Logistic(), num_samples=8, seed=0).to(device)
        return layer, ts.nn.ExponentialScale(layer, start, 0.01, 9)

    model, schedule = make(1.0)
    for _ in range(4):
        schedule.step()
    checkpoint = {"model": model.state_dict(), "schedule": schedule.state_dict()}
    checkpoint = torch.utils._pytree.tree_map(
        lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, checkpoint
    )
    assert checkpoint["schedule"] == {"start": 1.0, "end": 0.01, "num_steps": 9, "last_step": 4}

    # The schedule alone restores the scale too, in either order, whatever it was made with.
    for order in (("model", "schedule"), ("schedule", "model"), ("schedule",)):
        other = dict(zip(("model", "schedule"), make(5.0), strict=True))
        for name in order:
            other[name].load_state_dict(checkpoint[name])
        resumed, resumed_schedule = other["model"], other["schedule"]
        assert torch.equal(resumed.scale, checkpoint["model"]["fixed_scale"])
        assert resumed_schedule.state_dict() == checkpoint["schedule"]

    for _ in range(7):
        assert resumed_schedule.get_last_scale() == schedule.get_last_scale()
        assert torch.equal(resumed.scale, model.scale)
        assert torch.equal(resumed(x), model(x))
        schedule.step()
        resumed_schedule.step()


def test_another_schedule_is_a_few_lines() -> None:
    class Steps(ts.nn.AbstractScaleSchedule):
        def __init__(self, layers: nn.Module, values: list[float]) -> None:
            self.values = values
            super().__init__(layers)

        def scale_at(self, step: int) -> float:
            return self.values[step]

    layer = ts.nn.ArgSort(ts.Logistic())
    schedule = Steps(layer, [3.0, 2.0, 1.0])
    assert layer.scale == 3
    schedule.step()
    assert layer.scale == 2
    assert schedule.state_dict() == {"values": [3.0, 2.0, 1.0], "last_step": 1}
    schedule.load_state_dict({"values": [9.0, 8.0, 7.0], "last_step": 2})
    assert layer.scale == 7


@pytest.mark.parametrize(
    "layers, error, parts",
    [
        (3, TypeError, ("layers must be a module or an iterable", "got int", "pass the model")),
        (["a"], TypeError, ("layers must be", "one that holds a str")),
        (
            torch.optim.SGD([torch.zeros(1)], 0.1),
            TypeError,
            ("layers must be a module or an iterable of modules, got SGD; pass the model",),
        ),
        (nn.Linear(2, 2), ValueError, ("layers must hold a smoothing layer", "got none")),
        ([], ValueError, ("layers must hold a smoothing layer", "got none")),
        (
            nn.Sequential(ts.nn.ArgSort(ts.Logistic(), learn_scale=True)),
            ValueError,
            ("a learned scale, which an optimizer sets too", "got ArgSort (0)", "pass a list"),
        ),
        (
            ts.nn.ArgSort(ts.Logistic(scale_matrix=torch.eye(2))),
            ValueError,
            ("one number, got ArgSort with a scale_matrix", "pass a list"),
        ),
        (
            ts.nn.ArgSort(ts.Logistic(torch.ones(3))),
            ValueError,
            ("one number, got ArgSort with a scale of shape [3]", "assign to its scale"),
        ),
    ],
)
def test_bad_layers(layers: Any, error: type[Exception], parts: tuple[str, ...]) -> None:
    with pytest.raises(error) as caught:
        ts.nn.ExponentialScale(layers, 1.0, 0.1, 10)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message and len(message) < 200


@pytest.mark.parametrize(
    "changed, error, parts",
    [
        ({"start": 0.0}, ValueError, ("start must be a number, finite and positive", "got 0.0")),
        ({"start": -1}, ValueError, ("start must be", "got -1", "pass for example 0.1")),
        ({"end": math.inf}, ValueError, ("end must be", "got inf")),
        ({"end": math.nan}, ValueError, ("end must be", "got nan")),
        ({"end": "small"}, TypeError, ("end must be a number", "got 'small'")),
        ({"start": True}, TypeError, ("start must be a number", "got True")),
        ({"num_steps": 0}, ValueError, ("num_steps must be at least 1", "got 0")),
        ({"num_steps": 2.5}, TypeError, ("num_steps must be an int", "got 2.5")),
    ],
)
def test_bad_ends(changed: dict[str, Any], error: type[Exception], parts: tuple[str, ...]) -> None:
    layer = ts.nn.ArgSort(ts.Logistic())
    with pytest.raises(error) as caught:
        ts.nn.ExponentialScale(layer, **{"start": 1.0, "end": 0.1, "num_steps": 10, **changed})
    for part in parts:
        assert part in str(caught.value)
    assert layer.scale == 1.0  # nothing was changed


def test_a_scale_that_a_half_type_cannot_hold() -> None:
    layer = ts.nn.ArgSort(ts.Logistic()).half()
    schedule = ts.nn.ExponentialScale(layer, 1.0, 1e-9, 1)
    with pytest.raises(ValueError, match="positive in the layer's type, torch.float16, got 1e-09"):
        schedule.step()
    assert layer.scale == 1.0


def test_state_of_another_schedule() -> None:
    schedule = ts.nn.ExponentialScale(ts.nn.ArgSort(ts.Logistic()), 1.0, 0.1, 10)
    with pytest.raises(ValueError, match=r"state_dict must have the keys .*got \['step'\]"):
        schedule.load_state_dict({"step": 1})
