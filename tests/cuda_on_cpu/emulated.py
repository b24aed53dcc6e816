"""Emulated kernels, loaded: what runs, what ran, and under which settings."""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emulator_build import ROOT, Emulated
from kernel_cases import Kernels


def load(library: Emulated) -> Kernels:
    """The kernels of a library, to be compared with those of the CPU."""
    for path in (ROOT / "torchsmooth" / "_C.so", library.path):
        torch.ops.load_library(str(path))
    return Kernels(getattr(torch.ops, library.namespace), "cpu")


@contextmanager
def settings(**values: str) -> Iterator[None]:
    """Settings of the emulator (see emulator/settings.h) by the names that follow EMU_."""
    names = {f"EMU_{name.upper()}": value for name, value in values.items()}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def kernel_names(library: Emulated) -> dict[int, str]:
    """Every kernel that is instantiated, by its address in the library."""
    command = ["nm", "-C", str(library.path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = {}
    for line in lines:
        address, kind, name = line.split(" ", 2) if line[0] != " " else ("", "", "")
        if kind not in ("t", "T", "W", "w") or "lambda" in name:
            continue
        name = name.replace("(anonymous namespace)::", "").replace(f"{library.namespace}::", "")
        # A function template's name begins with what it returns.
        if match := re.match(r"(?:void )?(\w+_kernel(?:<.*>)?)\(", name):
            names[int(address, 16)] = match[1]
    return names


@dataclass(frozen=True)
class Statistics:
    """What was launched of a kernel; shared memory is in bytes, the most of all launches."""

    launches: int = 0
    blocks: int = 0
    threads: int = 0
    dynamic: int = 0
    declared: int = 0


def statistics(library: Emulated) -> dict[str, Statistics]:
    """Of every kernel, what this process has launched. A kernel that is in several files counts as
    one: it has the launches of the file with the fewest."""
    launched = {}
    with tempfile.NamedTemporaryFile("r") as file:
        if ctypes.CDLL(str(library.path)).emulator_write_statistics(file.name.encode()) != 0:
            raise RuntimeError("the emulator could not write what it has counted")
        for line in file:
            address, *row = (int(word) for word in line.split())
            launched[address] = Statistics(*row)
    result: dict[str, Statistics] = {}
    for address, name in kernel_names(library).items():
        row = launched.get(address, Statistics())
        result[name] = min(row, result.get(name, row), key=lambda one: one.launches)
    return result
