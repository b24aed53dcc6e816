"""What does the generic road cost where f is cheap and vectorised?

Forward + backward of `smooth(f)` (logistic, mc, leave-one-out) against the same in straightforward
eager PyTorch: time, and peak memory in a fresh process.

    python generic_road.py       # writes results/generic_road.json and .md
"""

import sys

import torch
from eager import EagerSmoothing
from timing import in_fresh_process, interleaved, peak_mebibytes, write

import torchsmooth as ts


SCALE = 0.5


def step(y: torch.Tensor) -> torch.Tensor:
    """One number per point, from one comparison per coordinate."""
    return (y > 0).float().mean(-1, keepdim=True)


def steps(y: torch.Tensor) -> torch.Tensor:
    """As many outputs as inputs."""
    return (y > 0).float()


FUNCTIONS = {"step": step, "steps": steps}


def problem(name: str, n: int, b: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(b, n, requires_grad=True), torch.randn(b, 1 if name == "step" else n)


def smoothed(name: str, x: torch.Tensor, upstream: torch.Tensor, s: int) -> None:
    g = ts.smooth(FUNCTIONS[name], ts.Logistic(SCALE), num_samples=s, sampler="mc", seed=0)
    torch.autograd.grad(g(x), x, upstream)


def eager(name: str, x: torch.Tensor, upstream: torch.Tensor, s: int) -> None:
    torch.autograd.grad(EagerSmoothing.apply(x, FUNCTIONS[name], SCALE, s), x, upstream)


def memory(road: str, name: str, n: int, b: int, s: int) -> float:
    return in_fresh_process(__file__, "--memory", road, name, str(n), str(b), str(s))


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        road, name, n, b, s = sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7])
        x, upstream = problem(name, n, b)
        before = peak_mebibytes()
        {"smooth": smoothed, "eager": eager}[road](name, x, upstream, s)
        print(peak_mebibytes() - before)
        return
    rows = []
    for name, n, b, s in [
        ("step", 16, 64, 1024),
        ("step", 16, 64, 16384),
        ("step", 4, 256, 4096),
        ("step", 100, 32, 4096),
        ("steps", 4, 256, 4096),
        ("steps", 16, 64, 4096),
    ]:
        x, upstream = problem(name, n, b)
        best = interleaved(
            {
                "smooth": lambda: smoothed(name, x, upstream, s),
                "eager": lambda: eager(name, x, upstream, s),
            }
        )
        ours, theirs = memory("smooth", name, n, b, s), memory("eager", name, n, b, s)
        rows.append(
            {
                "f": name,
                "n": n,
                "b": b,
                "s": s,
                "smooth [ms]": best["smooth"] * 1e3,
                "eager [ms]": best["eager"] * 1e3,
                "time, smooth / eager": best["smooth"] / best["eager"],
                "smooth memory [MiB]": ours,
                "eager memory [MiB]": theirs,
                "memory, smooth / eager": ours / theirs,
            }
        )
    write(
        "generic_road",
        rows,
        [
            "forward + backward; memory: the peak of a fresh process above its start.",
            "goal: at most 0.5 of the time and of the memory of eager PyTorch.",
        ],
    )


if __name__ == "__main__":
    main()
