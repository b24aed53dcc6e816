"""The architecture: which part may import which, and which names can be reached."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import torchsmooth


ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "torchsmooth"
# From the bottom up: a part imports itself and parts above it in this list, also within functions
# and for type checkers alone.
FLOORS = (
    "_names",
    "_torch_internals",
    "_dtypes",
    "_typing",
    "_linalg",
    "samplers",
    "distributions",
    "_checks",
    "statistics",
    "_kernels",
    "_autodiff",
    "hard",
    "_smoothing",
    "functional",
    "_straight_through",
    "soft",
    "meshes",
    "_solvers",
    "_analysis",
    "nn",
    "_soften",
    "",  # the package's own namespace
    "__main__",
)
NAMESPACES = (
    "torchsmooth",
    "torchsmooth.distributions",
    "torchsmooth.functional",
    "torchsmooth.hard",
    "torchsmooth.meshes",
    "torchsmooth.nn",
    "torchsmooth.samplers",
    "torchsmooth.soft",
    "torchsmooth.statistics",
)


def module_name(file: Path) -> str:
    """The dotted name within the package, "" for the package itself."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in its text."""
    file = FILES[module]
    package = module.split(".") if module else []
    if file.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert not any(a.name.split(".")[0] == "torchsmooth" for a in node.names), (
                f"{file}: imports within the package are relative"
            )
        if not isinstance(node, ast.ImportFrom):
            continue
        assert (node.module or "").split(".")[0] != "torchsmooth", (
            f"{file}: imports within the package are relative"
        )
        if node.level == 0:
            continue
        base = package[: len(package) - node.level + 1]
        base += node.module.split(".") if node.module else []
        for alias in node.names:
            own = ".".join([*base, alias.name])
            found.add(own if own in FILES else ".".join(base))
    return found - {module}


GRAPH = {module: imports(module) for module in FILES}


def floor(module: str) -> int:
    return FLOORS.index(module.split(".")[0])


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down(module: str) -> None:
    climbing = [other for other in GRAPH[module] if floor(other) > floor(module)]
    assert not climbing, f"{module or 'torchsmooth'} imports {climbing} from above"


def test_there_is_no_circle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for other in GRAPH[module]:
            # A package's own namespace gathers what is in it.
            if not (FILES[module].name == "__init__.py" and other.startswith(f"{module}.")):
                visit(other, (*path, module))
        done.add(module)

    for module in GRAPH:
        visit(module, ())


def test_one_module_knows_the_insides_of_torch() -> None:
    inside = re.compile(r"torch\._C\b|torch\._dynamo\b|torch\._functorch\b|_dynamo_marked_constant")
    users = [m for m, file in FILES.items() if inside.search(file.read_text())]
    assert users == ["_torch_internals"]


@pytest.mark.parametrize("module", FILES)
def test_files_are_short(module: str) -> None:
    assert len(FILES[module].read_text().splitlines()) <= 600


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("csrc/core", r"torch/|stable\.h|Python\.h|<ATen|<c10"),
        ("csrc/cpu", r"Python\.h|pybind|torch/extension\.h|<ATen|<c10"),
        ("csrc/cuda", r"Python\.h|pybind|torch/extension\.h|<ATen|<c10"),
        ("csrc/ops", r"Python\.h|pybind|torch/extension\.h|<ATen|<c10"),
    ],
)
def test_headers_know_only_what_they_may(folder: str, forbidden: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert files
    for file in files:
        for line in file.read_text().splitlines():
            if line.startswith("#include"):
                assert not re.search(forbidden, line), f"{file}: {line}"


@pytest.mark.parametrize("name", NAMESPACES)
def test_namespaces_show_their_names_and_no_others(name: str) -> None:
    module = importlib.import_module(name)
    names = module.__all__
    assert sorted(dir(module)) == sorted(names)
    assert len(set(names)) == len(names)
    for member in names:
        assert getattr(module, member) is not None


def test_every_public_module_is_a_namespace() -> None:
    public = {"torchsmooth"}
    for info in pkgutil.walk_packages([str(PACKAGE)], "torchsmooth."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            public.add(info.name)
    assert public == set(NAMESPACES)


DOTTED = re.compile(r"\b(?:torchsmooth|ts)((?:\.[A-Za-z_]\w*)+)")
# Not names of the package: ops, libraries' files, the emphasised form of an attribute of a call.
ELSEWHERE = re.compile(r"torch\.ops\.torchsmooth|torchsmooth/|torchsmooth\.(?:readthedocs|git)")


def dotted_names() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = set()
    for file in [*FILES.values(), *pages]:
        for line in file.read_text().splitlines():
            if not ELSEWHERE.search(line):
                for match in DOTTED.finditer(line):
                    found.add((str(file.relative_to(ROOT)), match[1][1:]))
    return sorted(found)


def test_dotted_names_resolve() -> None:
    """Every name of the package that a docstring, an error or a page mentions exists."""
    names = dotted_names()
    assert len(names) > 100
    missing = []
    for file, name in names:
        value = torchsmooth
        try:
            for part in name.split("."):
                value = getattr(value, part)
        except AttributeError:
            missing.append(f"{file}: {name}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    ("namespace", "name", "ours"),
    [
        ("torchsmooth", "Normal", "torchsmooth.Gaussian"),
        ("torchsmooth", "sobol", "torchsmooth.Sobol"),
        ("torchsmooth", "perturbed", "torchsmooth.smooth"),
        ("torchsmooth", "argsort", "argsort"),
        ("torchsmooth.soft", "eq", "torchsmooth.soft.equal"),
        ("torchsmooth.soft", "max", "torchsmooth.soft.amax"),
        ("torchsmooth.soft", "argmax_quadrature", "torchsmooth.soft.argmax, under any law"),
        ("torchsmooth.soft", "topk_mask_quadrature", "use torchsmooth.soft.topk_mask"),
        ("torchsmooth.nn", "SoftAMinQuadrature", "torchsmooth.nn.SoftAMin, under any law"),
        ("torchsmooth.nn", "NeuralSort", "torchsmooth.nn.SoftArgSort"),
        ("torchsmooth", "SoftSort", "torchsmooth.nn.SoftArgSort for a matrix"),
        ("torchsmooth.functional", "argmin", "torchsmooth.functional.argmax"),
        ("torchsmooth.hard", "round", "torch.round"),
        ("torchsmooth.nn", "ReLU", "torchsmooth.nn.SoftReLU"),
        ("torchsmooth.nn", "argsort", "torchsmooth.nn.ArgSort"),
    ],
)
def test_names_of_others_are_answered_with_ours(namespace: str, name: str, ours: str) -> None:
    module = importlib.import_module(namespace)
    with pytest.raises(AttributeError, match=re.escape(ours)) as raised:
        getattr(module, name)
    assert repr(name) in str(raised.value)


def test_unknown_names_are_plain_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'qqqq'$"):
        _ = torchsmooth.qqqq
    assert not hasattr(torchsmooth, "__wrapped__")
