"""What has been done already: a file of one line for each event, so that a run that is stopped, or
that a kernel takes down with it, can go on where it was."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


UNFINISHED = "the process ended in the middle of it"


@dataclass(frozen=True)
class Step:
    """One thing to do. `run` returns what is worth noting and raises if something is wrong."""

    part: str
    name: str
    run: Callable[[], dict[str, Any]]

    @property
    def key(self) -> str:
        return f"{self.part}: {self.name}"


@dataclass(frozen=True)
class Result:
    """`problem`: what was wrong, or ""."""

    part: str
    name: str
    problem: str
    notes: dict[str, Any]


class Journal:
    """The events of one source tree on one device; another tree begins anew."""

    def __init__(self, path: Path, tree: str):
        self.path = path
        self.tree = tree
        path.parent.mkdir(parents=True, exist_ok=True)

    def _events(self) -> Iterable[dict[str, Any]]:
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:  # the process ended while it wrote
                continue
            if event["tree"] == self.tree:
                yield event

    def _note(self, **event: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"tree": self.tree, **event}) + "\n")

    def results(self) -> dict[str, Result]:
        """By the keys of their steps. A step that began and did not end took down its process."""
        results: dict[str, Result] = {}
        for event in self._events():
            step = (event["part"], event["name"])
            began = Result(*step, UNFINISHED, {})
            ended = Result(*step, event.get("problem", ""), event.get("notes", {}))
            key = ": ".join(step)
            if event["what"] == "stopped":
                results.pop(key, None)
            else:
                results[key] = ended if event["what"] == "ended" else began
        return results

    def stop(self) -> None:
        """The process was stopped from outside: the step that it was in is to be done again."""
        for result in self.results().values():
            if result.problem == UNFINISHED:
                self._note(part=result.part, name=result.name, what="stopped")

    def perform(self, step: Step) -> None:
        self._note(part=step.part, name=step.name, what="began")
        problem, notes = "", {}
        try:
            notes = step.run()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"[:2000]
        event = {"part": step.part, "name": step.name, "what": "ended"}
        self._note(**event, problem=problem, notes=notes)
