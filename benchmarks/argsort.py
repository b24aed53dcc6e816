"""How fast is smoothed sorting, and how much memory does it need?

Forward + backward of `functional.argsort` (logistic, mc, leave-one-out) against the time that
torch.randn takes to draw the same amount of noise once, and against eager PyTorch.

    python argsort.py            # writes results/argsort.json and .md
"""

import sys

import torch
from eager import EagerSmoothing, permutation_matrices
from timing import in_fresh_process, interleaved, peak_mebibytes, write

import torchsmooth as ts


SCALE = 1.0


def problem(n: int, b: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(b, n, requires_grad=True), torch.randn(b, n, n)


def fused(x: torch.Tensor, upstream: torch.Tensor, s: int, **options: object) -> None:
    noise = ts.Logistic(SCALE)
    matrix = ts.functional.argsort(x, noise, num_samples=s, seed=0, **{"sampler": "mc", **options})
    torch.autograd.grad(matrix, x, upstream)


def eager(x: torch.Tensor, upstream: torch.Tensor, s: int) -> None:
    torch.autograd.grad(EagerSmoothing.apply(x, permutation_matrices, SCALE, s), x, upstream)


def memory(road: str, n: int, b: int, s: int) -> float:
    return in_fresh_process(__file__, "--memory", road, str(n), str(b), str(s))


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        road, n, b, s = sys.argv[2], *map(int, sys.argv[3:6])
        x, upstream = problem(n, b)
        before = peak_mebibytes()
        {"fused": fused, "eager": eager}[road](x, upstream, s)
        print(peak_mebibytes() - before)
        return
    rows = []
    for n, b, s in [
        (5, 100, 256),
        (5, 100, 1024),
        (5, 100, 32768),
        (3, 100, 1024),
        (10, 100, 1024),
        (32, 100, 1024),
        (100, 10, 1024),
        (1000, 1, 256),
    ]:
        x, upstream = problem(n, b)
        best = interleaved(
            {
                "randn": lambda: torch.randn(s, b, n),
                "fused": lambda: fused(x, upstream, s),
                "fused sobol": lambda: fused(x, upstream, s, sampler="sobol"),
                "eager": lambda: eager(x, upstream, s),
            }
        )
        rows.append(
            {
                "n": n,
                "b": b,
                "s": s,
                **{f"{name} [ms]": seconds * 1e3 for name, seconds in best.items()},
                "fused / randn": best["fused"] / best["randn"],
                "eager / fused": best["eager"] / best["fused"],
                "million sorts / s": b * s / best["fused"] / 1e6,
                "fused memory [MiB]": memory("fused", n, b, s),
                "eager memory [MiB]": memory("eager", n, b, s),
            }
        )
    large = 2**22
    rows.append(
        {"n": 5, "b": 100, "s": large, "fused memory [MiB]": memory("fused", 5, 100, large)}
    )
    write(
        "argsort",
        rows,
        [
            "fused, fused sobol, eager: forward + backward; randn: drawing b x s x n normals once.",
            "memory: the peak of a fresh process above its start, before the first call.",
            "goals at n = 5, b = 100: fused / randn <= 0.6; eager / fused >= 8 (s = 1024) and "
            ">= 20 (s = 32768); 100 million sorts / s; memory independent of s.",
        ],
    )


if __name__ == "__main__":
    main()
