"""The operators that a block has replaced."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from .source_lines import SourceLine


@dataclass(frozen=True)
class Replacement:
    """An operator at a line of a program, what ran in its place, and how often."""

    operator: str
    twin: str
    place: SourceLine
    count: int


@final
class Replacements:
    """The operators that a block of `soften` has replaced: a sequence, and a table as text."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, SourceLine], int] = {}

    def __iter__(self) -> Iterator[Replacement]:
        return (Replacement(*key, count) for key, count in self._counts.items())

    def __len__(self) -> int:
        return len(self._counts)

    def __getitem__(self, i: int) -> Replacement:
        return list(self)[i]

    def add(self, operator: str, twin: str, place: SourceLine) -> None:
        key = (operator, twin, place)
        self._counts[key] = self._counts.get(key, 0) + 1

    def count(self, operator: str) -> int:
        """How often an operator was replaced, on all lines."""
        return sum(entry.count for entry in self if entry.operator == operator)

    def __str__(self) -> str:
        if not self._counts:
            return "nothing was replaced"
        rows = [("operator", "replaced by", "count", "at")]
        rows += [(e.operator, e.twin, str(e.count), str(e.place)) for e in self]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            f"{name:<{widths[0]}}  {twin:<{widths[1]}}  {count:>{widths[2]}}  {place}"
            for name, twin, count, place in rows
        ]
        return "\n".join(lines)

    __repr__ = __str__
