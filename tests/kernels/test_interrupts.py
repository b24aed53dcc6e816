"""Ctrl-C while an op runs."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
import torch
from torch import Tensor

import torchsmooth as ts


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no signals")


def long_op(num_samples: int) -> Tensor:
    weights = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    return ts.functional.shortest_path(
        weights, ts.Logistic(scale=0.1), num_samples=num_samples, seed=0
    )


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def test_an_interrupt_ends_an_op_that_takes_minutes() -> None:
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.3):
        long_op(2**27)
    assert time.perf_counter() - start < 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_raises_nothing_changes_nothing() -> None:
    calls: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        calls.append(number)

    expected = long_op(2**14)
    before = signal.signal(signal.SIGINT, handler)
    try:
        with interrupted_after(0.02):
            actual = long_op(2**14)
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [signal.SIGINT]
    assert torch.equal(actual, expected)


def test_other_threads_are_left_alone() -> None:
    results: list[Tensor] = []
    expected = long_op(2**14)
    worker = threading.Thread(target=lambda: results.append(long_op(2**14)))
    worker.start()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    worker.join()
    assert torch.equal(results[0], expected)
