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
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
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


def write(
    name: str,
    rows: list[dict[str, Any]],
    notes: list[str],
    body: str | None = None,
    keep: bool = True,
) -> None:
    """Prints the rows as markdown and, to `keep` them, writes results/<name>.json and .md.

    `body`: the tables as markdown; without it, one table with all rows.
    """
    command = "python " + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    about = {"date": date.today().isoformat(), "command": f"{command} (in benchmarks/)"}
    about |= machine()
    text = "\n".join(
        [
            f"# {name}",
            "",
            *(f"- {key}: {value}" for key, value in about.items()),
            "",
            table(rows) if body is None else body,
            "",
            *(f"- {note}" for note in notes),
            "",
        ]
    )
    print(text)
    if not keep:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    (RESULTS / f"{name}.json").write_text(
        f'{{\n "about": {json.dumps(about)},\n "notes": {json.dumps(notes)},\n'
        f' "rows": [\n{lines}\n ]\n}}\n'
    )


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a markdown table; a column for every key."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(map(str, columns)) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(_format(row.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def _format(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
