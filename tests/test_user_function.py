"""What f may do and return: buffers of its own, integers, arrays, and errors."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torchsmooth as ts


X = torch.tensor([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]])


def value_and_jacobian(g: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    value = g(x)
    return value.detach(), torch.autograd.functional.jacobian(g, x)


class Buffered:
    """The identity, in one buffer that every call fills again."""

    def __init__(self, kind: str, rows: int | None = None):
        shape = (3,) if rows is None else (rows, 3)
        self.buffer: Any = torch.zeros(shape) if kind == "tensor" else np.zeros(shape, np.float32)

    def __call__(self, y: Tensor) -> Any:
        filled = self.buffer[: y.shape[0]]
        filled[...] = y if isinstance(filled, Tensor) else y.numpy()
        return filled


@pytest.mark.parametrize("kind", ["tensor", "array"])
@pytest.mark.parametrize(
    "options",
    [
        dict(num_samples=64),
        dict(num_samples=2),  # of which all outputs are kept
        dict(num_samples=64, covariate="fx"),
        dict(num_samples=64, statistic=ts.Median(3)),
        dict(num_samples=64, executor="threads"),
    ],
)
@pytest.mark.parametrize("vectorized", [True, False])
def test_buffers_of_f_are_copied(kind: str, options: dict[str, Any], vectorized: bool) -> None:
    """As if f returned new tensors: bit for bit."""
    options = dict(options)
    with ThreadPoolExecutor(1) as executor:
        if options.get("executor"):
            options["executor"] = executor

        def run(f: Any) -> tuple[Tensor, Tensor]:
            g = ts.smooth(
                f, ts.Gaussian(0.5), seed=0, vectorized=vectorized, chunk_size=16, **options
            )
            return value_and_jacobian(g, X)

        buffered = Buffered(kind, 16 if vectorized else None)
        for actual, expected in zip(run(buffered), run(lambda y: y.clone()), strict=True):
            assert torch.equal(actual, expected)


@pytest.mark.parametrize("vectorized", [True, False])
def test_buffers_of_f_are_copied_by_estimate(vectorized: bool) -> None:
    def run(f: Any) -> ts.Estimate:
        return ts.estimate(
            f,
            X,
            ts.Gaussian(0.5),
            num_samples=64,
            sampler="mc",
            seed=0,
            chunk_size=16,
            vectorized=vectorized,
        )

    actual = run(Buffered("array", 16 if vectorized else None))
    expected = run(lambda y: y.clone())
    assert torch.equal(actual.value, expected.value)
    assert torch.equal(actual.jacobian, expected.jacobian)
    assert torch.equal(actual.jacobian_error, expected.jacobian_error)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("offset", [2 * 10**8, 2**30])
@pytest.mark.parametrize("statistic", ["mean", ts.Median(1)])
def test_integers_are_exact(dtype: torch.dtype, offset: int, statistic: Any) -> None:
    """A constant changes no gradient: that of a step of 7 at 0 is 7 phi(0) = 2.793."""

    def f(y: Tensor, offset: int = 0) -> Tensor:
        return 7 * (y > 0).to(dtype) + offset

    def gradient(offset: int) -> float:
        x = torch.zeros(1, requires_grad=True)
        g = ts.smooth(f, ts.Gaussian(1.0), num_samples=1024, seed=0, statistic=statistic)
        g(x, offset).sum().backward()
        assert x.grad is not None
        return x.grad.item()

    assert gradient(0) == pytest.approx(7 / np.sqrt(2 * np.pi), rel=0.01)
    assert gradient(offset) == pytest.approx(gradient(0), rel=1e-5)


def test_integers_are_exact_up_to_2_to_the_53() -> None:
    """In the value too, where x is in double precision."""
    g = ts.smooth(
        lambda y: torch.full(y.shape, 2**53 - 1), ts.Gaussian(1.0), num_samples=1, covariate="none"
    )
    assert g(torch.zeros(1, dtype=torch.float64)).item() == 2**53 - 1
