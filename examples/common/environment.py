"""The versions and the machine that a result records."""

import os
import platform
from importlib import metadata
from typing import Any

import torch

import torchsmooth as ts


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python, torch, torchsmooth and other packages, by their names on PyPI."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchsmooth": ts.__version__,
        **{name: metadata.version(name) for name in packages},
    }


def machine(device: str) -> dict[str, Any]:
    """The hardware that the run computed on."""
    description: dict[str, Any] = {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.device(device).type == "cuda":
        description["gpu"] = torch.cuda.get_device_name(device)
        description["cuda"] = torch.version.cuda
    return description


def _processor() -> str:
    """The processor's name, which `platform` does not find on Linux."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
