"""What is shipped: an sdist holds what a checkout does, and a wheel of it works anywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools.command.egg_info import FileList

from torchsmooth._kernels import library


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files of the repository."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in output.split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def checkout(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy without what was built: setuptools remembers the files of earlier sdists."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, "TORCHSMOOTH_CUDA": "0", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_manifest_names_every_file(
    tracked: list[str], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setuptools adds by itself what pyproject.toml names: the package, and what builds it."""
    monkeypatch.chdir(checkout)
    files = FileList()
    for line in (checkout / "MANIFEST.in").read_text().splitlines():
        if line and not line.startswith("#"):
            files.process_template_line(line)
    found = set(files.files)
    by_itself = {"MANIFEST.in", "pyproject.toml", "setup.py"}
    assert {
        name
        for name in tracked
        if name not in found and name not in by_itself and not name.startswith("torchsmooth/")
    } == set()
    assert {name for name in found if name not in tracked} == set()


def test_no_file_is_large(tracked: list[str]) -> None:
    """Results and pictures are kept small: everyone who clones has them for ever."""
    assert [name for name in tracked if (ROOT / name).stat().st_size > 300_000] == []


@pytest.mark.slow
@pytest.mark.processes
def test_a_wheel_of_the_sdist_works_anywhere(
    tracked: list[str], checkout: Path, tmp_path: Path
) -> None:
    """Made without nvcc: the extension modules do not name the CUDA sources."""
    run("setup.py", "--quiet", "sdist", "--dist-dir", tmp_path, cwd=checkout)
    (sdist,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert [name for name in tracked if not (unpacked / name).is_file()] == []

    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    options = ("--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path)
    run(*pip, "wheel", *options, sdist, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    run(*pip, "install", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    elsewhere.mkdir()

    program = (
        "import torch, torchsmooth as ts\n"
        "P = ts.functional.argsort(torch.tensor([[3.0, 1.0, 2.0]]), ts.Logistic(1e-3), seed=0)\n"
        "print(ts.__file__, P.argmax(-1).tolist())\n"
    )
    path, order = run("-c", program, cwd=elsewhere, PYTHONPATH=str(site)).split(maxsplit=1)
    assert Path(path) == site / "torchsmooth" / "__init__.py"
    assert order.strip() == "[[1, 2, 0]]"

    headers = sorted((checkout / "csrc" / "core").rglob("*.h"))
    includes = [f"#include <torchsmooth/{h.relative_to(checkout / 'csrc')}>\n" for h in headers]
    source = elsewhere / "headers.cpp"
    source.write_text("".join(includes))
    compiler = os.environ.get("CXX", "g++")
    include = site / "torchsmooth" / "include"
    command = [compiler, "-std=c++20", "-fsyntax-only", f"-I{include}", str(source)]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr


def test_the_source_folder_without_a_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Python that starts in a checkout finds the sources before the installed package."""
    module = tmp_path / "torchsmooth" / Path(library.__file__).relative_to(ROOT / "torchsmooth")
    monkeypatch.setattr(library, "LIBRARY", module.parents[1] / "_C.so")
    (tmp_path / "setup.py").touch()
    with pytest.raises(ImportError) as caught:
        library._load()
    for part in (
        f"from its source folder {tmp_path}",
        "start Python in another folder",
        "python setup.py build_ext --inplace",
    ):
        assert part in str(caught.value)


def test_an_installed_package_without_a_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "torchsmooth" / Path(library.__file__).relative_to(ROOT / "torchsmooth")
    monkeypatch.setattr(library, "LIBRARY", module.parents[1] / "_C.so")
    with pytest.raises(ImportError) as caught:
        library._load()
    for part in ("not installed completely", str(tmp_path / "torchsmooth" / "_C.so"), "--force-re"):
        assert part in str(caught.value)
