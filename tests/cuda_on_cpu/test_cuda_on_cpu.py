"""Every CUDA kernel, run on the CPU by the emulator beside this file and compared with the CPU's.

With TORCHSMOOTH_NIGHTLY=1: all cases, all mutants, and AddressSanitizer.
"""

import functools
import itertools
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from emulated import kernel_names, load, settings, statistics
from emulator_build import Emulated, asan_environment, build, sources
from kernel_cases import FAMILIES, Case, Kernels, run_cases, small_cases
from kernel_cases.sort import Sorting, upstream
from mutants import TABLE, mutated
from torch import Tensor


pytestmark = [
    pytest.mark.cuda_on_cpu,
    pytest.mark.skipif(
        platform.machine() != "x86_64" or not shutil.which("g++"),
        reason="the emulator needs g++ and an x86-64 processor",
    ),
]

NIGHTLY = os.environ.get("TORCHSMOOTH_NIGHTLY", "") == "1"
nightly = pytest.mark.skipif(not NIGHTLY, reason="takes long: set TORCHSMOOTH_NIGHTLY=1")

# Of all cases one in so many is compared: a prime number, so that every law, sampler, type and size
# is met.
THIN = 1 if NIGHTLY else 53

# The most shared memory of a block, of compute capability 7.5, 8.6 and 12.0, 8.0, 9.0.
SHARED_LIMITS = {"7.5": 64, "8.6": 99, "8.0": 163, "9.0": 227}

# Few blocks, each with several tiles and tasks.
FEW_BLOCKS = {"cut": "1", "max_blocks": "2"}


@functools.cache
def library(variant: str) -> Emulated:
    return build(variant)


@pytest.fixture(scope="session")
def plain() -> Kernels:
    return load(library("plain"))


def assert_all_agree(kernels: Kernels, chosen: list[Case]) -> None:
    assert chosen
    report = run_cases(kernels, chosen)
    assert not report.failures, "\n".join(report.failures[:20])


def family_name(family: object) -> str:
    return getattr(family, "__name__", "").rpartition(".")[2]


@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_agrees_with_the_cpu(plain, family):
    with settings(**({} if NIGHTLY else {"cut": "16"})):
        assert_all_agree(plain, list(itertools.islice(family.cases(), 0, None, THIN)))


@pytest.mark.parametrize("capability", SHARED_LIMITS)
def test_no_gpu_has_too_little_shared_memory(plain, capability):
    """No launch is refused: a kernel that finds no room takes another way."""
    with settings(shared_limit=str(SHARED_LIMITS[capability] * 1024), **FEW_BLOCKS):
        assert_all_agree(plain, list(small_cases()))


# With next to no shared memory grids, images and tiles lie in global memory.
ROOMS = {"plenty": {}, "nothing": {"shared_limit": "2048"}}


@functools.cache
def failures_of_race_build(room: str) -> list[str]:
    kernels = load(library("race"))
    with settings(order="random", **FEW_BLOCKS, **ROOMS[room]):
        return run_cases(kernels, small_cases()).failures


@pytest.mark.parametrize("room", ROOMS)
def test_no_races(room):
    """Neither races nor reads of memory that nobody wrote. The threads run in random order."""
    assert not failures_of_race_build(room)


def test_every_kernel_is_launched():
    """A kernel that is instantiated and that no case of `small_cases` reaches would be untested."""
    for room in ROOMS:
        failures_of_race_build(room)
    never = [name for name, row in statistics(library("race")).items() if row.launches == 0]
    assert not never


class Recorder:
    """The ops of a namespace; what they return is kept."""

    def __init__(self, ops: object):
        self._ops = ops
        self.results: list[Tensor] = []

    def __getattr__(self, name: str):
        op = getattr(self._ops, name)

        def call(*arguments: object):
            out = op(*arguments)
            self.results += [out] if isinstance(out, Tensor) else out
            return out

        return call


def results(kernels: Kernels, **chosen: str) -> list[Tensor]:
    recorder = Recorder(kernels.ops)
    with settings(**chosen):
        assert_all_agree(Kernels(recorder, kernels.device), list(small_cases())[::2])
    return recorder.results


ORDERS = [
    {"order": "down"},
    {"order": "random", "seed": "5", "max_blocks": "3", "poison": "0x7F"},
    {"order": "warps", "seed": "7"},
    {"order": "up", "max_blocks": "1", "poison": "0xA5"},
]


@pytest.fixture(scope="session")
def in_order(plain) -> list[Tensor]:
    return results(plain, order="up")


@pytest.mark.parametrize("variant", ORDERS, ids=lambda variant: "-".join(variant.values()))
def test_orders_change_nothing(plain, in_order, variant):
    """The order of threads, warps and blocks, the number of blocks, and what was in memory before
    change no bit of any result."""
    for a, b in zip(in_order, results(plain, **variant), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())
        assert torch.equal(a.isnan(), b.isnan())


def refused_launches(kernels: Kernels, calls: int) -> list[str]:
    """What threads of the host say that call one kernel with as many sizes at the same time."""
    errors: list[str] = []

    def work(n: int) -> None:
        call = Sorting("argsort", torch.linspace(0, 1, n)[None], torch.ones(1, 1), 4)
        grad, center = upstream("argsort", 1, n, torch.float32), torch.zeros(1)
        for _ in range(calls // 8):
            try:
                kernels.ops.sort_backward(grad, center, *call.arguments(), 1.0, 0.0, True)
            except RuntimeError as error:
                errors.append(f"{n=}: {error}")
                return

    threads = [threading.Thread(target=work, args=(n,)) for n in (8, 6, 7, 8, 40, 20, 30, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_of_the_host_refuse_each_other_nothing(plain):
    assert not refused_launches(plain, 10_000 if NIGHTLY else 800)


@nightly
def test_refused_launches_are_seen():
    """The test above fails where every call sets anew what its kernel may have."""
    files = {n: text for n, text in sources().items() if not n.endswith(".cu") or "sort" in n}
    text, count = re.subn(r" *if \(bytes <= most\) return;\n", "", files["cuda/launch.cuh"])
    assert count == 1
    spoiled = build("plain", files | {"cuda/launch.cuh": text})
    assert any("CUDA error" in error for error in refused_launches(load(spoiled), 800))


# In every run the mutants of two files, which compile quickly.
QUICK = ("cuda/reduce.cu", "cuda/shortest_path.cu")
CHOSEN = {name: m for name, m in TABLE.items() if NIGHTLY or m.file in QUICK}


@pytest.fixture(scope="session")
def spoiled() -> Kernels:
    return load(build("race", mutated(sources(), CHOSEN)))


@pytest.mark.parametrize("name", TABLE)
def test_mutants_are_found(request, name):
    if name not in CHOSEN:
        pytest.skip("takes long: set TORCHSMOOTH_NIGHTLY=1")
    mutant = TABLE[name]
    with settings(**FEW_BLOCKS):
        report = run_cases(request.getfixturevalue("spoiled"), [mutant.case])
    assert report.failures, "nothing was found"
    assert re.search(mutant.report, report.failures[0]), report.failures[0]


@nightly
@pytest.mark.parametrize("limit", ["", "2048"])
def test_address_sanitizer(limit):
    """In a process of its own, which loads AddressSanitizer before everything else."""
    library("asan")
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "asan", "--small"]
    variables = {"EMU_SHARED_LIMIT": limit, "EMU_CUT": "1", "EMU_MAX_BLOCKS": "2"}
    environment = os.environ | asan_environment() | variables
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]


def test_kernels_are_recognised():
    """The list of kernels comes from the symbols of the library."""
    names = kernel_names(library("plain")).values()
    assert "perturb_kernel<float, true>" in names
    assert len(set(names)) > 50
