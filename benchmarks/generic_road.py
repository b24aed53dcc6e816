"""What does the generic road cost where f is cheap and vectorised?

Forward + backward of `smooth(f)` (logistic, mc, leave-one-out) against the same in straightforward
eager PyTorch: time, and peak memory in a fresh process.

    python generic_road.py       # writes results/generic_road.json and .md
"""

import argparse

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


def peak_of(road: str, name: str, n: int, b: int, s: int) -> float:
    """MiB above the peak before the first call, in this process."""
    x, upstream = problem(name, n, b)
    before = peak_mebibytes()
    {"smooth": smoothed, "eager": eager}[road](name, x, upstream, s)
    return peak_mebibytes() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one size; keep nothing")
    parser.add_argument("--memory", nargs=5, metavar=("ROAD", "F", "N", "B", "S"))
    arguments = parser.parse_args()
    if arguments.memory:
        road, name, n, b, s = arguments.memory
        print(peak_of(road, name, int(n), int(b), int(s)))
        return
    problems = [
        ("step", 16, 64, 1024),
        ("step", 16, 64, 16384),
        ("step", 4, 256, 4096),
        ("step", 100, 32, 4096),
        ("steps", 4, 256, 4096),
        ("steps", 16, 64, 4096),
    ]
    rows = []
    for name, n, b, s in problems[: 1 if arguments.quick else None]:
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
        keep=not arguments.quick,
    )


if __name__ == "__main__":
    main()
