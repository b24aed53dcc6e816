"""A program that computes once and leaves a result and a picture."""

import argparse
import time
from typing import Any, final

from . import environment
from .run_directory import RunDirectory


@final
class Study:
    """The output of such a program: result.json, with its settings and versions, and <name>.png."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self._started = time.perf_counter()
        self._settings = vars(args)
        self._directory = RunDirectory(args.output)
        self.picture = self._directory.path / f"{name}.png"
        self._directory.clear(self.picture)

    def finish(self, results: Any) -> None:
        self._directory.write_result(
            {
                "settings": self._settings,
                "versions": environment.versions("matplotlib"),
                "machine": environment.machine("cpu"),
                "seconds": time.perf_counter() - self._started,
                "results": results,
            }
        )
        print(f"wrote {self._directory.result}, {self.picture}")
