"""How fast is smoothed sorting?

Forward + backward of `functional.argsort` and `functional.rank` (logistic noise, leave-one-out)
against the time that torch.randn takes to draw as much noise once, against eager PyTorch, and
against the relaxations of examples/rivals. See memory.py for the memory.

    python sort.py               # writes results/sort.json and .md
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from eager import EagerArgSort, EagerSmoothing, permutation_matrices, ranks
from timing import interleaved, table, write
from torch import Tensor

import torchsmooth as ts


sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from common.errors import UserError  # noqa: E402
from rivals import RIVALS, AbstractRelaxation, SoftRank  # noqa: E402


SCALE = 1.0
SIZES = (3, 5, 10, 32, 100, 1000)
SAMPLES = (256, 1024, 32768)
GOAL = (5, (1024, 32768))  # n and s of the goals, with b = 100
BATCHES = (100, 50, 20, 10, 5, 2, 1)
EAGER_BYTES = 3e9  # no more for eager PyTorch
RIVAL_SAMPLES = (256, 1024)
RIVAL_BATCHES = {3: 100, 5: 100, 10: 100, 32: 100, 100: 10, 1000: 1}
SLOW = {"diffsort": 100, "perturbed": 100}  # n beyond which a rival is left out

# What was tried for small calls (n = 5, b = 100): what was expected of it, what came.
STEPS = [
    "steps of tuning for small calls, argsort at n = 5 and b = 100, each measured before and after "
    "on the same machine while it was also used otherwise, on one core.",
    "Jacobian: a sample adds one row to the sums of its permutation, of which there are 120, and "
    "not one to each of its 5 cells; the permutation's number takes the same comparisons as its "
    "ranks, and no cell numbers. Expected 12.5 instead of 16.5 ns per sample: 12.2, or 12.5 at s = "
    "1024 with the sums over permutations; at n = 3 from 10.5 to 7.6.",
    "the sums over permutations took 20 ns each where they were added as doubles; as vectors of "
    "floats, 8. With quotients taken once per element, the op takes 1364 instead of 1817 us at s = "
    "1024.",
    "Python: in plain eager mode the autograd function has no setup_context, whose arguments are "
    "bound (22 us), and no Jacobians among its outputs (12 us); nothing that does not move is "
    "reshaped or moved (28 us, and two nodes of the graph). Expected 60 us for a forward pass: "
    "without gradient from 210 to 150, both passes at s = 1024 from 2406 to 1882 on one core.",
]

Function = Callable[[Tensor], Tensor]


def eager_bytes(n: int, b: int, s: int) -> float:
    """Of eager argsort: the matrices twice, noise and order a few times."""
    return b * s * (8.0 * n * n + 32.0 * n)


def batch(n: int, s: int) -> tuple[int, bool]:
    """The largest b that eager argsort can take, and whether there is one."""
    fitting = [b for b in BATCHES if eager_bytes(n, b, s) <= EAGER_BYTES]
    return (fitting[0], True) if fitting else (1, False)


def both_passes(operation: str, function: Function, x: Tensor) -> Callable[[], object]:
    """Forward + backward, for an upstream gradient that is drawn once."""
    b, n = x.shape
    upstream = torch.randn(b, n, n) if operation == "argsort" else torch.randn(b, n)
    return lambda: torch.autograd.grad(function(x), x, upstream)


def fused(operation: str, s: int, sampler: str) -> Function:
    smoothed = getattr(ts.functional, operation)
    noise = ts.Logistic(SCALE)
    return lambda x: smoothed(x, noise, num_samples=s, sampler=sampler, seed=0)


def eager(operation: str, s: int) -> Function:
    f = {"argsort": permutation_matrices, "rank": ranks}[operation]
    return lambda x: EagerSmoothing.apply(x, f, SCALE, s)


def measure(operation: str, n: int, s: int, seconds: float) -> dict:
    b, fits = batch(n, s)
    torch.manual_seed(0)
    x = torch.randn(b, n, requires_grad=True)
    functions = {
        "fused": fused(operation, s, "mc"),
        "fused, sobol": fused(operation, s, "sobol"),
    }
    if fits or operation == "rank":
        functions["eager"] = eager(operation, s)
    if operation == "argsort":
        functions["eager, indices"] = lambda x: EagerArgSort.apply(x, SCALE, s)
    is_goal = operation == "argsort" and n == GOAL[0] and s in GOAL[1]
    if is_goal:
        functions["eager, compiled"] = torch.compile(eager(operation, s), dynamic=False)
    calls: dict[str, Callable[[], object]] = {"randn": lambda: torch.randn(s, b, n)}
    calls |= {name: both_passes(operation, f, x) for name, f in functions.items()}
    best = interleaved(calls, seconds=8 * seconds if is_goal else seconds, least=2)
    ours = best["fused"]
    row: dict = {"n": n, "b": b, "s": s}
    row |= {f"{name} [ms]": value * 1e3 for name, value in best.items()}
    row["fused / randn"] = ours / best["randn"]
    for name in ("eager", "eager, indices", "eager, compiled"):
        if name in best:
            row[f"{name} / fused"] = best[name] / ours
    row["million sorts / s"] = b * s / ours / 1e6
    return row


def relaxation(name: str) -> tuple[str, Function]:
    """What it is compared with, and the function."""
    rival = RIVALS[name]()
    if isinstance(rival, AbstractRelaxation):
        return "argsort", rival
    assert isinstance(rival, SoftRank)
    return "rank", rival.ranks


def measure_rivals(n: int, seconds: float) -> list[dict]:
    b = RIVAL_BATCHES[n]
    torch.manual_seed(0)
    x = torch.randn(b, n, requires_grad=True)
    calls = {
        f"{operation}, s = {s}": both_passes(operation, fused(operation, s, "sobol"), x)
        for operation in ("argsort", "rank")
        for s in RIVAL_SAMPLES
    }
    gives = {name: name.split(",")[0] for name in calls}
    missing = []
    for name in RIVALS:
        if n > SLOW.get(name.split("-")[0], n):
            continue
        gives[name], function = relaxation(name)
        call = both_passes(gives[name], function, x)
        try:
            call()
        except UserError as error:  # its package is absent
            missing.append({"n": n, "b": b, "method": name, "gives": f"nothing: {error}"})
        else:
            calls[name] = call
    best = interleaved(calls, seconds=seconds, least=2)
    return [
        {"n": n, "b": b, "method": name, "gives": gives[name], "[ms]": best[name] * 1e3}
        for name in calls
    ] + missing


def pivoted(rows: list[dict]) -> list[dict]:
    """A row per method, a column per n."""
    found: dict = {(row["method"], row["gives"]): {} for row in rows}
    for row in rows:
        column = f"n = {row['n']}, b = {row['b']} [ms]"
        found[row["method"], row["gives"]][column] = row.get("[ms]")
    columns = list(dict.fromkeys(column for times in found.values() for column in times))
    return [
        {"method": method, "gives": gives, **{column: times.get(column) for column in columns}}
        for (method, gives), times in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few small sizes; keep nothing")
    quick = parser.parse_args().quick
    sizes, samples = ((5, 100), (256, 1024)) if quick else (SIZES, SAMPLES)
    seconds = 0.02 if quick else 0.4
    sections, rows = [], []
    for operation in ("argsort", "rank"):
        measured = [measure(operation, n, s, seconds) for n in sizes for s in samples]
        sections += [f"## {operation}", table(measured)]
        rows += [{"operation": operation, **row} for row in measured]
    compared = [row for n in sizes for row in measure_rivals(n, seconds)]
    sections += ["## Relaxations without sampling", table(pivoted(compared))]
    rows += compared
    write(
        "sort",
        rows,
        [
            "All but randn: forward + backward. randn: drawing b x s x n normals once.",
            "fused: functional.argsort or functional.rank, mc; fused, sobol: the same, sobol. "
            "eager: plain PyTorch for any f, here with its permutation matrices or ranks; eager, "
            "indices: plain PyTorch written for argsort alone, without the matrices; eager, "
            "compiled: torch.compile of eager. See eager.py.",
            f"b is the largest of {', '.join(map(str, BATCHES))} with which eager argsort stays "
            f"below {EAGER_BYTES / 1e9:.0f} GB; where even b = 1 does not, it is left out.",
            "goals for argsort at n = 5, b = 100: fused / randn <= 0.6 and 100 million sorts / s; "
            "eager / fused >= 8 (s = 1024) and >= 20 (s = 32768).",
            "Relaxations: forward + backward of examples/rivals at their own temperatures, beside "
            "functional.argsort and functional.rank with sobol; perturbed draws 1024 samples. They "
            "compute different things: the times say nothing about what they are good for. Left "
            "out beyond n = 100: diffsort, whose networks have n layers, and perturbed, which "
            "keeps its matrices.",
            *STEPS,
        ],
        "\n\n".join(sections),
        keep=not quick,
    )


if __name__ == "__main__":
    main()
