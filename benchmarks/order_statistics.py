"""What does the exact sort family cost beside samples and relaxations?

`torchsmooth.soft.argsort` (no samples, errors of 1e-6) against `torchsmooth.functional.argsort`
with 1024 samples, SoftSort and NeuralSort in eager PyTorch, and the exact rank and argmax: forward
and backward in x, logistic noise of scale 0.3 on standard normal x, float32, in one run,
interleaved.

    python order_statistics.py               # writes results/order_statistics.json and .md
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import interleaved, write
from torch import Tensor

import torchsmooth as ts


SCALE = 0.3
SAMPLES = 1024
PROBLEMS = [(5, 100), (10, 100), (32, 100), (100, 10), (128, 10)]
LONG = 1000


def softsort(x: Tensor) -> Tensor:
    """Prillo and Eisenschlos, "SoftSort", ICML 2020."""
    ordered = x.sort(dim=-1).values
    return torch.softmax(-(ordered.unsqueeze(-1) - x.unsqueeze(-2)).abs() / SCALE, -1)


def neuralsort(x: Tensor) -> Tensor:
    """Grover, Wang, Zweig and Ermon, "Stochastic optimization of sorting networks via continuous
    relaxations", 2019."""
    n = x.shape[-1]
    distances = (x.unsqueeze(-1) - x.unsqueeze(-2)).abs().sum(-1)
    factors = n + 1 - 2 * torch.arange(1, n + 1, dtype=x.dtype)
    return torch.softmax(
        (factors[:, None] * -x.unsqueeze(-2) - distances.unsqueeze(-2)) / SCALE, -1
    )


def exact(x: Tensor) -> Tensor:
    return ts.soft.argsort(x, ts.Logistic(SCALE))


def sampled(x: Tensor) -> Tensor:
    return ts.functional.argsort(x, ts.Logistic(SCALE), num_samples=SAMPLES, seed=0)


def both_ways(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> None:
    x.grad = None
    function(x).backward(grad)


def ops(x: Tensor, grad: Tensor) -> None:
    """The two kernels, without Python's part."""
    scale = torch.full((1, 1), SCALE)
    task = ("logistic", False, "matrix", 0, x.shape[1])
    torch.ops.torchsmooth.order_statistics(x, scale, *task)
    torch.ops.torchsmooth.order_statistics_backward(grad, x, scale, *task, False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each rival")
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for n, batch in PROBLEMS:
        torch.manual_seed(0)
        x = torch.randn(batch, n, requires_grad=True)
        grad = torch.randn(batch, n, n)
        rivals: dict[str, Callable[[], object]] = {
            "exact": partial(both_ways, exact, x, grad),
            "exact, ops": partial(ops, x.detach(), grad),
            f"{SAMPLES} samples": partial(both_ways, sampled, x, grad),
            "SoftSort": partial(both_ways, softsort, x, grad),
            "NeuralSort": partial(both_ways, neuralsort, x, grad),
        }
        times = interleaved(rivals, arguments.seconds)
        rows.append({"what": "argsort", "n": n, "rows": batch} | _milliseconds(times))
    x = torch.randn(1, LONG, requires_grad=True)
    grad = torch.randn(1, LONG)
    noise = ts.Logistic(SCALE)
    for what, function in (
        ("rank", lambda x: ts.soft.rank(x, noise)),
        ("argmax", lambda x: ts.soft.argmax(x, -1, noise)),
    ):
        times = interleaved({"exact": partial(both_ways, function, x, grad)}, arguments.seconds)
        rows.append({"what": what, "n": LONG, "rows": 1} | _milliseconds(times))
    notes = ["Forward and backward; the minimum of many repetitions. Logistic noise of scale 0.3."]
    write("order_statistics", rows, notes, keep=not arguments.no_write)


def _milliseconds(times: dict[str, float]) -> dict[str, float]:
    return {f"{name} [ms]": 1e3 * seconds for name, seconds in times.items()}


if __name__ == "__main__":
    main()
