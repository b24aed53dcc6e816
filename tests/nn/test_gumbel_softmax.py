"""The layer of relaxed categorical samples."""

import copy

import pytest
import torch

import torchsmooth as ts


def sample(module: torch.nn.Module, logits: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return module(logits)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("learn_scale", [False, True])
def test_equals_the_function(learn_scale: bool, hard: bool) -> None:
    """With its derivatives; d/d(log scale) = scale d/d(scale)."""
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    layer = ts.nn.GumbelSoftmax(temperature.detach(), dim=0, hard=hard, learn_scale=learn_scale)
    torch.manual_seed(3)
    expected = ts.soft.gumbel_softmax(logits, temperature, dim=0, hard=hard)
    weight = torch.randn_like(expected)
    in_logits, in_scale = torch.autograd.grad((weight * expected).sum(), (logits, temperature))
    value = sample(layer, logits)
    torch.testing.assert_close(value, expected)
    leaves = [logits, *layer.parameters()]
    gradients = torch.autograd.grad((weight * value).sum(), leaves)
    torch.testing.assert_close(gradients[0], in_logits)
    if learn_scale:
        torch.testing.assert_close(gradients[1], 0.7 * in_scale)


def test_hard_in_evaluation_is_the_most_probable_category() -> None:
    layer = ts.nn.GumbelSoftmax(0.5, eval_mode="hard").eval()
    logits = torch.randn(5, 4)
    assert torch.equal(layer(logits), ts.hard.argmax(logits))


def test_annealed_and_copied() -> None:
    layer = ts.nn.GumbelSoftmax(1.0)
    schedule = ts.nn.ExponentialScale(layer, start=1.0, end=0.25, num_steps=2)
    schedule.step()
    logits = torch.randn(5, 4)
    torch.testing.assert_close(float(layer.scale), 0.5)
    for other in (copy.deepcopy(layer), ts.nn.GumbelSoftmax(0.5)):
        torch.testing.assert_close(sample(other, logits), sample(layer, logits))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_bad_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="scale must be"):
        ts.nn.GumbelSoftmax(temperature)
    for bad in (temperature, torch.tensor(temperature)):
        with pytest.raises(ValueError, match="temperature must be a positive number"):
            ts.soft.gumbel_softmax(torch.zeros(3), bad)
