"""What do soft operators cost beside sigmoids that are written by hand?

`torchsmooth.soft` under logistic noise against the same closed form from torch's own sigmoid and
softplus: forward + backward in x and in the scale, under torch.compile and in eager mode, on one
thread.

    python soft.py               # writes results/soft.json and .md
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from timing import interleaved, table, write
from torch import Tensor
from torch.nn import functional as F

import torchsmooth as ts


SCALE = 0.3
GOAL = 1.1
LEAST = 1 << 16  # elements from which on the goal holds: below, calling is what is measured
PROBLEMS = (
    (LEAST, torch.float32),
    (1 << 12, torch.float32),
    (1 << 20, torch.float32),
    (LEAST, torch.float64),
    (LEAST, torch.bfloat16),
)
MODES = ("compiled", "eager")

Operator = Callable[[Tensor, Tensor], Tensor]


def softplus(x: Tensor, scale: Tensor) -> Tensor:
    return scale * F.softplus(x / scale)


def hand_where(x: Tensor, scale: Tensor) -> Tensor:
    p = torch.sigmoid((x - 0.2) / scale)
    return p * torch.sin(x) + (1 - p) * torch.cos(x)


def soft_where(x: Tensor, scale: Tensor) -> Tensor:
    p = ts.soft.greater(x, 0.2, ts.Logistic(scale))
    return ts.soft.where(p, torch.sin(x), torch.cos(x))


OPERATORS: dict[str, tuple[Operator, Operator]] = {
    "heaviside": (
        lambda x, scale: ts.soft.heaviside(x, ts.Logistic(scale)),
        lambda x, scale: torch.sigmoid(x / scale),
    ),
    "sign": (
        lambda x, scale: ts.soft.sign(x, ts.Logistic(scale)),
        lambda x, scale: 2 * torch.sigmoid(x / scale) - 1,
    ),
    "relu": (lambda x, scale: ts.soft.relu(x, ts.Logistic(scale)), softplus),
    "clamp": (
        lambda x, scale: ts.soft.clamp(x, -1.0, 1.0, ts.Logistic(scale)),
        lambda x, scale: softplus(x + 1, scale) - softplus(x - 1, scale) - 1,
    ),
    "where": (soft_where, hand_where),
}
"""torchsmooth's, and by hand: functions of x and the scale."""


def both_passes(operator: Operator, x: Tensor, scale: Tensor) -> Callable[[], object]:
    """Forward + backward, for an upstream gradient that is drawn once."""
    upstream = torch.randn_like(x)
    return lambda: torch.autograd.grad(operator(x, scale), (x, scale), upstream)


def measure(name: str, size: int, dtype: torch.dtype, seconds: float) -> dict:
    ours, hand = OPERATORS[name]
    torch.manual_seed(0)
    x = torch.randn(size, dtype=dtype, requires_grad=True)
    scale = torch.tensor(SCALE, dtype=dtype, requires_grad=True)
    torch._dynamo.reset()
    functions = {
        "compiled, soft": torch.compile(ours, fullgraph=True, dynamic=False),
        "compiled, hand": torch.compile(hand, fullgraph=True, dynamic=False),
        "eager, soft": ours,
        "eager, hand": hand,
    }
    check(functions["compiled, soft"](x, scale), functions["compiled, hand"](x, scale))
    calls = {name: both_passes(function, x, scale) for name, function in functions.items()}
    best = {}
    for mode in MODES:  # rivals alternate with each other alone: eager calls flush the caches
        pair = {name: call for name, call in calls.items() if name.startswith(mode)}
        best |= interleaved(pair, seconds=seconds)
    row: dict = {"operator": name, "n": size, "dtype": str(dtype).removeprefix("torch.")}
    row |= {f"{key} [us]": value * 1e6 for key, value in best.items()}
    for mode in MODES:
        row[f"{mode}, soft / hand"] = best[f"{mode}, soft"] / best[f"{mode}, hand"]
    return row


def check(ours: Tensor, hand: Tensor) -> None:
    """That both compute the same is part of the comparison."""
    rounding = 20 * torch.finfo(hand.dtype).eps
    torch.testing.assert_close(ours, hand, rtol=rounding, atol=rounding)


def summary(rows: list[dict]) -> list[dict]:
    """Over all types and sizes that the goal is for."""
    large = [row for row in rows if row["n"] >= LEAST]
    found = []
    for name in OPERATORS:
        row = {"operator": name}
        for mode in MODES:
            ratios = [r[f"{mode}, soft / hand"] for r in large if r["operator"] == name]
            row[f"{mode}, median"] = statistics.median(ratios)
            row[f"{mode}, worst"] = max(ratios)
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one size; keep nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rows = [
        measure(name, size, dtype, seconds=0.02 if quick else 0.2)
        for name in OPERATORS
        for size, dtype in PROBLEMS[: 1 if quick else None]
    ]
    write(
        "soft",
        rows,
        [
            "forward + backward in x and in the scale; logistic noise of scale 0.3; one thread.",
            "soft / hand: of the times, compiled by torch.compile(fullgraph=True) or in eager "
            f"mode; the summary is over n >= {LEAST}.",
            f"goal: at most {GOAL} compiled.",
        ],
        body="\n\n".join(["## Summary", table(summary(rows)), "## All", table(rows)]),
        keep=not quick,
    )


if __name__ == "__main__":
    main()
