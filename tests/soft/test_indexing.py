"""Soft indices against hard ones, and as expectations."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import torchsmooth as ts
from torchsmooth import soft


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("shape", [(), (4,), (2, 5)])
def test_take_with_certain_indices(dim: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(3, 4, 5)
    index = torch.randint(x.shape[dim], shape)
    soft_index = torch.nn.functional.one_hot(index, x.shape[dim]).float()
    expected = torch.from_numpy(np.take(x.numpy(), index.numpy(), axis=dim))
    torch.testing.assert_close(soft.take(x, soft_index, dim), expected)


@pytest.mark.parametrize("dim", [0, 1, 2, -2])
def test_take_along_dim_with_certain_indices(dim: int) -> None:
    x = torch.randn(3, 4, 5)
    index = x.argmax(dim, keepdim=True)
    soft_index = torch.zeros_like(x).scatter(dim, index, 1.0)
    expected = torch.take_along_dim(x, index, dim).squeeze(dim)
    torch.testing.assert_close(soft.take_along_dim(x, soft_index, dim), expected)


def test_take_is_the_expectation() -> None:
    table = torch.randn(4, 3, dtype=torch.float64)
    p = torch.softmax(torch.randn(2, 4, dtype=torch.float64), -1)
    expected = sum(p[:, i, None] * table[i] for i in range(4))
    torch.testing.assert_close(soft.take(table, p), expected)
    row = torch.randn(2, 4, dtype=torch.float64)
    torch.testing.assert_close(soft.take_along_dim(row, p, 1), (row * p).sum(1))


def test_derivatives() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    p = torch.softmax(torch.randn(2, 3, dtype=torch.float64), -1).requires_grad_()
    assert gradcheck(soft.take, (x, p))
    assert gradcheck(lambda x, p: soft.take_along_dim(x, p, 0), (x, p.detach()[0, :, None]))
    torch.testing.assert_close(torch.vmap(soft.take, (None, 0))(x, p), soft.take(x, p))


def test_unreachable_entries() -> None:
    x = torch.tensor([[math.nan, 2.0], [3.0, math.inf]])
    p = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert soft.take_along_dim(x, p, 1).tolist() == [2, 3]


def test_types() -> None:
    p = torch.tensor([0.25, 0.75])
    assert soft.take(torch.zeros(2, dtype=torch.float64), p).dtype == torch.float64
    assert soft.take(torch.zeros(2, dtype=torch.float16), p).dtype == torch.float32
    assert soft.take(torch.tensor([1.0, 2.0]), torch.tensor([False, True])).item() == 2


def test_bad_input() -> None:
    x = torch.zeros(3, 4)
    with pytest.raises(ValueError, match="soft_index must have 3 probabilities in its last dim"):
        soft.take(x, torch.full((4,), 0.25))
    with pytest.raises(ValueError, match="soft_index must have 4 probabilities along dim -1"):
        soft.take_along_dim(x, torch.full((3,), 0.25), 1)
    with pytest.raises(TypeError, match="soft_index must be a tensor of probabilities"):
        soft.take(x, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"soft_index must hold probabilities in \[0, 1\]"):
        soft.take(x, torch.tensor([0.0, 3.0, 0.0]))
    with pytest.raises(TypeError, match="x must be a floating-point tensor"):
        soft.take(x.long(), torch.full((3,), 1 / 3))


# Samples.


def test_gumbel_softmax_samples_the_softmax() -> None:
    # A count of 40 000 samples scatters by at most 1/400; 5 sigmas: 6e-7 per entry.
    logits = torch.tensor([0.0, 1.0, -1.0, -torch.inf])
    samples = soft.gumbel_softmax(logits.expand(40_000, 4), hard=True, seed=0)
    assert torch.equal(samples.sum(-1), torch.ones(40_000))
    assert ((samples == 0) | (samples == 1)).all()
    expected = soft.argmax(logits, 0, ts.Gumbel())
    torch.testing.assert_close(samples.mean(0), expected, rtol=0, atol=5 / 400)


def test_gumbel_softmax_is_the_concrete_law() -> None:
    # Of two categories at temperature t, log(p / (1 - p)) t is the difference of the logits plus
    # logistic noise: its quartiles are log(3) away. 5 sigmas of a quantile of 40 000: 0.05.
    sample = soft.gumbel_softmax(torch.tensor([0.7, 0.0]).expand(40_000, 2), 0.5, seed=1)
    noisy = 0.5 * torch.logit(sample[:, 0].double())
    quartiles = torch.quantile(noisy, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    expected = 0.7 + torch.tensor([-math.log(3), 0.0, math.log(3)], dtype=torch.float64)
    torch.testing.assert_close(quartiles, expected, rtol=0, atol=0.06)


def test_gumbel_softmax_gradients() -> None:
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: soft.gumbel_softmax(x, 0.7, seed=0), logits)
    weights = torch.randn(2, 5, dtype=torch.float64)
    slopes = [
        torch.autograd.grad((soft.gumbel_softmax(logits, hard=h, seed=3) * weights).sum(), logits)
        for h in (False, True)
    ]
    torch.testing.assert_close(*slopes)


def test_gumbel_softmax_seeds_and_shapes() -> None:
    logits = torch.zeros(3, 4, 2)
    first = soft.gumbel_softmax(logits, dim=1, seed=5)
    assert torch.equal(first, soft.gumbel_softmax(logits, dim=1, seed=torch.tensor(5)))
    assert not torch.equal(first, soft.gumbel_softmax(logits, dim=1, seed=6))
    torch.testing.assert_close(first.sum(1), torch.ones(3, 2))
    torch.manual_seed(0)
    drawn = soft.gumbel_softmax(logits)
    torch.manual_seed(0)
    assert torch.equal(drawn, soft.gumbel_softmax(logits))
    for empty in (torch.zeros(0, 3), torch.zeros(3, 0)):
        assert soft.gumbel_softmax(empty, hard=True).shape == empty.shape
    half = soft.gumbel_softmax(logits.half(), 0.01, hard=True)
    assert half.dtype == torch.float16 and half.isfinite().all()


def test_gumbel_softmax_bad_input() -> None:
    logits = torch.zeros(3)
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature must be a positive number"):
            soft.gumbel_softmax(logits, temperature)
    with pytest.raises(
        TypeError, match="temperature must be a positive number, or a tensor of one, got 'warm'"
    ):
        soft.gumbel_softmax(logits, "warm")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="hard must be True or False"):
        soft.gumbel_softmax(logits, hard=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="logits must be a floating-point tensor"):
        soft.gumbel_softmax(logits.long())
