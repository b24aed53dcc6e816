"""What type checkers know of smoothed functions. `make lint` checks this file, too."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import assert_type

import torchsmooth as ts


NOISE = ts.Gaussian(0.5)


def one(y: Tensor) -> Tensor:
    return y.sign()


def two(y: Tensor, weight: Tensor, *, power: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    return y.sign(), {"power": weight * y.abs() ** power}


def array(y: Tensor) -> npt.NDArray[np.float64]:
    signs: npt.NDArray[np.float64] = np.sign(y.double().numpy())
    return signs


def number(y: Tensor) -> float:
    return float(y.sum() > 0)


def test_results_have_the_types_of_what_f_returns() -> None:
    x = torch.zeros(2, 3)
    assert_type(ts.smooth(one, NOISE, num_samples=4)(x), Tensor)
    g = ts.smooth(two, NOISE, num_samples=4)
    sign, powers = assert_type(g(x, torch.ones(2, 3), power=2), tuple[Tensor, dict[str, Tensor]])
    assert sign.shape == powers["power"].shape == (2, 3)


def test_arrays_and_numbers_become_tensors() -> None:
    x = torch.zeros(2, 3)
    assert isinstance(assert_type(ts.smooth(array, NOISE, num_samples=4)(x), Tensor), Tensor)
    g = ts.smooth(number, NOISE, num_samples=4, vectorized=False)
    assert assert_type(g(x), Tensor).shape == (2,)


def test_the_decorator_keeps_types() -> None:
    @ts.smooth(distribution=NOISE, num_samples=4)
    def f(y: Tensor, weight: float, /) -> Tensor:
        return weight * y.sign()

    assert_type(f, ts.Smoothed[[float], Tensor])
    assert assert_type(f(torch.zeros(3), 2.0), Tensor).shape == (3,)


def test_what_does_not_fit_is_refused() -> None:
    """Each comment is an error by itself where the line has none."""

    def never() -> Any:
        g = ts.smooth(two, NOISE)
        g(torch.zeros(3), 1.0)  # type: ignore[arg-type]
        g(torch.zeros(3), torch.zeros(3), exponent=2)  # type: ignore[call-arg]
        ts.smooth(one, NOISE, covariate="mean")  # type: ignore[call-overload]
        ts.smooth(one, NOISE, sampler="Sobol")  # type: ignore[call-overload]
        return ts.smooth(one, NOISE, samples=4)  # type: ignore[call-overload]

    assert callable(never)
