"""`python -m torchsmooth` prints what a report of a bug needs."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torchsmooth as ts
from torchsmooth import __main__ as report


SOURCE = Path(ts.__file__).parents[1]


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    report.main()
    lines = capsys.readouterr().out.splitlines()
    names = {line.split("  ")[0].strip() for line in lines}
    assert {"torchsmooth", "torch", "Python", "platform", "instruction set"} <= names
    assert {"library _C.so", "library _C_cuda.so", "device cpu"} <= names
    text = "\n".join(lines)
    for fact in (ts.__version__, torch.__version__, platform.python_version(), str(SOURCE)):
        assert fact in text


def test_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert report.library_state("_C.so").startswith("loaded, ")
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    assert report.library_state("_C_cuda.so") == "not built"
    (tmp_path / "_C_cuda.so").touch()
    assert report.library_state("_C_cuda.so").startswith("not loaded")


def test_the_instruction_set_is_one_that_the_processor_has() -> None:
    name = report.instruction_set().split(",")[0]
    assert name in ("baseline", "avx2", "avx512")
    cpuinfo = Path("/proc/cpuinfo")
    if name != "baseline" and cpuinfo.exists():
        assert {"avx2": "avx2", "avx512": "avx512bw"}[name] in cpuinfo.read_text().split()


def test_kernels_are_where_they_are_said_to_be() -> None:
    """Every op has a CPU kernel; on CUDA, where its library is loaded, all but the twins."""
    assert report.devices()["cpu"].endswith(f"all {len(report.NAMES)} kernels")
    for name in report.NAMES:
        has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
        assert has_kernel(f"torchsmooth::{name}", "CPU")
        on_cuda = report.is_loaded("_C_cuda.so") and name not in report.TWINS_ON_CUDA
        assert has_kernel(f"torchsmooth::{name}", "CUDA") == on_cuda


@pytest.mark.processes
@pytest.mark.parametrize(
    "wanted, said",
    [
        ("baseline", "baseline, by TORCHSMOOTH_CPU=baseline"),
        ("mmx", "none: TORCHSMOOTH_CPU=mmx cannot be had on this machine"),
    ],
)
def test_it_runs_as_a_module(wanted: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torchsmooth"],
        env={**os.environ, "TORCHSMOOTH_CPU": wanted, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
