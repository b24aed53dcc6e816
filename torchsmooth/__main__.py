"""Prints what a report of a bug needs: versions, devices, and where kernels run.

python -m torchsmooth
"""

import ctypes
import os
import platform
from pathlib import Path

import torch

from . import __version__
from ._kernels.library import NAMES, TWINS_ON_CUDA


FOLDER = Path(__file__).parent
LIBRARIES = ("_C.so", "_C_cuda.so")
PLAIN = "in plain PyTorch"


def is_loaded(library: str) -> bool:
    return str(FOLDER / library) in torch.ops.loaded_libraries


def library_state(library: str) -> str:
    path = FOLDER / library
    if not path.exists():
        return "not built"
    if is_loaded(library):
        return f"loaded, {path.stat().st_size / 2**20:.1f} MiB"
    return "not loaded: torch is no CUDA build" if torch.version.cuda is None else "not loaded"


def instruction_set() -> str:
    """The name of the CPU kernels' instruction set, and who chose it."""
    library = ctypes.CDLL(str(FOLDER / "_C.so"))
    library.torchsmooth_instruction_set.restype = ctypes.c_char_p
    name: bytes | None = library.torchsmooth_instruction_set()
    variable = os.environ.get("TORCHSMOOTH_CPU")
    if name is None:
        return f"none: TORCHSMOOTH_CPU={variable} cannot be had on this machine"
    return name.decode() + (f", by TORCHSMOOTH_CPU={variable}" if variable else "")


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def devices() -> dict[str, str]:
    """Every device that torch has, with what runs there."""
    found = {"cpu": f"{processor()}, {torch.get_num_threads()} threads: all {len(NAMES)} kernels"}
    if torch.cuda.is_available():
        kernels = len(NAMES) - len(TWINS_ON_CUDA)
        where = f"{kernels} kernels, the others {PLAIN}" if is_loaded("_C_cuda.so") else PLAIN
        for index in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(index)
            name = torch.cuda.get_device_name(index)
            found[f"cuda:{index}"] = f"{name}, capability {major}.{minor}: {where}"
    elif torch.accelerator.is_available():
        found[str(torch.accelerator.current_accelerator())] = PLAIN
    return found


def facts() -> dict[str, str]:
    """Names of facts, and the facts, in the order in which they are printed."""
    return {
        "torchsmooth": f"{__version__}, in {FOLDER}",
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda or 'no'}",
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "instruction set": instruction_set(),
        **{f"library {name}": library_state(name) for name in LIBRARIES},
        **{f"device {name}": what for name, what in devices().items()},
    }


def main() -> None:
    lines = facts()
    width = max(map(len, lines))
    for name, fact in lines.items():
        print(f"{name:<{width}}  {fact}")


if __name__ == "__main__":
    main()
