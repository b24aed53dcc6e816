#!/usr/bin/env python3
"""What nvcc makes of the CUDA kernels: registers, spills, shared memory, occupancy. Needs no GPU.

    python tools/cuda_static.py                      # writes benchmarks/results/cuda_static.md
    python tools/cuda_static.py --check              # fails if a hot kernel spills more than before
    python tools/cuda_static.py --archs 8.6 --output /tmp/static.md

Needs nvcc, cuobjdump (from the toolkit, or pip install nvidia-cuda-cuobjdump) and torch,
of which a CPU build will do. Dynamic shared memory comes from the emulator in tests/cuda_on_cpu,
which runs the kernels at the sizes of the benchmarks.
"""

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch


ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "cuda_on_cpu")]


@dataclass(frozen=True)
class Architecture:
    """What a multiprocessor of a compute capability has (CUDA C++ Programming Guide, "Compute
    Capabilities")."""

    warps: int
    blocks: int
    shared: int  # bytes
    registers: int = 65536

    def resident_blocks(self, kernel: "Compiled", dynamic: int) -> int:
        warps = -(-kernel.threads // 32)
        # Registers are given to warps in units of 256, shared memory to blocks with 1 KiB besides.
        of_warp = -(-max(kernel.registers, 1) * 32 // 256) * 256
        shared = kernel.declared + dynamic + 1024
        return min(
            self.blocks,
            self.warps // warps,
            self.registers // of_warp // warps,
            self.shared // (-(-shared // 128) * 128),
        )


ARCHITECTURES = {
    "7.5": Architecture(32, 16, 64 * 1024),
    "8.0": Architecture(64, 32, 164 * 1024),
    "8.6": Architecture(48, 16, 100 * 1024),
    "9.0": Architecture(64, 32, 228 * 1024),
    "10.0": Architecture(64, 32, 228 * 1024),
    "12.0": Architecture(48, 24, 100 * 1024),
}
DEFAULT = ["8.0", "8.6", "9.0", "12.0"]

# Kinds of instructions, by how their names begin: the first that fits.
KINDS = {
    "shared memory": r"LDS|STS|ATOMS",
    "spill memory": r"LDL|STL",
    "global memory": r"LDG|STG|LDC|ULDC|LD\b|ST\b|ATOM|RED\b",
    "warp": r"SHFL|VOTE|REDUX|MATCH|WARPSYNC",
    "control": r"B(RA|RX|SSY|SYNC|REAK|AR|MOV)|JMP|CALL|RET|EXIT|NOP|DEPBAR|MEMBAR|YIELD",
    "special": r"MUFU",
    "float64": r"D(ADD|FMA|MUL|SETP|MNMX)",
    "float32": r"F(?!LO)|I2F",
    "integer, moves": r"",
}


@dataclass
class Compiled:
    """A kernel, or a function that is called and not inlined (threads and registers 0)."""

    name: str
    registers: int = 0
    declared: int = 0
    spill_bytes: int = 0  # stored and loaded
    stack: int = 0
    threads: int = 0
    instructions: dict[str, int] = field(default_factory=dict)  # by kind


# Compiling


def nvcc_flags() -> list[str]:
    """What setup.py tells nvcc, but for what depends on the machine."""
    values = {}
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            values[statement.targets[0].id] = statement.value
    assert isinstance(values["NVCC"], ast.List)
    flags = []
    for item in values["NVCC"].elts:
        item = values[item.id] if isinstance(item, ast.Name) else item
        if isinstance(item, ast.Constant):
            flags.append(str(item.value))
    return [flag for flag in flags if not flag.startswith("--threads")]


def nvcc_version() -> str:
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"release [\d.]+, V([\d.]+)", said)
    return match[1] if match else "of an unknown version"


def tool(name: str) -> str | None:
    if found := shutil.which(name):
        return found
    candidates = sorted(Path(sys.prefix).glob(f"lib/python*/site-packages/nvidia/*/bin/{name}"))
    return str(candidates[0]) if candidates else None


def demangled(names: list[str]) -> list[str]:
    """Short names: no namespaces, no parameters."""
    text = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True
    ).stdout
    text = re.sub(r"torchsmooth::|_GLOBAL__N__\w+::|\(anonymous namespace\)::", "", text)
    return re.sub(r"^void |\(.*$", "", text, flags=re.M).splitlines()


def stored(source: Path, arch: str, folder: Path) -> dict[str, Compiled]:
    """`compiled`, or what it found earlier for the same sources."""
    texts = [source, *sorted((ROOT / "csrc").rglob("*.h")), *sorted((ROOT / "csrc").rglob("*.cuh"))]
    parts = [path.read_text() for path in texts] + [arch, nvcc_version(), *nvcc_flags()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    path = ROOT / "build" / "cuda_static" / f"{source.stem}-{arch}-{key}.json"
    if not path.exists():
        functions = compiled(source, arch, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({name: asdict(one) for name, one in functions.items()}))
    rows = json.loads(path.read_text())
    return {name: Compiled(**row) for name, row in rows.items()}


def compiled(source: Path, arch: str, folder: Path) -> dict[str, Compiled]:
    """The functions of a file by their mangled names."""
    cubin = folder / f"{source.stem}.{arch}.cubin"
    command = ["nvcc", *nvcc_flags(), f"-I{Path(torch.__file__).parent}/include", "-cubin"]
    command += [f"-arch=sm_{arch.replace('.', '')}", "-Xptxas", "-v", str(source), "-o", str(cubin)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"nvcc failed for {source.name}, {arch}:\n{result.stderr[-4000:]}")
    functions: dict[str, Compiled] = {}
    now = ""
    for line in result.stderr.splitlines():
        if match := re.search(r"Function properties for (\w+)", line):
            now = match[1]
            functions[now] = Compiled("")
        elif match := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line
        ):
            functions[now].stack = int(match[1])
            functions[now].spill_bytes = int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            functions[now].registers = int(match[1])
            shared = re.search(r"(\d+) bytes smem", line)
            functions[now].declared = int(shared[1]) if shared else 0
    for mangled, name in zip(functions, demangled(list(functions)), strict=True):
        functions[mangled].name = name
    add_code(cubin, functions)
    return functions


def add_code(cubin: Path, functions: dict[str, Compiled]) -> None:
    """The threads of a block, and the instructions by kind."""
    cuobjdump = tool("cuobjdump")
    if cuobjdump is None:
        raise SystemExit("cuobjdump was not found: pip install nvidia-cuda-cuobjdump")

    def dump(option: str) -> Iterator[str]:
        result = subprocess.run([cuobjdump, option, str(cubin)], capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"{cuobjdump} {option} failed: {result.stderr}")
        return iter(result.stdout.splitlines())

    lines, now = dump("-elf"), ""
    for line in lines:
        if match := re.match(r"\.nv\.info\.(\w+)", line):
            now = match[1]
        elif "EIATTR_MAX_THREADS" in line and now in functions:
            next(lines)
            functions[now].threads = int(next(lines).split()[1], 16)
    now = ""
    for line in dump("-sass"):
        if match := re.search(r"Function : (\w+)", line):
            now = match[1]
        elif (
            match := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][\w.]*)", line)
        ) and (now in functions):
            counts = functions[now].instructions
            kind = kind_of(match[1])
            counts[kind] = counts.get(kind, 0) + 1


def kind_of(instruction: str) -> str:
    return next(kind for kind, pattern in KINDS.items() if re.match(pattern, instruction))


def compile_all(archs: list[str]) -> dict[str, dict[str, Compiled]]:
    """By architecture and name."""
    sources = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            (arch, source): pool.submit(stored, source, arch, Path(folder))
            for arch in archs
            for source in sources
        }
        result: dict[str, dict[str, Compiled]] = {arch: {} for arch in archs}
        for (arch, source), job in jobs.items():
            for function in job.result().values():
                # The finishing kernels are in several files.
                shared = function.name.startswith(("mean_kernel", "gradient_kernel"))
                name = f"{function.name}, {source.stem}" if shared else function.name
                result[arch][name] = function
    return result


# Dynamic shared memory


def dynamic_bytes() -> dict[str, int]:
    """Of every kernel in the calls of `hot_calls`, as the emulator sees them."""
    from emulated import load, settings, statistics
    from emulator_build import build

    library = build("plain")
    kernels = load(library)
    with settings(cut="1", max_blocks="1"):
        for call in hot_calls():
            call.compare(kernels)
    return {name: row.dynamic for name, row in statistics(library).items() if row.launches > 0}


def hot_calls() -> list:
    """Sorts of the sizes that the benchmarks time; how many samples there are does not matter."""
    from kernel_cases.sort import Sorting

    sizes = [(5, "argsort"), (5, "sort"), (8, "argsort"), (100, "argsort"), (100, "sort")]
    return [
        Sorting(outcome, torch.linspace(0, 1, n)[None].contiguous(), torch.ones(1, 1), 128)
        for n, outcome in sizes
    ]


# What must not spill: the kernels that do the work, in float32. float64 is there to compare with.
HOT = re.compile(
    r"(few_outcomes|few_weights|many_outcomes|many_weights|reduce|perturb|perturb_matrix|paths|"
    r"hard_paths|path_weights|render|hard_render|render_weights)_kernel<float"
)


def hot_spills(results: dict[str, dict[str, Compiled]]) -> dict[str, dict[str, int]]:
    """Bytes of the hot kernels that spill, by architecture and name."""
    return {
        arch: {n: f.spill_bytes for n, f in sorted(functions.items()) if HOT.match(n)}
        for arch, functions in results.items()
    }


def regressions(now: dict[str, dict[str, int]], before: dict[str, dict[str, int]]) -> list[str]:
    """What spills more than it did; a kernel that is new must not spill."""
    return [
        f"{name} spills {spilled} bytes for {arch}, before {before.get(arch, {}).get(name, 0)}"
        for arch, kernels in now.items()
        for name, spilled in kernels.items()
        if spilled > before.get(arch, {}).get(name, 0)
    ]


# The page


def table(header: list[str], rows: list[list[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def page(results: dict[str, dict[str, Compiled]], dynamic: dict[str, int]) -> str:
    names = sorted({name for functions in results.values() for name in functions})
    kernels = [n for n in names if any(f.get(n, Compiled("")).threads for f in results.values())]
    called = [n for n in names if n not in kernels]
    rows: list[list[object]] = []
    for name in kernels:
        cells: list[object] = [f"`{name}`"]
        for arch, functions in results.items():
            kernel = functions.get(name)
            if kernel is None:
                cells.append("")
                continue
            blocks = ARCHITECTURES[arch].resident_blocks(kernel, dynamic.get(name, 0))
            warps = blocks * -(-kernel.threads // 32)
            spills = f", **{kernel.spill_bytes} spilled**" if kernel.spill_bytes else ""
            share = round(100 * warps / ARCHITECTURES[arch].warps)
            cells.append(f"{kernel.registers}, {share} %{spills}")
        one = next(f[name] for f in results.values() if name in f)
        rows.append([*cells[:1], one.threads, one.declared, dynamic.get(name, ""), *cells[1:]])
    text = f"""# What nvcc makes of the CUDA kernels

Nothing was measured on a GPU. Written by `tools/cuda_static.py`, from `ptxas -v` and cuobjdump
of nvcc {nvcc_version()}.

## Registers, occupancy, spills

For each compute capability: registers of a thread; occupancy, the share of a multiprocessor's warps
that are resident at once, by registers and shared memory; bytes of spills, stored and loaded,
where there are any. `declared` and `dynamic` are bytes of shared memory of a block; dynamic ones
are those of sorting 5, 8 and 100 elements (the most of them), and empty for other kernels.

"""
    text += table(["kernel", "threads", "declared", "dynamic", *results], rows)
    text += "\n## Hot kernels that spill\n\nBytes, stored and loaded.\n\n"
    spills = hot_spills(results)
    text += table(
        ["kernel", *results],
        [
            [f"`{name}`", *(spills[arch].get(name, "") for arch in results)]
            for name in kernels
            if any(spills[arch].get(name, 0) for arch in results)
        ],
    )
    if any(
        functions[n].spill_bytes for functions in results.values() for n in called if n in functions
    ):
        text += "\n## Functions that are called, not inlined, and spill\n\n"
        text += table(
            ["function", *results],
            [
                [f"`{name}`", *(f[name].spill_bytes if name in f else "" for f in results.values())]
                for name in called
                if any(f[name].spill_bytes for f in results.values() if name in f)
            ],
        )
    arch = next(iter(a for a in ("9.0", *results) if a in results))
    text += f"""
## Instructions by kind, {arch}

Of the whole kernel, as it stands in memory: the branches of all laws and sizes, of which a sample
takes one. Functions that are called are not in it.

"""
    text += table(
        ["kernel", "all", *KINDS],
        [
            [f"`{n}`", sum(f.instructions.values()), *(f.instructions.get(k, 0) for k in KINDS)]
            for n in kernels
            if HOT.match(n) and (f := results[arch].get(n))
        ],
    )
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", default=",".join(DEFAULT), help="compute capabilities")
    parser.add_argument("--check", action="store_true", help="exit with 1 if one spills more")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "cuda_static.md"
    )
    options = parser.parse_args()
    archs = options.archs.split(",")
    if unknown := [arch for arch in archs if arch not in ARCHITECTURES]:
        parser.error(f"no such architecture: {', '.join(unknown)}; there are {[*ARCHITECTURES]}")
    if not shutil.which("nvcc"):
        parser.error("nvcc was not found")
    results = compile_all(archs)
    spills, record = hot_spills(results), options.output.with_suffix(".json")
    if options.check:
        worse = regressions(spills, json.loads(record.read_text()))
        print("\n".join(worse) or "no hot kernel spills more than before")
        return 1 if worse else 0
    options.output.write_text(page(results, dynamic_bytes()))
    record.write_text(json.dumps(spills, indent=1) + "\n")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
