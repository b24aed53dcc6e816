"""The one timing helper: rivals in the same run, interleaved, the minimum of many repetitions."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

import torchsmooth


RESULTS = Path(__file__).parent / "results"


def interleaved(
    rivals: dict[str, Callable[[], object]], seconds: float = 1.0, least: int = 5
) -> dict[str, float]:
    """Seconds per call of each rival: the minimum over rounds in which each runs once.

    A disturbance of the machine hits all rivals alike, and the minimum forgets it.
    """
    for call in rivals.values():
        call()
    best = dict.fromkeys(rivals, float("inf"))
    stop = time.perf_counter() + seconds * len(rivals)
    rounds = 0
    while rounds < least or time.perf_counter() < stop:
        for name, call in rivals.items():
            begin = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - begin)
        rounds += 1
    return best


def peak_mebibytes() -> float:
    """The most memory that this process has had so far."""
    # Of this process image: ru_maxrss would start from the peak of the process that forked it.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def in_fresh_process(script: str, *arguments: str) -> float:
    """The number that `script` prints last when it runs in a process of its own."""
    command = [sys.executable, script, *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].split(":")[1].strip() if names else model
    return {
        "processor": model,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchsmooth": torchsmooth.__version__,
    }


def write(name: str, rows: list[dict[str, Any]], goals: list[str]) -> None:
    """Writes results/<name>.json and .md, and prints the latter."""
    RESULTS.mkdir(exist_ok=True)
    command = "python " + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    about = {"date": date.today().isoformat(), "command": f"{command} (in benchmarks/)"}
    about |= machine()
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"about": about, "rows": rows, "goals": goals}, indent=1) + "\n"
    )
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"# {name}", "", *(f"- {key}: {value}" for key, value in about.items()), ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(_format(row.get(column)) for column in columns) + " |")
    lines += ["", *(f"- {goal}" for goal in goals)]
    text = "\n".join(lines) + "\n"
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


def _format(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
