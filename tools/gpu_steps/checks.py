"""Steps that say whether the kernels are right."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from .journal import Step
from .target import LIBRARIES, ROOT, Target
from .wrappers import WrappedOps, in_a_graph, on_another_stream, twice


# Ops without a CUDA kernel: their plain PyTorch twin runs on a GPU.
TWINS = ["torchsmooth::hard_shortest_path_graph"]


def run(command: list[str], **environment: str) -> dict[str, Any]:
    """Runs a command; what it says last is worth noting, or what was wrong."""
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    said = (result.stdout + result.stderr).strip()
    if result.returncode != 0:
        raise RuntimeError(f"status {result.returncode}: {said[-1500:]}")
    return {"said": said.splitlines()[-1] if said else ""}


def build() -> dict[str, Any]:
    jobs = str(os.cpu_count() or 2)
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    run(command, TORCHSMOOTH_CUDA="1", MAX_JOBS=jobs)
    for library in LIBRARIES:
        torch.ops.load_library(str(library))
    names = torch._C._dispatch_get_all_op_names()
    ops = sorted(name for name in names if name.startswith("torchsmooth::"))
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    without = [name for name in ops if not has_kernel(name, "CUDA") and name not in TWINS]
    if without or not ops:
        raise RuntimeError(f"ops without a CUDA kernel: {without}")
    return {"ops": len(ops), "bytes": sum(library.stat().st_size for library in LIBRARIES)}


def comparisons(target: Target, ops: Any, part: str, *, small: bool) -> Iterator[Step]:
    from kernel_cases import Case, Kernels, cases, small_cases

    kernels = Kernels(ops, target.device)

    def step(number: int, case: Case) -> Step:
        def compare() -> dict[str, Any]:
            case.run(kernels)
            return {}

        return Step(part, f"{number} {case.family}, {case.what}", compare)

    for number, case in enumerate(small_cases() if small else cases()):
        yield step(number, case)


def sanitize(tool: str) -> dict[str, Any]:
    """A small call of every kernel under compute-sanitizer."""
    found = shutil.which("compute-sanitizer")
    places = (
        [Path(found)] if found else sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))
    )
    if not places:
        return {"said": "skipped: compute-sanitizer was not found"}
    sanitizer = [str(places[0]), "--tool", tool, "--error-exitcode", "9"]
    drive = [sys.executable, str(ROOT / "tools" / "gpu_check.py"), "--drive"]
    # Without its own cache of memory torch asks the driver for each tensor, and what lies beyond a
    # tensor's end is nobody's.
    return run(
        [*sanitizer, "--kernel-name-exclude", "regex:at::", *drive],
        PYTORCH_NO_CUDA_MEMORY_CACHING="1",
    )


def pytest() -> dict[str, Any]:
    options = ["-m", "cuda", "-q", "--tb=short", "-p", "no:cacheprovider"]
    return run([sys.executable, "-m", "pytest", "tests", *options])


def steps_before_benchmarks(target: Target) -> Iterator[Step]:
    """What a run of few minutes must have done."""
    if not target.emulated:
        yield Step("build", "both libraries", build)
    ops = target.ops()
    yield from comparisons(target, ops, "compare, small", small=True)
    wrappers: dict[str, Callable] = {"determinism": twice}
    if not target.emulated:
        wrappers |= {"streams": on_another_stream, "graphs": in_a_graph}
    for part, wrapper in wrappers.items():
        yield from comparisons(target, WrappedOps(ops, wrapper), part, small=True)
    if not target.emulated and torch.cuda.device_count() > 1:
        from kernel_cases import Kernels, run_cases, small_cases

        def on_the_second_device() -> dict[str, Any]:
            report = run_cases(Kernels(ops, "cuda:1"), small_cases())
            if report.failures:
                raise RuntimeError("; ".join(report.failures[:3]))
            return {"cases": report.counts.total()}

        yield Step("devices", "the second one, while the first is current", on_the_second_device)


def steps_after_benchmarks(target: Target) -> Iterator[Step]:
    yield from comparisons(target, target.ops(), "compare, all", small=False)
    if not target.emulated:
        yield Step("test", "pytest -m cuda", pytest)
        for tool in ("memcheck", "racecheck"):
            yield Step("sanitize", tool, lambda tool=tool: sanitize(tool))
