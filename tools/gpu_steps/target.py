"""What is checked: the kernels of a GPU, or, for a dry run, the emulated ones."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "cuda_on_cpu")]
LIBRARIES = [ROOT / "torchsmooth" / name for name in ("_C.so", "_C_cuda.so")]


@dataclass(frozen=True)
class Target:
    emulated: bool

    @property
    def device(self) -> str:
        return "cpu" if self.emulated else "cuda"

    @property
    def name(self) -> str:
        if self.emulated:
            return "dry-run"
        words = re.findall(r"[a-z0-9]+", torch.cuda.get_device_name().lower())
        return "-".join(words)

    def ops(self):  # noqa: ANN201
        """The namespace of the kernels; loads their library."""
        if self.emulated:
            from emulated import load
            from emulator_build import build

            return load(build("plain")).ops
        for library in LIBRARIES:
            torch.ops.load_library(str(library))
        return torch.ops.torchsmooth

    def milliseconds(self, call: Callable[[], object], seconds: float = 0.3) -> dict[str, float]:
        """Of one call, by events around each of many; in a dry run by the host's clock."""
        if self.emulated:
            begin = time.perf_counter()
            call()
            return {"min": 1e3 * (time.perf_counter() - begin), "calls": 1}
        for _ in range(3):
            call()
        torch.cuda.synchronize()
        times: list[float] = []
        stop = time.perf_counter() + seconds
        while len(times) < 10 or (time.perf_counter() < stop and len(times) < 2000):
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            events[0].record()
            call()
            events[1].record()
            events[1].synchronize()
            times.append(events[0].elapsed_time(events[1]))
        times.sort()
        return {"min": times[0], "median": times[len(times) // 2], "calls": len(times)}

    def graphed(self, call: Callable[[], object], seconds: float = 0.3) -> dict[str, float]:
        """Of one call in a CUDA graph of many, so that launches cost the host nothing."""
        if self.emulated:
            return self.milliseconds(call)
        inner = 10
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(inner):
                call()
        times = self.milliseconds(graph.replay, seconds)
        return {key: value / inner for key, value in times.items() if key != "calls"}
