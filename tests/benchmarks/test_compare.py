"""benchmarks/compare.py on small files that are made up."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))
ABOUT = {"processor": "A", "threads": 2, "gpu": None, "torch": "2.13.0"}

Compare = Callable[..., int]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compare:
    """The exit status, given the rows of both files."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    main = importlib.import_module("compare").main

    def run(old: list[Any], new: list[Any], *options: str, about: dict[str, Any] = ABOUT) -> int:
        paths = [tmp_path / "old.json", tmp_path / "new.json"]
        for path, rows, where in zip(paths, (old, new), (ABOUT, about), strict=True):
            path.write_text(json.dumps({"about": where, "notes": [], "rows": rows}))
        return main([*map(str, paths), *options])

    return run


def row(n: int, **columns: float) -> dict[str, Any]:
    return {"f": "sort", "n": n, **columns}


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s", "us/path"])
@pytest.mark.parametrize("factor, status", [(0.1, 0), (1.0, 0), (1.19, 0), (1.21, 1), (5.0, 1)])
def test_times(compare: Compare, unit: str, factor: float, status: int) -> None:
    column = f"fused [{unit}]"
    assert compare([row(3, **{column: 2.0})], [row(3, **{column: 2.0 * factor})]) == status


@pytest.mark.parametrize("column", ["both [k images/s]", "[M paths/s]", "million sorts / s"])
@pytest.mark.parametrize("factor, status", [(9.0, 0), (1.0, 0), (0.84, 0), (0.83, 1), (0.1, 1)])
def test_rates(compare: Compare, column: str, factor: float, status: int) -> None:
    """A rate 1 / 1.2 times the old one is 20 % slower."""
    assert compare([row(3, **{column: 2.0})], [row(3, **{column: 2.0 * factor})]) == status


@pytest.mark.parametrize("column", ["fused / randn", "fused [MiB]", "success [%]", "error"])
def test_what_is_no_time_is_not_compared(compare: Compare, column: str) -> None:
    old, new = ({"n": 3, "fused [ms]": 1.0, column: value} for value in (1.0, 100.0))
    assert compare([old], [new]) == 0
    assert compare([new], [old]) == 0


def test_slow_rows_are_printed_slowest_first(
    compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [row(n, **{"fused [ms]": 1.0, "eager [ms]": 1.0}) for n in (3, 5)]
    new = [
        row(5, **{"fused [ms]": 3.0, "eager [ms]": 1.0}),
        row(3, **{"fused [ms]": 1.5, "eager [ms]": 0.5}),
    ]
    assert compare(old, new) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "2 of 4 times are more than 20% slower.",
        "| row | column | old | new | slower by |",
        "| --- | --- | --- | --- | --- |",
        "| f = sort, n = 5 | fused [ms] | 1 | 3 | 200% |",
        "| f = sort, n = 3 | fused [ms] | 1 | 1.5 | 50% |",
    ]


def test_only_the_columns_that_are_asked_for(compare: Compare) -> None:
    old = [row(3, **{"fused [ms]": 1.0, "eager [ms]": 1.0})]
    new = [row(3, **{"fused [ms]": 1.0, "eager [ms]": 2.0})]
    assert compare(old, new) == 1
    assert compare(old, new, "--columns", "^fused") == 0


def test_multiples_of_a_rival(compare: Compare) -> None:
    """On a machine half as fast everything takes twice as long, and nothing became slower."""
    old = [row(3, **{"fused [ms]": 1.0, "randn [ms]": 4.0})]
    same = [row(3, **{"fused [ms]": 2.0, "randn [ms]": 8.0})]
    slower = [row(3, **{"fused [ms]": 2.5, "randn [ms]": 8.0})]
    hidden = [row(3, **{"fused [ms]": 1.0, "randn [ms]": 2.0})]
    assert compare(old, same) == 1
    assert compare(old, same, "--relative-to", "randn [ms]") == 0
    assert compare(old, slower, "--relative-to", "randn [ms]") == 1
    assert compare(old, hidden) == 0
    assert compare(old, hidden, "--relative-to", "randn [ms]") == 1


def test_rows_of_one_file_are_listed(compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    old = [row(n, **{"fused [ms]": 1.0}) for n in (3, 5)]
    new = [row(n, **{"fused [ms]": 1.0}) for n in (3, 10)]
    assert compare(old, new, about={**ABOUT, "threads": 4}) == 0
    out = capsys.readouterr().out
    assert "only the old file has the row f = sort, n = 5\n" in out
    assert "only the new file has the row f = sort, n = 10\n" in out
    assert "threads was 2 and is 4\n" in out
    assert "0 of 1 times" in out


@pytest.mark.parametrize(
    "old, new, options, part",
    [
        ([row(3, t=1.0)], [row(3, t=1.0)], (), "no times of the same rows"),
        ([row(3, **{"a [s]": 1.0})], [row(4, **{"a [s]": 1.0})], (), "no times of the same rows"),
        (
            [row(3, **{"a [s]": 1.0})],
            [row(3, **{"a [s]": 1.0})],
            ("--relative-to", "b [s]"),
            "beside 'b [s]'",
        ),
        ([row(3, **{"a [s]": 1.0})] * 2, [], (), "two rows that are called 'f = sort, n = 3'"),
    ],
)
def test_files_that_cannot_be_compared(
    compare: Compare,
    capsys: pytest.CaptureFixture[str],
    old: list[Any],
    new: list[Any],
    options: tuple[str, ...],
    part: str,
) -> None:
    assert compare(old, new, *options) == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "[]", '{"rows": []}'])
def test_what_is_no_result_file(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str | None,
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    main = importlib.import_module("compare").main
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path), str(path)]) == 2
    assert "is no result file of a benchmark" in capsys.readouterr().err


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_compare_with_themselves(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """So that the rows of every file have names; three of the files hold no times."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    main = importlib.import_module("compare").main
    timeless = path.stem in ("cuda_static", "gradient_error", "memory")
    assert main([str(path), str(path)]) == (2 if timeless else 0)
