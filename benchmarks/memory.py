"""Does the memory of smoothed sorting grow with the number of samples?

What forward + backward of `functional.argsort` (n = 5, b = 100, logistic, leave-one-out), and the
same in eager PyTorch, add to the peak of a process. Every measurement has a process of its own.

    python memory.py             # writes results/memory.json and .md
"""

import argparse
from collections.abc import Callable

import torch
from eager import EagerArgSort, EagerSmoothing, permutation_matrices
from timing import in_fresh_process, peak_mebibytes, write

import torchsmooth as ts


N, BATCH = 5, 100
SIZES = [2**m for m in range(8, 23, 2)] + [2**15]
LIMIT = 2**15  # eager PyTorch beyond it would need several GiB


def fused(x: torch.Tensor, s: int, sampler: str) -> torch.Tensor:
    return ts.functional.argsort(x, ts.Logistic(), num_samples=s, sampler=sampler, seed=0)


ROADS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "fused, mc": lambda x, s: fused(x, s, "mc"),
    "fused, sobol": lambda x, s: fused(x, s, "sobol"),
    "eager": lambda x, s: EagerSmoothing.apply(x, permutation_matrices, 1.0, s),
    "eager, indices": lambda x, s: EagerArgSort.apply(x, 1.0, s),
}


def peak_of(road: str, s: int) -> float:
    """MiB above the peak before the first call, in this process."""
    torch.manual_seed(0)
    x, upstream = torch.randn(BATCH, N, requires_grad=True), torch.randn(BATCH, N, N)
    before = peak_mebibytes()
    torch.autograd.grad(ROADS[road](x, s), x, upstream)
    return peak_mebibytes() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes; keep nothing")
    parser.add_argument("--one", nargs=2, metavar=("ROAD", "S"), help="print one peak in MiB")
    arguments = parser.parse_args()
    if arguments.one:
        road, s = arguments.one
        print(peak_of(road, int(s)))
        return
    rows = []
    for s in SIZES[:2] if arguments.quick else sorted(SIZES):
        row: dict = {"s": s}
        for road in ROADS:
            if s <= LIMIT or road.startswith("fused"):
                row[f"{road} [MiB]"] = in_fresh_process(__file__, "--one", road, str(s))
        rows.append(row)
    write(
        "memory",
        rows,
        [
            f"n = {N}, b = {BATCH}: forward + backward, the peak of a fresh process above its peak "
            "before the first call.",
            "eager: any f, here with its permutation matrices; eager, indices: written for sorting "
            "alone, without the matrices. Both grow in proportion to s; beyond "
            f"s = {LIMIT} they were not run.",
            "goal: independent of s.",
        ],
        keep=not arguments.quick,
    )


if __name__ == "__main__":
    main()
