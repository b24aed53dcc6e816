"""Compiles the CUDA kernels for the CPU, on top of the emulator in `emulator/`.

`build(variant)` returns a shared library that torch.ops.load_library loads; its ops have the names
of the package's, in a namespace of the library's own, and take tensors on the CPU. Variants:

plain  finds wrong results, threads that wait forever, launches that a GPU refuses.
race   finds races and reads of memory that nobody wrote, too.
asan   finds accesses out of bounds and undefined behaviour, too. The process needs a preload:
       run it with `asan_environment()`.

A library is built once for the same sources and compiler: it lies in build/cuda_on_cpu.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch


HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / "build" / "cuda_on_cpu"
RUNTIME = HERE / "emulator"
TORCH = Path(torch.__file__).parent

FLAGS = [
    "-std=c++20",
    "-fPIC",
    "-fvisibility=hidden",
    "-g1",
    "-w",
    "-DUSE_CUDA",
    "-DTORCH_TARGET_VERSION=0x020a000000000000",
    # As nvcc is told: no contraction, but fused multiply-adds where the code asks for them. And as
    # on a GPU memory has no types.
    "-mfma",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fno-math-errno",
    f"-I{RUNTIME}",
    f"-I{TORCH}/include",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize=vptr"]
# Of the kernels, and of the emulator's own files.
VARIANTS = {
    "plain": (["-O2"], ["-O2"]),
    "race": (
        [
            "-O1",
            "-DEMULATOR_RACE",
            "-fsanitize=thread",
            "--param=tsan-instrument-func-entry-exit=0",
        ],
        ["-O2", "-DEMULATOR_RACE"],
    ),
    "asan": (
        ["-O1", *SANITIZE, "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"],
        ["-O1", *SANITIZE],
    ),
}


@dataclass(frozen=True)
class Emulated:
    """A library of emulated kernels. `namespace`: its ops are in torch.ops.<namespace>."""

    path: Path
    namespace: str


def rewritten(text: str) -> str:
    """CUDA that no macro can turn into C++; lines stay where they are."""
    text = re.sub(r"(\w+)<<<(.*?)>>>\(", r"emulator::launch(\1, \2, ", text)
    text = re.sub(
        r"extern __shared__ [^;]*?\bunsigned char (\w+)\[\];",
        r"unsigned char* const \1 = emulator::dynamic_shared();",
        text,
    )
    # Blocks run one after the other: one copy serves them all.
    text = re.sub(
        r"__shared__ ([^;]*?)\b(\w+)((?:\[[^\]]*\])*);",
        r"static \1\2\3; emulator::declare_shared(&\2, sizeof(\2));",
        text,
    )
    # The number of blocks that launch.cuh cuts work into is a setting here.
    text = re.sub(
        r"constexpr int64_t blocks = (\d+);", r"const int64_t blocks = emulator::cut(\1);", text
    )
    return re.sub(r"(LIBRARY_IMPL\(\w+, )CUDA", r"\1CPU", text)


def sources() -> dict[str, str]:
    """The files of csrc/ that the CUDA library is made of, by their paths there."""
    csrc = ROOT / "csrc"
    headers = [p for p in csrc.rglob("*.h") if p.parts[len(csrc.parts)] != "cpu"]
    paths = [csrc / "ops" / "schemas.cpp", *headers, *csrc.glob("cuda/*.cu*")]
    return {str(path.relative_to(csrc)): path.read_text() for path in sorted(paths)}


def fingerprint(variant: str, files: Mapping[str, str]) -> str:
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True)
    own = {path.name: path.read_text() for path in [*RUNTIME.iterdir(), Path(__file__)]}
    parts = (
        variant,
        torch.__version__,
        compiler.stdout,
        sorted(own.items()),
        sorted(files.items()),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def compile_library(variant: str, files: Mapping[str, str], namespace: str, target: Path) -> None:
    work = target.with_suffix("")
    shutil.rmtree(work, ignore_errors=True)
    for name, text in files.items():
        (work / "csrc" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "csrc" / name).write_text(rewritten(text))
    of_kernels, of_runtime = VARIANTS[variant]
    prelude = [f"-Dtorchsmooth={namespace}", "-include", "cuda_runtime.h"]
    translation_units = [
        work / "csrc" / "ops" / "schemas.cpp",
        *sorted(work.glob("csrc/cuda/*.cu")),
    ]
    jobs = [(path, of_runtime) for path in sorted(RUNTIME.glob("*.cpp"))]
    jobs += [(path, [*of_kernels, *prelude]) for path in translation_units]

    def compile_one(job: tuple[Path, list[str]]) -> Path:
        path, flags = job
        output = work / f"{path.name}.o"
        command = ["g++", *FLAGS, *flags, "-x", "c++", "-c", path, "-o", output]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"{path.name} does not compile for the emulator:\n{result.stderr}")
        return output

    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", os.cpu_count() or 1))) as pool:
        objects = list(pool.map(compile_one, jobs))
    link = ["g++", "-shared", *(SANITIZE if variant == "asan" else []), *objects]
    libraries = [f"-L{TORCH}/lib", "-ltorch_cpu", "-ltorch", "-lc10", f"-Wl,-rpath,{TORCH}/lib"]
    partial = target.with_suffix(".partial")
    subprocess.run([*link, "-o", partial, *libraries], check=True)
    partial.replace(target)
    shutil.rmtree(work)


def build(variant: str, files: Mapping[str, str] | None = None) -> Emulated:
    """The library of a variant, of the sources of csrc/ or of `files`, by their paths there."""
    files = sources() if files is None else files
    name = f"torchsmooth_{variant}_{fingerprint(variant, files)}"
    library = Emulated(CACHE / f"{name}.so", name)
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:  # processes that want the same library wait for it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.path.exists():
            compile_library(variant, files, name, library.path)
    return library


def asan_environment() -> dict[str, str]:
    """What a process needs that loads the library of the variant "asan"."""

    def where(name: str) -> str:
        command = ["g++", f"-print-file-name={name}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return {
        "LD_PRELOAD": f"{where('libasan.so')} {where('libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",
    }
