"""The page that says what was found."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

import torch

from .journal import Result
from .target import Target


def about(target: Target) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}",
    }
    if not target.emulated:
        properties = torch.cuda.get_device_properties(0)
        facts["gpu"] = f"{properties.name}, {properties.multi_processor_count} multiprocessors"
        facts["capability"] = f"{properties.major}.{properties.minor}"
    commands = {
        "nvcc": ["nvcc", "--version"],
        "driver": ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        "commit": ["git", "describe", "--always", "--dirty"],
    }
    for name, command in commands.items():
        if shutil.which(command[0]):
            said = subprocess.run(command, capture_output=True, text=True).stdout.strip()
            facts[name] = said.splitlines()[-1] if said else "?"
    return facts


def microseconds(notes: dict[str, Any], kind: str) -> str:
    return f"{notes[kind]['min'] * 1e3:.1f}" if kind in notes else ""


def page(target: Target, results: Iterable[Result], unfinished: bool) -> str:
    results = list(results)
    lines = [f"# GPU check: {target.name}", ""]
    if target.emulated:
        lines += ["A dry run: the kernels ran on a CPU, and the times mean nothing.", ""]
    lines += [f"- {key}: {value}" for key, value in about(target).items()]
    if unfinished:
        lines += ["", "**Unfinished**: the time was up. The same command goes on from here."]
    lines += ["", "| part | done | failed |", "| --- | --- | --- |"]
    for part in dict.fromkeys(result.part for result in results):
        own = [result for result in results if result.part == part]
        lines.append(f"| {part} | {len(own)} | {sum(bool(r.problem) for r in own)} |")
    failed = [result for result in results if result.problem]
    if failed:
        lines += ["", "## Failures", ""]
        lines += [f"- {r.part}: {r.name}: {r.problem[:600]}" for r in failed[:100]]
    said = [r for r in results if r.part != "bench" and r.notes]
    if said:
        lines += ["", "## Notes", ""]
        lines += [f"- {r.part}: {r.name}: {r.notes}" for r in said]
    timed = [r for r in results if r.part == "bench" and not r.problem]
    if timed:
        lines += ["", "## Times", "", "Microseconds of one call, the least of many.", ""]
        lines += ["| what | alone | in a graph | more |", "| --- | --- | --- | --- |"]
        for r in timed:
            more = ", ".join(
                f"{value:.4g} {key}" for key, value in r.notes.items() if isinstance(value, float)
            )
            alone, graph = microseconds(r.notes, "plain"), microseconds(r.notes, "graph")
            lines.append(f"| {r.name} | {alone} | {graph} | {more} |")
    return "\n".join(lines) + "\n"
