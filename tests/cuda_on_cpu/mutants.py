"""Errors put into the kernels by hand, and what the emulator must say about each.

`TABLE` is what shows that a check can fail. All mutants are compiled into one library: each spoils
a place that only its own case reaches first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from kernel_cases import Case, noise, shortest_path
from kernel_cases.sort import Sorting


@dataclass(frozen=True)
class Mutant:
    """In `file` of csrc/ `old` (a regular expression that matches once) is replaced by `new`; then
    `case` must fail with a message in which `report` is found."""

    file: str
    old: str
    new: str
    case: Case
    report: str


def sorting(outcome: str, n: int, dtype: torch.dtype = torch.float32) -> Case:
    x = torch.linspace(-1, 1, 3 * n, dtype=dtype).reshape(3, n)
    call = Sorting(outcome, x, torch.ones(1, 1, dtype=dtype), 70)
    return Case("mutants", f"{outcome} of {n}", call.compare)


def paths(size: int) -> Case:
    x = shortest_path.grids(3, size, size, torch.float32)
    where = shortest_path.ends(size, size, 8)
    call = partial(shortest_path.paths, "logistic", "mc", False, 9, x, torch.ones(1, 1), where)
    return Case("mutants", f"paths of {size} x {size}", call)


def reducing() -> Case:
    options = ("logistic", "mc", torch.float32, 5, 3, "none", False, 1034, 0, 3 * 1034)
    return Case("mutants", "reduce", partial(noise.reduce, *options))


TABLE = {
    "no barrier before the next tile": Mutant(
        "cuda/reduce.cu",
        r"(total\[k\] \+= sum\[k\];\n) *__syncthreads\(\);",
        r"\1",
        reducing(),
        r"a race.* in .*reduce_kernel.*\n.*reduce\.cu:\d+",
    ),
    "a vote in the place of a barrier of the warp": Mutant(
        "cuda/shortest_path.cu",
        r"\n( *)sync\(\);\n( *if \(falls\) cost)",
        r"\n\1if (threads != kWarp) sync(); else any(falls);\n\2",
        paths(5),
        r"a race.* in .*paths_kernel.*\n.*shortest_path\.cu:\d+",
    ),
    "counts that do not begin at 0": Mutant(
        "cuda/shortest_path.cu",
        r"for \(int j = threadIdx\.x; j < n; j \+= kThreads\) own\[j\] = 0;",
        "",
        paths(40),
        r"a read of what was not written in .*paths_kernel",
    ),
    "no barrier behind what threads load for one another": Mutant(
        "cuda/sort_few.cu",
        r"(shared\.load\(call, upstream\.grad, task\.element\);\n) *__syncthreads\(\);",
        r"\1",
        sorting("argsort", 5),
        r"(a race|a read).* in .*few_weights_kernel.*declared shared memory",
    ),
    "too little shared memory": Mutant(
        "cuda/sort_many.cu",
        r"\+ \(per_sample << shape\.shift\);",
        "+ (per_sample << shape.shift) - 4;",
        sorting("sort", 40),
        r"written behind the dynamic shared memory",
    ),
    "lanes that leave before a shuffle": Mutant(
        "cuda/sort_many.cu",
        r"(\n *)(for \(int distance = lanes / 2;)",
        r"\1if (k >= rows) continue;\1\2",
        sorting("rank", 301),
        r"wait forever|does not take part|meet at different calls",
    ),
    "a wrong result": Mutant(
        "cuda/perturb.cu",
        r"out\[row \* n \+ j\] = word\[c\];",
        "out[row * n + j] = word[c] ^ 1;",
        Case("mutants", "words", partial(noise.words, "mc", False, 9, 3, 0, 27)),
        r"other numbers",
    ),
}


def mutated(files: Mapping[str, str], mutants: Mapping[str, Mutant]) -> dict[str, str]:
    """The sources with the mutants in them; of the .cu files only those that have one, and the file
    of their ops (sort.cu for sort_few.cu)."""
    stems = tuple(Path(mutant.file).stem for mutant in mutants.values())
    result = {
        name: text
        for name, text in files.items()
        if Path(name).suffix != ".cu" or any(stem.startswith(Path(name).stem) for stem in stems)
    }
    for name, mutant in mutants.items():
        text = result.get(mutant.file, files[mutant.file])
        text, count = re.subn(mutant.old, mutant.new, text)
        if count != 1:
            raise RuntimeError(f"the mutant {name!r} no longer fits {mutant.file}")
        result[mutant.file] = text
    return result
