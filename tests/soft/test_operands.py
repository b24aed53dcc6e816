"""Operands of all operators: shapes and values that do not fit."""

import math

import pytest
import torch
from operators import OPERATORS

import torchsmooth as ts
from torchsmooth import soft


@pytest.mark.parametrize("name", OPERATORS)
def test_scales_that_do_not_fit(name: str) -> None:
    noise = ts.Gaussian(torch.ones(2))
    with pytest.raises(ValueError, match=r"scale must broadcast .*\(3,\).*\(2,\); reshape them"):
        OPERATORS[name].soft(torch.zeros(3), noise)


def test_operands_that_do_not_fit() -> None:
    x, other, noise = torch.zeros(3), torch.zeros(2), ts.Logistic()
    for call, names in [
        (lambda: soft.clamp(x, other, 1.0, noise), "x, lo, hi"),
        (lambda: soft.maximum(x, other, noise), "a, b"),
        (lambda: soft.greater(x, other, noise), "a, b"),
        (lambda: soft.amax(x, 0, ts.Gaussian(other + 1)), "x, scale"),
        (lambda: soft.cond(x, abs, abs, x, distribution=ts.Gaussian(other + 1)), "margin, scale"),
        (lambda: soft.take_along_dim(x.expand(4, 3), x.expand(5, 3), 1), "x, soft_index"),
    ]:
        with pytest.raises(ValueError, match=f"^{names} must broadcast against each other"):
            call()


def test_levels() -> None:
    x, noise = torch.zeros(3), ts.Logistic()
    for levels in ("01", 3, None, [0.0, None], ["a"]):
        with pytest.raises(TypeError, match="levels must be one row of increasing numbers, all of"):
            soft.quantize(x, levels, noise)  # type: ignore[arg-type]
    for level in (math.inf, math.nan):
        with pytest.raises(ValueError, match="all of them finite, got "):
            soft.quantize(x, [0.0, level], noise)
