"""README.md and docs/: every Python block runs as pasted, and prints the block that follows it."""

import contextlib
import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d*(?:e[-+]?\d+)?")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


class Example(NamedTuple):
    """A Python block, and what it prints if the page shows that."""

    code: str
    output: str | None


def fenced(page: Path) -> list[Block]:
    return [Block(*match) for match in FENCE.findall(page.read_text())]


def examples(page: Path) -> list[Example]:
    """A block without a language is the output of the Python block before it."""
    blocks = [*fenced(page), Block("end", "")]
    return [
        Example(block.text, after.text if after.language == "" else None)
        for block, after in pairwise(blocks)
        if block.language == "python"
    ]


def digit(number: str) -> float:
    """One unit of the last digit that is shown."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def assert_prints(printed: str, shown: str) -> None:
    """Equal, but for one unit in the last digit of decimal fractions, and spaces at line ends."""
    printed, shown = (
        "\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (printed, shown)
    )
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown), printed
    for got, expected in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        assert digit(got) == digit(expected), printed
        assert abs(float(got) - float(expected)) <= 1.01 * digit(expected), printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_as_pasted(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    line = 0
    for code, output in examples(page):
        # Blocks are pasted one below the other into one file.
        program = compile("\n" * line + code, "example.py", "exec")
        line += code.count("\n")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(program, namespace)
        if output is None:
            assert not printed.getvalue(), f"the page must show what this prints:\n{code}"
        else:
            assert_prints(printed.getvalue(), output)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_without_a_language_are_outputs(page: Path) -> None:
    blocks = [Block("start", ""), *fenced(page)]
    for before, block in pairwise(blocks):
        assert block.language or before.language == "python", block.text


def test_most_pages_have_examples() -> None:
    assert sum(len(examples(page)) for page in PAGES) >= 10
    assert examples(ROOT / "README.md")[0].output


def anchors(page: Path) -> set[str]:
    """The anchors that a forge gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("1.0", "1.00"),
        ("tensor([0.52])", "tensor([0.50])"),
        ("2", "3"),
        ("1.1e-03", "1.1e-04"),
        ("a 1.0", "b 1.0"),
        ("1.0 2.0", "1.0"),
    ],
)
def test_outputs_that_differ_are_refused(printed: str, shown: str) -> None:
    assert_prints(shown, shown)
    with pytest.raises(AssertionError):
        assert_prints(printed, shown)


def test_the_last_digit_may_differ() -> None:
    assert_prints("tensor([0.51, -1.25e-03]) \n", "tensor([0.50, -1.26e-03])")


FIGURE = re.compile(r"\d+(?:\.\d+)?(?:e[-+]\d+)?")


def rounded(number: str, shown: str) -> bool:
    """Whether `shown` is `number`, rounded to the digits that it has."""
    return abs(float(number) - float(shown)) <= 0.501 * digit(shown)


def test_results_are_those_of_the_benchmarks() -> None:
    """Every figure in a table of the results is one of the file that the section links to."""
    page = ROOT / "docs" / "results.md"
    sections = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) >= 10
    for section in sections:
        (source,) = [page.parent / path for path, _ in LINK.findall(section)]
        measured = FIGURE.findall(source.read_text())
        rows = [line for line in section.splitlines() if line.startswith("| ")]
        cells = [cell for row in rows for cell in row.split("|")]
        assert len(cells) > 10
        for figure in {f for cell in cells for f in FIGURE.findall(cell)}:
            assert any(rounded(m, figure) for m in measured), f"{figure} is not in {source.name}"
