"""Has anything become slower?

Compares two result files of the same benchmark, row by row, and fails if a time of the new one is
more than 20 % above that of the old one, or a rate as far below it. Times and rates are told by
their units: [ns], [us], [ms], [s], [us/path]; [k images/s], "million sorts / s". A row is known by
what precedes its first measured column; rows that only one file has are listed and not judged.

    python compare.py old/sort.json results/sort.json --columns "^fused"
    python compare.py old/sort.json results/sort.json --columns "^fused" --relative-to "randn [ms]"

Two machines, or two days of one, differ by more than 20 % in everything: `--relative-to` compares
the times as multiples of a rival's, measured in the same run.

Exit status: 0, nothing is slower; 1, something is; 2, the files cannot be compared.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from timing import table


TOLERANCE = 0.2
TIME = re.compile(r"\[(?:ns|us|ms|s)(?:/[^\]]+)?\]$")
RATE = re.compile(r"/ ?s\]?$")
MEASURED = re.compile(r"\[[^\]]*\]$|/ s$")

Row = dict[str, Any]


class CannotCompare(Exception):
    """The files do not hold the same benchmark."""


def cost(column: str, value: float) -> float:
    """A time, or the inverse of a rate: the lower, the better."""
    return value if TIME.search(column) else 1 / value


def timed_columns(row: Row, wanted: re.Pattern[str]) -> list[str]:
    return [
        column
        for column, value in row.items()
        if (TIME.search(column) or RATE.search(column))
        and isinstance(value, (int, float))
        and wanted.search(column)
    ]


def name_of(row: Row) -> str:
    """The row's columns up to the first measured one."""
    parts = []
    for column, value in row.items():
        if MEASURED.search(column):
            break
        parts.append(f"{column} = {value}")
    return ", ".join(parts)


def by_name(path: Path) -> tuple[Row, dict[str, Row]]:
    """What a file says about its machine, and its rows."""
    try:
        content = json.loads(path.read_text())
        about, rows = content["about"], content["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotCompare(f"{path} is no result file of a benchmark: {error!r}") from error
    named: dict[str, Row] = {}
    for row in rows:
        name = name_of(row)
        if name in named:
            raise CannotCompare(f"{path} has two rows that are called {name!r}")
        named[name] = row
    return about, named


def slowdown(column: str, old: Row, new: Row, reference: str | None) -> float:
    """The new time over the old one: 1.2 is 20 % slower."""
    ratio = cost(column, new[column]) / cost(column, old[column])
    if reference is not None:
        ratio /= cost(reference, new[reference]) / cost(reference, old[reference])
    return ratio


def compare(
    old: dict[str, Row], new: dict[str, Row], wanted: re.Pattern[str], reference: str | None
) -> tuple[list[Row], int]:
    """The rows that are slower, slowest first, and how many times were compared."""
    slower: list[Row] = []
    compared = 0
    for name in [name for name in old if name in new]:
        before, after = old[name], new[name]
        if reference is not None and (reference not in before or reference not in after):
            continue
        for column in timed_columns(before, wanted):
            if column == reference or after.get(column) is None:
                continue
            compared += 1
            ratio = slowdown(column, before, after, reference)
            if ratio > 1 + TOLERANCE:
                slower.append(
                    {
                        "row": name,
                        "column": column,
                        "old": float(before[column]),
                        "new": float(after[column]),
                        "slower by": f"{ratio - 1:.0%}",
                        "ratio": ratio,
                    }
                )
    slower.sort(key=lambda row: row["ratio"], reverse=True)
    return slower, compared


def report(args: argparse.Namespace) -> int:
    (old_about, old), (new_about, new) = by_name(args.old), by_name(args.new)
    for key in ("processor", "threads", "gpu", "torch"):
        if old_about.get(key) != new_about.get(key):
            print(f"note: {key} was {old_about.get(key)} and is {new_about.get(key)}")
    for where, names in (("old", old.keys() - new.keys()), ("new", new.keys() - old.keys())):
        for name in sorted(names):
            print(f"note: only the {where} file has the row {name}")
    slower, compared = compare(old, new, args.columns, args.relative_to)
    if not compared:
        raise CannotCompare(
            f"{args.old} and {args.new} have no times of the same rows in common"
            + (f" beside {args.relative_to!r}" if args.relative_to else "")
        )
    print(f"{len(slower)} of {compared} times are more than {TOLERANCE:.0%} slower.")
    if slower:
        print(table([{k: v for k, v in row.items() if k != "ratio"} for row in slower]))
    return 1 if slower else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="the result file to compare with")
    parser.add_argument("new", type=Path, help="the result file that is judged")
    parser.add_argument(
        "--columns",
        type=re.compile,
        default=re.compile(""),
        help="a regular expression: only these",
    )
    parser.add_argument(
        "--relative-to", metavar="COLUMN", help="compare multiples of this column's time"
    )
    try:
        return report(parser.parse_args(arguments))
    except CannotCompare as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
