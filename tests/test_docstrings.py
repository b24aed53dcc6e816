"""Docstrings of public names: their sections, and the arguments that they describe."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_layout import NAMESPACES, PACKAGE, ROOT


# Layers refer to their functions for most arguments; `tests/nn/test_every_layer.py` looks at them.
ELSEWHERE = ("torchsmooth.nn",)

# Functions without a literature source: definitions, textbook facts, tools of this package.
NO_SOURCE = {
    "torchsmooth": {"soften"},
    "torchsmooth.hard": {"argmax", "argsort", "median", "rank", "render", "sort", "topk"},
    "torchsmooth.meshes": {"load"},
    "torchsmooth.soft": {
        "all",
        "any",
        "clamp",
        "equal",
        "grid_search",
        "hardshrink",
        "log_heaviside",
        "quantize",
        "sign",
        "threshold",
        "while_loop",
    },
}

# Their methods are those of torch.Tensor.
LIKE_TENSORS = ("SoftBoolean", "SoftIndex")

SECTION = re.compile(r"^\*\*(Arguments|Returns|Raises|Source):\*\*", re.MULTILINE)
NAME = re.compile(r"`\*{0,2}(\w+)`")


class Public(NamedTuple):
    """A public function or class, and where it is exported."""

    namespace: str
    name: str
    value: Any

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.value.__doc__ or "")

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}"


def public_names() -> Iterator[Public]:
    """Every public function and class, in the innermost namespace that exports it."""
    found: dict[int, Public] = {}
    for namespace in NAMESPACES:
        module = importlib.import_module(namespace)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found[id(value)] = Public(namespace, name, value)
    yield from (public for public in found.values() if public.namespace not in ELSEWHERE)


PUBLIC = list(public_names())
FUNCTIONS = [public for public in PUBLIC if inspect.isfunction(public.value)]
CLASSES = [public for public in PUBLIC if inspect.isclass(public.value)]


def sections(doc: str) -> dict[str, str]:
    """The sections by their names; "Source" also where the text names a paper in another place."""
    parts = SECTION.split(doc)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(arguments: str) -> list[str]:
    """The arguments that a section describes: the names before the colon of each item."""
    items = re.findall(r"^- (.*?):", arguments, re.MULTILINE)
    return [name for item in items for name in NAME.findall(item)]


def test_there_are_public_names() -> None:
    assert len(FUNCTIONS) > 60
    assert len(CLASSES) > 15
    exported = {(public.namespace, public.name) for public in FUNCTIONS}
    for namespace, names in NO_SOURCE.items():
        assert names <= {name for where, name in exported if where == namespace}


@pytest.mark.parametrize("public", PUBLIC, ids=str)
def test_the_first_line_is_a_sentence(public: Public) -> None:
    first = public.doc.partition("\n")[0]
    assert re.search(r"[.:]$", first), first
    assert not re.match(r"What\b", first), first


@pytest.mark.parametrize("public", FUNCTIONS, ids=str)
def test_functions_have_all_sections(public: Public) -> None:
    found = sections(public.doc)
    assert {"Returns", "Raises"} <= set(found)
    assert "Arguments" in found or not inspect.signature(public.value).parameters
    assert ">>> " in public.doc
    order = [name for name in ("Arguments", "Returns", "Raises", "Source") if name in found]
    assert [match[1] for match in SECTION.finditer(public.doc)] == order


@pytest.mark.parametrize("public", FUNCTIONS, ids=str)
def test_functions_name_their_source(public: Public) -> None:
    has_source = "Source" in sections(public.doc) or "arXiv" in public.doc
    assert has_source != (public.name in NO_SOURCE.get(public.namespace, ()))


@pytest.mark.parametrize("public", FUNCTIONS, ids=str)
def test_functions_describe_their_arguments(public: Public) -> None:
    names = described(sections(public.doc)["Arguments"])
    assert sorted(names) == sorted(inspect.signature(public.value).parameters)


@pytest.mark.parametrize("public", CLASSES, ids=str)
def test_classes_describe_their_arguments(public: Public) -> None:
    """Those that a user makes; the others are results of functions, and have no such section."""
    arguments = sections(public.doc).get("Arguments")
    if arguments is not None:
        assert sorted(described(arguments)) == sorted(inspect.signature(public.value).parameters)


@pytest.mark.parametrize("public", CLASSES, ids=str)
def test_public_methods_have_docstrings(public: Public) -> None:
    if public.name in LIKE_TENSORS:
        return
    for name, member in vars(public.value).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            assert inspect.getdoc(getattr(public.value, name)), f"{public}.{name}"


FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "examples").rglob("*.py")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_begin_with_their_subject(file: Path) -> None:
    """No docstring opens with "What ..."."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            doc = ast.get_docstring(node) or ""
            assert not doc.startswith("What "), doc.partition("\n")[0]
