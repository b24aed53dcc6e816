"""Calls of f by threads and processes: the same numbers, and nothing lost on the way."""

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchsmooth as ts
from torchsmooth._smoothing import executor as workers


pytestmark = pytest.mark.processes


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Not forked: torch's threads do not survive that."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as executor:
        yield executor


class Deferred(Executor):
    """Runs a task when its result is asked for, and counts those that wait."""

    def __init__(self) -> None:
        self.waiting: list[Future] = []
        self.most = self.calls = 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future:
        executor, self.calls = self, self.calls + 1

        class Lazy(Future):
            def result(self, timeout: float | None = None) -> Any:
                executor.waiting.remove(self)
                return function(*args, **options)

            def cancel(self) -> bool:
                executor.waiting.remove(self)
                return super().cancel()

        self.waiting.append(Lazy())
        self.most = max(self.most, len(self.waiting))
        return self.waiting[-1]


def steps(y: Tensor) -> Tensor:
    return (y > 0).to(y.dtype).cumsum(-1)


def slow_steps(y: Tensor) -> Tensor:
    """Calls end in another order than they begin."""
    time.sleep(random.random() / 200)
    return steps(y)


def step(y: Tensor) -> float:
    return float(steps(y).sum())


class Broken(Exception):
    pass


def broken(y: Tensor) -> Tensor:
    raise Broken("as it was")


def weighted(y: Tensor, a: Tensor, name: str) -> dict[str, Any]:
    return {name: (steps(y) * a).sin().sum(-1), "pid": y.new_full((len(y),), os.getpid() % 1009)}


def result(f: Callable[..., Any], **options: Any) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 4, generator=generator).requires_grad_()
    scale = torch.tensor(0.7, requires_grad=True)
    options = {"num_samples": 200, "seed": 0, **options}
    value = ts.smooth(f, ts.Gumbel(scale), **options)(x)
    return (value, *torch.autograd.grad(value.cumsum(-1).sum(), (x, scale)))


def assert_same_bits(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


# --- the same numbers ------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "chunks": {"chunk_size": 7},
    "chunks of one": {"chunk_size": 1, "num_samples": 8},
    "large chunks": {"chunk_size": 10**6},
    "f(x)": {"covariate": "fx", "chunk_size": 50},
    "kept": {"num_samples": 4},
    "median": {"statistic": ts.Median(3), "chunk_size": 90},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [1, 4])
def test_threads_change_no_bit(number: int, way: str) -> None:
    expected = result(steps, **WAYS[way])
    with ThreadPoolExecutor(number) as executor:
        assert_same_bits(result(slow_steps, executor=executor, **WAYS[way]), expected)


@pytest.mark.parametrize("way", ["default", "chunks", "f(x)"])
def test_processes_change_no_bit(way: str, processes: ProcessPoolExecutor) -> None:
    expected = result(steps, **WAYS[way])
    assert_same_bits(result(slow_steps, executor=processes, **WAYS[way]), expected)


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_single_events_change_no_bit(
    chunk_size: int | None, threads: ThreadPoolExecutor, processes: ProcessPoolExecutor
) -> None:
    options = {"vectorized": False, "chunk_size": chunk_size, "num_samples": 12}
    expected = result(step, **options)
    for executor in (threads, processes, Deferred()):
        assert_same_bits(result(step, executor=executor, **options), expected)


def test_anything_with_submit_will_do() -> None:
    executor = Deferred()
    assert_same_bits(result(steps, executor=executor), result(steps))
    assert executor.calls > 1 and not executor.waiting


def test_layers_pass_it_on(threads: ThreadPoolExecutor) -> None:
    x = torch.randn(3, 4)
    seen = set()

    def f(y: Tensor) -> Tensor:
        seen.add(threading.current_thread())
        return steps(y)

    layer = ts.nn.Smooth(f, num_samples=16, seed=0, executor=threads, eval_mode="hard")
    expected = ts.nn.Smooth(steps, num_samples=16, seed=0)
    assert torch.equal(layer(x), expected(x))
    assert torch.equal(layer.eval()(x), steps(x))
    assert threading.main_thread() not in seen


# --- calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("chunk_size", [None, 3, 16])
def test_f_is_called_once_per_sample(
    chunk_size: int | None, vectorized: bool, threads: ThreadPoolExecutor
) -> None:
    seen = []

    def f(y: Tensor) -> Tensor:
        seen.append(y.reshape(-1, 2))
        return y.sign().sum(-1)

    x = torch.randn(3, 2, requires_grad=True)
    options = {"chunk_size": chunk_size, "vectorized": vectorized, "covariate": "fx"}
    g = ts.smooth(f, ts.Gaussian(), num_samples=16, executor=threads, check=False, **options)
    g(x).sum().backward()
    assert sum(map(len, seen)) == 3 * 16 + 3
    if not vectorized:
        assert all(len(y) == 1 for y in seen)
    elif chunk_size is not None:
        assert max(map(len, seen)) == chunk_size


def test_workers_are_busy_at_the_same_time() -> None:
    """By default too: one chunk becomes several calls, of which two meet here."""
    barrier = threading.Barrier(2, timeout=20)
    first = itertools.count()

    def f(y: Tensor) -> Tensor:
        if next(first) < 2:
            barrier.wait()
        return y.sign()

    with ThreadPoolExecutor(2) as executor:
        ts.smooth(f, ts.Gaussian(), num_samples=64, executor=executor)(torch.zeros(1, 2))


@pytest.mark.parametrize("options", [{"chunk_size": 1}, {}, {"vectorized": False}])
def test_few_calls_are_under_way(options: dict[str, Any]) -> None:
    """However many there are in all: memory stays bounded."""
    executor = Deferred()
    ts.smooth(lambda y: y.sign(), ts.Gaussian(), num_samples=512, executor=executor, **options)(
        torch.zeros(1, 2)
    )
    assert 1 < executor.most <= workers.IN_FLIGHT
    assert not executor.waiting


def test_empty_batches(threads: ThreadPoolExecutor) -> None:
    x = torch.zeros(0, 3, requires_grad=True)
    value = ts.smooth(steps, ts.Gaussian(), num_samples=8, executor=threads)(x)
    assert value.shape == (0, 3)
    assert torch.autograd.grad(value.sum(), x)[0].shape == (0, 3)


# --- what f is differentiable in, and torch's modes ------------------------------------------


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, -1.0, 0.5, 1.0]))

    def forward(self, y: Tensor, a: Tensor) -> Tensor:
        return (steps(y) * self.weight * a).sin()


def test_threads_keep_the_graph(threads: ThreadPoolExecutor) -> None:
    x = torch.randn(3, 4)
    a = torch.rand(3, 4, requires_grad=True)
    module = Scaled()
    gradients = []
    for executor in (None, threads):
        options = {"num_samples": 16, "chunk_size": 5, "seed": 0, "executor": executor}
        value = ts.smooth(module, ts.Gumbel(), **options)(x, a)
        gradients.append(torch.autograd.grad(value.square().sum(), (a, module.weight)))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("what", ["argument", "parameter"])
def test_processes_lose_no_gradient_in_silence(what: str, processes: ProcessPoolExecutor) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    a = torch.rand(3, 4, requires_grad=what == "argument") * 2  # no leaf
    module = Scaled().requires_grad_(what == "parameter")
    smoothed = ts.smooth(module, ts.Gumbel(), num_samples=8, executor=processes)
    with pytest.raises(ValueError, match="requires grad; pass a ThreadPoolExecutor, or detach"):
        smoothed(x, a)
    with torch.no_grad():
        assert smoothed(x, a).shape == (3, 4)


def test_arguments_and_structures_reach_processes(processes: ProcessPoolExecutor) -> None:
    """Also a tensor that requires grad, of which f's outputs do not depend differentiably."""
    x = torch.randn(3, 4, requires_grad=True)
    a = torch.rand(3, 4, requires_grad=True)
    options = {"num_samples": 16, "seed": 0, "chunk_size": 9}
    there = ts.smooth(weighted, ts.Gumbel(), executor=processes, **options)(x, a.detach(), "b")
    here = ts.smooth(weighted, ts.Gumbel(), **options)(x, a.detach(), "b")
    assert torch.equal(there["b"], here["b"])
    assert not torch.equal(there["pid"], here["pid"])
    detached = ts.smooth(detached_product, ts.Gumbel(), executor=processes, **options)(x, a)
    assert torch.autograd.grad(detached.sum(), x)[0].shape == x.shape


def detached_product(y: Tensor, a: Tensor) -> Tensor:
    return steps(y) * a.detach()


def test_threads_see_the_modes_of_the_caller(threads: ThreadPoolExecutor) -> None:
    seen = []

    def f(y: Tensor) -> Tensor:
        seen.append(
            (
                torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(),
                (torch.ones(2, 2) @ torch.ones(2, 2)).dtype,
            )
        )
        return y.sign()

    smoothed = ts.smooth(f, ts.Gaussian(), num_samples=8, executor=threads)
    x = torch.zeros(2, 3)
    smoothed(x)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        smoothed(x)
    with torch.inference_mode():
        smoothed(x)
    assert set(seen) == {
        (True, False, torch.float32),
        (False, False, torch.bfloat16),
        (False, True, torch.float32),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_code_does_not_reach_it(threads: ThreadPoolExecutor) -> None:
    """Whole graphs say so; otherwise the call is left to eager mode."""
    smoothed = ts.smooth(steps, ts.Gaussian(), num_samples=8, seed=0, executor=threads)
    x = torch.randn(2, 3)
    with pytest.raises(Exception, match="torch.compile does not reach through executor"):
        torch.compile(smoothed.__call__, fullgraph=True, backend="eager")(x)
    compiled = torch.compile(lambda x: smoothed(x) + 1, backend="eager")
    assert torch.equal(compiled(x), smoothed(x) + 1)


FORKED = """
import multiprocessing, torch, torchsmooth as ts
from concurrent.futures import ProcessPoolExecutor

def f(y):
    return y.new_ones(2**20).sin().sum() + y.sign()

if __name__ == "__main__":
    torch.set_num_threads(2)
    f(torch.ones(2))
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as executor:
        smoothed = ts.smooth(f, ts.Logistic(), num_samples=8, seed=0, executor=executor)
        value = smoothed(torch.zeros(2, 3))
    plain = ts.smooth(f, ts.Logistic(), num_samples=8, seed=0)
    assert (value - plain(torch.zeros(2, 3))).abs().max() < 1
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="nothing forks here"
)
def test_forked_processes_do_not_wait_for_threads_of_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "forked.py"
    script.write_text(FORKED)
    environment = {"PYTHONPATH": str(Path(ts.__file__).parents[1]), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", script]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, start_new_session=True
    ) as process:
        try:
            assert process.wait(timeout=60) == 0
        finally:  # with its children, which would hang on
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("vectorized", [True, False])
def test_errors_of_f_pass_unchanged(vectorized: bool, threads: ThreadPoolExecutor) -> None:
    error = Broken("as it was")

    def f(y: Tensor) -> Tensor:
        raise error

    options = {"num_samples": 8, "chunk_size": 4, "vectorized": vectorized, "executor": threads}
    with pytest.raises(Broken) as caught:
        ts.smooth(f, ts.Gaussian(), **options)(torch.randn(2, 3))
    assert caught.value is error
    if hasattr(error, "__notes__"):  # Python 3.11
        assert "torchsmooth.smooth" in error.__notes__[0]


def test_errors_come_back_from_processes(processes: ProcessPoolExecutor) -> None:
    with pytest.raises(Broken, match="as it was") as caught:
        result(broken, executor=processes)
    if hasattr(caught.value, "__notes__"):  # Python 3.11
        assert "torchsmooth.smooth" in caught.value.__notes__[0]
    # The pool is as good as before.
    assert_same_bits(result(steps, executor=processes), result(steps))


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_the_rest_is_cancelled(error: type[BaseException]) -> None:
    executor = Deferred()
    calls = itertools.count()

    def f(y: Tensor) -> Tensor:
        if next(calls) == 3:
            raise error
        return y.sign()

    x = torch.zeros(2, 3, requires_grad=True)
    smoothed = ts.smooth(f, ts.Gaussian(), num_samples=64, chunk_size=2, executor=executor)
    with pytest.raises(error):
        smoothed(x)
    assert next(calls) == 4 and not executor.waiting
    assert x.grad is None


def test_the_rest_is_cancelled_if_outputs_are_wrong(threads: ThreadPoolExecutor) -> None:
    executor, sizes = Deferred(), itertools.chain([1, 1], itertools.repeat(2))
    smoothed = ts.smooth(
        lambda y: y.new_ones(len(y), next(sizes)),
        ts.Gaussian(),
        num_samples=64,
        chunk_size=2,
        executor=executor,
    )
    with pytest.raises(ValueError, match="f must return the same shape in every call"):
        smoothed(torch.zeros(2, 3))
    assert not executor.waiting


def test_what_pickle_refuses(processes: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError) as caught:
        result(lambda y: y.sign(), executor=processes)
    for part in ("f must be picklable", "executor=ProcessPoolExecutor", "<lambda>", "top level"):
        assert part in str(caught.value)
    lock = threading.Lock()
    smoothed = ts.smooth(weighted, ts.Gumbel(), num_samples=8, executor=processes)
    with pytest.raises(TypeError, match="args must be picklable for executor=ProcessPool"):
        smoothed(torch.zeros(2, 3), torch.zeros(2, 3), lock)
