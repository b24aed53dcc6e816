#!/usr/bin/env python3
"""Builds, compares, sanitizes and times the CUDA kernels on a machine with an NVIDIA GPU.

    python tools/gpu_check.py                  # ten minutes; then the same command again goes on
    python tools/gpu_check.py --minutes 60
    python tools/gpu_check.py --dry-run        # on the emulator, without a GPU

Needs torch (>= 2.10, a CUDA build), nvcc, a C++ compiler and, for the tests, pytest; no network.
Writes benchmarks/results/gpu-<name of the GPU>.md, a page to send with an issue. The steps run in a
process of their own: one that crashes is noted as failed, and the next process goes on behind it.
What is done is not done again, as long as the sources stay the same. Exit status: 0 if all is done
and right, 1 if a step failed, 2 if there is no GPU, 3 if the time was up before the end.
"""

import argparse
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from gpu_steps import bench, checks
from gpu_steps.journal import Journal, Step
from gpu_steps.page import page
from gpu_steps.target import ROOT, Target


# How often a process may be started anew behind a step that took it down.
MOST_CRASHES = 20


def steps(target: Target) -> Iterator[Step]:
    """The most valuable first."""
    return itertools.chain.from_iterable(
        make(target)
        for make in (checks.steps_before_benchmarks, bench.steps, checks.steps_after_benchmarks)
    )


def tree() -> str:
    """A hash of the sources that decide a result."""
    paths = [*(ROOT / "csrc").rglob("*.*"), *(ROOT / "tests" / "kernel_cases").glob("*.py")]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def work(target: Target, journal: Journal, deadline: float) -> int:
    """Performs the steps that are not in the journal: 0 if none is left, 3 if the time is up."""
    done = set(journal.results())
    for step in steps(target):
        if step.key in done:
            continue
        if time.time() > deadline:
            return 3
        print(step.key, flush=True)
        journal.perform(step)
    return 0


def drive(target: Target) -> None:
    """A small call of every kernel, for compute-sanitizer."""
    from kernel_cases import Kernels, run_cases, small_cases

    report = run_cases(Kernels(target.ops(), target.device), small_cases())
    torch.cuda.synchronize()
    if report.failures:
        raise SystemExit("\n".join(report.failures))


def supervise(arguments: list[str], journal: Journal, deadline: float) -> int:
    """Starts processes that work until nothing is left or the time is up."""
    status = 3
    for _ in range(MOST_CRASHES):
        command = [sys.executable, __file__, *arguments, "--until", str(deadline)]
        process = subprocess.Popen(command, start_new_session=True)
        try:
            status = process.wait(max(1.0, deadline - time.time()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what it started: compilers, the sanitizer
            process.wait()
            journal.stop()
            return 3
        if status in (0, 3):
            break
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--dry-run", action="store_true", help="on the emulator, without a GPU")
    parser.add_argument("--output", type=Path, help="folder of the page")
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    target = Target(emulated=options.dry_run)
    if not target.emulated and not torch.cuda.is_available():
        print("There is no GPU that torch can use here: --dry-run runs the steps on the emulator.")
        return 2
    if options.drive:
        drive(target)
        return 0
    folder = ROOT / "build" / "gpu_check"
    journal = Journal(folder / f"{target.name}.jsonl", tree())
    if options.until is not None:
        return work(target, journal, options.until)
    deadline = time.time() + 60 * options.minutes
    status = supervise(["--dry-run"] * target.emulated, journal, deadline)
    output = options.output or (folder if target.emulated else ROOT / "benchmarks" / "results")
    results = list(journal.results().values())
    path = output / f"gpu-{target.name}.md"
    path.write_text(page(target, results, unfinished=status != 0))
    print(path)
    return 1 if any(result.problem for result in results) else status


if __name__ == "__main__":
    sys.exit(main())
