"""What f may do and return: buffers of its own, integers, arrays, and errors."""

import multiprocessing
import os
import sys
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
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


# --- f mixes its rows ------------------------------------------------------------------------


def normalized(y: Tensor) -> Tensor:
    """Written for one point."""
    return y / y.sum()


@pytest.mark.parametrize(
    "options",
    [{}, {"chunk_size": 50}, {"covariate": "fx"}, {"statistic": ts.Median(3)}, {"executor": True}],
)
def test_an_f_for_one_point_is_refused(options: dict[str, Any]) -> None:
    options = dict(options)
    with ThreadPoolExecutor(2) as executor:
        if options.get("executor"):
            options["executor"] = executor
        g = ts.smooth(normalized, ts.Gaussian(0.3), num_samples=256, seed=0, **options)
        for _ in range(2):  # it has not passed
            with pytest.raises(ValueError, match="vectorized=False if f is written for one point"):
                g(X)
    g = ts.smooth(normalized, ts.Gaussian(0.3), num_samples=256, seed=0, vectorized=False)
    expected = torch.tensor([10.0, 11.0, 12.0]) / 33
    torch.testing.assert_close(g(X)[1], expected, rtol=0, atol=2e-3)
    assert not torch.allclose(
        ts.smooth(normalized, ts.Gaussian(0.3), num_samples=256, seed=0, check=False)(X)[1],
        expected,
        atol=0.1,
    )


def by_matmul(y: Tensor) -> Tensor:
    """Rounded otherwise in other sizes of chunks."""
    weight = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    return (y @ weight).sin() @ weight.T


def noisy(y: Tensor) -> Tensor:
    return y + torch.randn_like(y)


def stepped_by_rounding(y: Tensor) -> Tensor:
    """Its first row lies on a step that the size of the chunk decides, the others do not."""
    return torch.where(y == FIRST, float(len(y) > 1), y)


FIRST = torch.zeros(3)


@pytest.mark.parametrize("f", [by_matmul, noisy, stepped_by_rounding, torch.sort])
def test_rounding_steps_and_randomness_of_f_are_not_refused(f: Any) -> None:
    if f is stepped_by_rounding:
        points: list[Tensor] = []
        ts.smooth(lambda y: points.append(y.clone()) or y, ts.Gaussian(0.3), seed=0)(X)
        FIRST.copy_(points[0][0])
    g = ts.smooth(lambda y: tuple(f(y)) if f is torch.sort else f(y), ts.Gaussian(0.3), seed=0)
    value = g(X)
    assert g.unchecked is False
    assert value is not None


def test_rows_are_checked_once_and_torchs_generator_is_put_back() -> None:
    sizes: list[int] = []

    def f(y: Tensor) -> Tensor:
        sizes.append(len(y))
        return y.sign() + 0 * torch.rand(())

    g = ts.smooth(f, ts.Gaussian(0.3), num_samples=64, seed=0)
    torch.manual_seed(0)
    g(X)
    assert sizes == [128, 1]
    after = torch.rand(())
    g(X)
    assert sizes == [128, 1, 128]
    torch.manual_seed(0)
    ts.smooth(f, ts.Gaussian(0.3), num_samples=64, seed=0, check=False)(X)
    assert torch.equal(torch.rand(()), after)


def test_chunks_of_one_row_are_not_checked() -> None:
    g = ts.smooth(normalized, ts.Gaussian(0.3), num_samples=4, seed=0, chunk_size=1)
    g(X)
    assert g.unchecked


# --- arrays, keywords, methods ---------------------------------------------------------------


@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_f_is_handed_arrays(vectorized: bool, dtype: torch.dtype) -> None:
    def f(y: Any, weight: Any, power: int, *, shift: float = 0.0) -> Any:
        assert isinstance(y, np.ndarray) and y.shape == ((16, 3) if vectorized else (3,))
        assert isinstance(weight, np.ndarray) and power == 2
        return {"total": (weight * y**power + shift).sum(-1)}

    def g(y: Tensor, weight: Tensor, shift: float) -> Tensor:
        y = y.float() if dtype == torch.bfloat16 else y  # which arrays do not have
        return (weight * y**2 + shift).sum(-1)

    x, weight = X.to(dtype).requires_grad_(), torch.rand(2, 3)
    options: dict[str, Any] = dict(num_samples=8, seed=0, check=False)
    noise = ts.Gaussian(0.5)
    actual = ts.smooth(f, noise, inputs="numpy", vectorized=vectorized, **options)(
        x, weight, 2, shift=1.0
    )["total"]
    expected = ts.smooth(g, noise, **options)(x, weight, 1.0)
    tolerance = dict(rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual, expected, **tolerance)
    assert expected.requires_grad
    torch.testing.assert_close(
        torch.autograd.grad(actual.sum(), x), torch.autograd.grad(expected.sum(), x), **tolerance
    )


def test_an_f_of_floats_does_not_write_into_its_parameters() -> None:
    def f(p: Any) -> float:
        start, _ = p
        stock = start
        stock -= 3.0
        return float(stock - start)

    g = ts.smooth(
        f, ts.Gaussian(1.0), num_samples=4, vectorized=False, inputs="numpy", covariate="none"
    )
    assert g(torch.zeros(2)).item() == -3


def test_other_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="inputs must be 'torch' or 'numpy', got 'jax'"):
        ts.smooth(normalized, ts.Gaussian(1.0), inputs="jax")  # type: ignore[call-overload]


def test_keywords_go_to_f_unchanged() -> None:
    token = object()

    def f(y: Tensor, *, k: float, other: object) -> Tensor:
        assert other is token
        return k * y.sign()

    g = ts.smooth(f, ts.Gaussian(1.0), num_samples=8, seed=0)
    assert torch.equal(g(X, k=2.0, other=token), 2 * g(X, k=1.0, other=token))


class Model:
    weight = 3.0

    @ts.smooth(distribution=ts.Gaussian(0.5), num_samples=64, seed=0)
    def step(self, y: Tensor, power: int = 1) -> Tensor:
        """Smoothed."""
        return self.weight * y.sign() ** power


def test_methods_can_be_smoothed() -> None:
    model = Model()
    plain = ts.smooth(lambda y: 3.0 * y.sign(), ts.Gaussian(0.5), num_samples=64, seed=0)
    assert torch.equal(model.step(X), plain(X))
    assert torch.equal(model.step(X, power=2), torch.full_like(X, 3.0))
    assert model.step.__doc__ == "Smoothed."
    assert isinstance(Model.step, ts.Smoothed)
    assert not Model.step.unchecked  # once for all instances


# --- the law ---------------------------------------------------------------------------------


def test_the_law_must_be_given() -> None:
    for call in (lambda: ts.smooth(normalized), lambda: ts.smooth()):
        with pytest.raises(TypeError, match=r"distribution must be given.*units of x"):
            call()
    with pytest.raises(
        TypeError, match=r"distribution must .*got a tensor.*ts.smooth\(f, noise\)\(x\)"
    ):
        ts.smooth(normalized, X)  # type: ignore[call-overload]


# --- errors of f -----------------------------------------------------------------------------


class TwoArguments(Exception):
    """Survives pickle.dumps, but not pickle.loads."""

    def __init__(self, a: int, b: int):
        super().__init__(f"{a} and {b}")


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no")


def raises_key_error(y: Tensor) -> Tensor:
    raise KeyError("column")


def raises_stop_iteration(y: Tensor) -> Tensor:
    raise StopIteration("empty")


def raises_two_arguments(y: Tensor) -> Tensor:
    raise TwoArguments(1, 2)


def raises_unpicklable(y: Tensor) -> Tensor:
    raise Unpicklable("odd")


def dies(y: Tensor) -> Tensor:
    os._exit(1)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
@pytest.mark.parametrize("road", ["here", "threads", "processes"])
@pytest.mark.parametrize(
    "f, kind", [(raises_key_error, KeyError), (raises_stop_iteration, StopIteration)]
)
@pytest.mark.parametrize("vectorized", [True, False])
def test_exceptions_of_f_pass_unchanged_with_the_point(
    f: Any, kind: type[Exception], road: str, vectorized: bool
) -> None:
    executor: Any = {"here": None, "threads": ThreadPoolExecutor, "processes": fork_pool}[road]
    executor = executor and executor(1)
    g = ts.smooth(
        f, ts.Gaussian(1.0), num_samples=4, seed=0, vectorized=vectorized, executor=executor
    )
    with pytest.raises(kind) as raised:
        g(torch.zeros(2))
    points: list[list[float]] = []
    ts.smooth(
        lambda y: points.extend(y.tolist()) or y,
        ts.Gaussian(1.0),
        num_samples=4,
        seed=0,
        check=False,
    )(torch.zeros(2))
    notes = "".join(raised.value.__notes__)
    assert "raised by f" in notes and str(points[0]) in notes
    if executor:
        executor.shutdown()


@pytest.mark.parametrize(
    "f, name",
    [(raises_two_arguments, "TwoArguments.*1 and 2"), (raises_unpicklable, "Unpicklable.*odd")],
)
def test_exceptions_that_cannot_be_sent_are_told(f: Any, name: str) -> None:
    with fork_pool(1) as executor:
        g = ts.smooth(f, ts.Gaussian(1.0), num_samples=4, executor=executor)
        with pytest.raises(RuntimeError, match=f"f raised {name}"):
            g(torch.zeros(2))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_processes_that_die_tell_the_points() -> None:
    with fork_pool(1) as executor:
        g = ts.smooth(dies, ts.Gaussian(1.0), num_samples=1, covariate="none", executor=executor)
        with pytest.raises(BrokenExecutor) as raised:
            g(torch.zeros(2))
    assert "perturbed points, here the one at [" in "".join(raised.value.__notes__)


class Frame:
    """Raises what a data frame does if it is taken for a sequence of numbers."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, key: object) -> object:
        raise KeyError(key)


@pytest.mark.parametrize(
    "result, got",
    [
        (Frame(), "Frame"),
        (np.array(["a", "b"]), "ndarray of dtype <U1"),
        (np.array([None, 1], dtype=object), "ndarray of dtype object"),
        ("text", "str"),
    ],
)
def test_what_is_no_number_is_refused(result: Any, got: str) -> None:
    g = ts.smooth(lambda y: result, ts.Gaussian(1.0), num_samples=2)
    with pytest.raises(TypeError, match=f"f must return tensors, NumPy arrays.*got {got};"):
        g(torch.zeros(2))


def fork_pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
