"""Trainings of an example: run side by side, kept on disk, and continued where they stopped."""

import contextlib
import importlib
import json
import math
import multiprocessing
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats


EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True)
class Run:
    """One training: a directory, and what it is started with; both say all that decides it."""

    path: Path
    options: tuple[str, ...]

    def result(self, steps: int) -> dict[str, Any] | None:
        """What it has left, if it went as far as that."""
        file = self.path / "result.json"
        if not file.exists():
            return None
        result: dict[str, Any] = json.loads(file.read_text())
        return result if result["history"][-1]["step"] >= steps else None

    def arguments(self, *more: str) -> list[str]:
        """From the start, or from where it has stopped."""
        if (self.path / "checkpoint.pt").exists():
            return ["--resume", str(self.path), *more]
        return ["--output", str(self.path), *self.options, *more]


def example(name: str) -> Any:
    """The program of an example, as a module."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))  # before this directory, with its file of the same name
    return importlib.import_module(name)


def keep_activations() -> None:
    """Lets the allocator of the runs not hand back a network's activations at every step.

    For tensors of changing sizes it would be a mistake: glibc before 2.38 does not find the holes
    that they leave, and memory runs out.
    """
    os.environ |= {"MALLOC_TRIM_THRESHOLD_": str(2**31), "MALLOC_MMAP_THRESHOLD_": str(2**31)}


def train(name: str, arguments: list[str]) -> None:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        example(name).main(arguments)


def train_all(name: str, runs: list[Run], steps: int, more: list[str], workers: int) -> None:
    """Brings all of them to that step."""
    left = [run for run in runs if not run.result(steps)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        under_way = {run: pool.submit(train, name, run.arguments(*more)) for run in left}
        try:
            for run, future in under_way.items():
                future.result()
                print("trained", run.path.name, "to step", steps, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def interval(samples: list[float]) -> float:
    """Half the width of Student's 95 % interval of the mean."""
    error = statistics.stdev(samples) / len(samples) ** 0.5
    return float(stats.t.ppf(0.975, len(samples) - 1)) * error


def difference_interval(differences: list[float], shares: list[float], trials: int) -> float:
    """That of the mean difference between two methods, with the error of the test data in it.

    `shares` of so many trials are right. All runs are judged on the same data, whose choice no
    number of seeds averages out. Two methods that fail on unrelated trials bound that error from
    above.
    """
    share = statistics.mean(shares)
    of_test_data = 1.96 * (2 * share * (1 - share) / trials) ** 0.5
    return math.hypot(interval(differences), of_test_data)


def percent(samples: list[float]) -> str:
    """Mean and interval of shares."""
    samples = [100 * sample for sample in samples]
    return f"{statistics.mean(samples):.1f} ± {interval(samples):.1f}"
