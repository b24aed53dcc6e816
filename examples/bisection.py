"""The derivatives of bisection.

Bisection finds the root x(theta) of g(x, theta) = 0 in [0, 1] by decisions only, so automatic
differentiation of it gives 0. There are two equations, both with roots of slope 1,

    case 1:  g = x - theta,                    root theta
    case 2:  g = (x - theta) (x + 1 - theta),  roots theta and theta - 1, one of them in [0, 1],

and three answers:

- the algorithm with noisy decisions (`ts.soft.bisect`, logistic noise of scale 1 / k): the tangents
  of a staircase, smoothed;
- the root itself (`ts.soft.implicit_bisect`, the implicit function theorem): 1;
- the hard program with a noisy theta (`ts.smooth`): the average slope of the program's result near
  theta, including its jumps where the root leaves the bracket or another root is found.

    python examples/bisection.py
    python examples/bisection.py --steepness 100 1e4 1e6 --num-steps 12

The output directory gets result.json and bisection.png. Exit codes: 0 done, 2 wrong arguments.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from common import cli, plotting
from common.errors import run_program
from common.study import Study
from matplotlib.figure import Figure
from torch import Tensor

import torchsmooth as ts


PROGRAM = Path(__file__).name
THETAS = 799  # points in every plot
MARGIN = 0.02  # of theta, at the ends of the plots, where the root is at the end of the bracket
COLOURS = (plotting.ORANGE, plotting.GREEN, plotting.BLUE)
Equation = Callable[[Tensor, Tensor], Tensor]


def one_root(x: Tensor, theta: Tensor) -> Tensor:
    return x - theta


def two_roots(x: Tensor, theta: Tensor) -> Tensor:
    return (x - theta) * (x + 1 - theta)


CASES: dict[str, tuple[Equation, float]] = {
    "case 1: x − θ": (one_root, 1.0),
    "case 2: (x − θ)(x + 1 − θ)": (two_roots, 2.0),
}
"""The equations, and up to which theta they have a root in [0, 1]."""


def hard_bisection(g: Equation, theta: Tensor, num_steps: int) -> Tensor:
    """Plain bisection, for many theta at once."""
    a, b = torch.zeros_like(theta), torch.ones_like(theta)
    for _ in range(num_steps):
        middle = (a + b) / 2
        beyond = g(a, theta) * g(middle, theta) > 0
        a, b = torch.where(beyond, middle, a), torch.where(beyond, b, middle)
    return (a + b) / 2


def tangents(f: Callable[[Tensor], Tensor], theta: Tensor) -> tuple[Tensor, Tensor]:
    """f(theta) and its derivative, element by element."""
    leaf = theta.clone().requires_grad_()
    value = f(leaf)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


def study(g: Equation, highest: float, args: argparse.Namespace) -> dict[str, Any]:
    """All answers over the range of theta."""
    theta = torch.linspace(MARGIN, highest - MARGIN, THETAS, dtype=torch.float64)
    noise = ts.Gaussian(scale=args.scale)
    smoothed = ts.smooth(
        lambda t: hard_bisection(g, t, args.num_steps).squeeze(-1),
        noise,
        num_samples=args.num_samples,
        seed=0,
    )

    def soft(k: float) -> Callable[[Tensor], Tensor]:
        law = ts.Logistic(scale=1 / k)
        return lambda t: ts.soft.bisect(g, 0.0, 1.0, t, num_steps=args.num_steps, distribution=law)

    return {
        "theta": theta,
        "hard": hard_bisection(g, theta, args.num_steps),
        "implicit": tangents(lambda t: ts.soft.implicit_bisect(g, 0.0, 1.0, t), theta),
        "smoothed": tangents(lambda t: smoothed(t.unsqueeze(-1)), theta),
        "soft": {k: tangents(soft(k), theta) for k in args.steepness},
    }


def summary(root: Tensor, answer: tuple[Tensor, Tensor]) -> dict[str, float]:
    value, slope = answer
    low, middle, high = slope.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=slope.dtype)).tolist()
    return {
        "error_of_the_value": (value - root).abs().mean().item(),
        "median_tangent": middle,
        "tenth_percentile": low,
        "ninetieth_percentile": high,
        "largest_tangent": slope.abs().max().item(),
        "share_within_a_tenth_of_1": ((slope - 1).abs() < 0.1).double().mean().item(),
    }


def table(answers: dict[str, Any]) -> dict[str, dict[str, float]]:
    root = answers["implicit"][0]
    rows = {f"soft, k = {k:g}": summary(root, a) for k, a in answers["soft"].items()}
    rows["implicit"] = summary(root, answers["implicit"])
    rows["ts.smooth"] = summary(root, answers["smoothed"])
    return rows


def draw(studies: dict[str, dict[str, Any]], scale: float, path: Path) -> None:
    with plotting.style():
        figure = Figure(figsize=(13, 7.4), layout="constrained")
        for axes, (name, answers) in zip(figure.subplots(2, 3), studies.items(), strict=True):
            where, algorithm, root = axes
            theta = answers["theta"]
            where.plot(theta, answers["hard"], color="black", linewidth=1, label="hard")
            for (k, (value, slope)), colour in zip(
                answers["soft"].items(), COLOURS * 9, strict=False
            ):
                where.plot(theta, value, color=colour, linewidth=1.2, label=f"soft, k = {k:g}")
                algorithm.plot(theta, slope, color=colour, linewidth=1.2, label=f"k = {k:g}")
            value, slope = answers["smoothed"]
            where.plot(theta, value, color=plotting.RED, linewidth=1.2, label="ts.smooth")
            root.plot(theta, slope, color=plotting.RED, label=f"ts.smooth, scale {scale:g}")
            _, slope = answers["implicit"]
            for axis in (algorithm, root):
                axis.plot(theta, slope, "k--", linewidth=1.2, label="implicit")
            where.set(title=f"{name}\nwhere bisection ends", ylabel="x")
            algorithm.set(title="tangents of the soft algorithm", ylabel="dx/dθ", ylim=(-6, 8))
            root.set(title="tangents of the root and of the program", ylabel="dx/dθ")
            for axis in axes:
                axis.set_xlabel("θ")
                if name == next(iter(studies)):  # the colours of all rows are the same
                    axis.legend(fontsize=9, frameon=True, loc="lower right")
        plotting.save(figure, path)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steepness",
        type=cli.fraction,
        nargs="+",
        default=[10.0, 100.0, 1000.0],
        metavar="K",
        help="1 / scale of the noise on the decisions (default: 10 100 1000)",
    )
    for option, kind, default, text in (
        ("num-steps", cli.integer_from(1), 8, "how often the bracket is halved"),
        ("scale", cli.fraction, 0.05, "of the noise on theta for ts.smooth"),
        ("num-samples", cli.integer_from(2), 1024, "evaluations per theta for ts.smooth"),
    ):
        parser.add_argument(
            f"--{option}", type=kind, default=default, help=f"{text} (default: %(default)s)"
        )
    parser.add_argument(
        "--output",
        default="runs/bisection",
        metavar="DIR",
        help="directory of the results (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    output = Study("bisection", args)

    studies = {name: study(g, highest, args) for name, (g, highest) in CASES.items()}
    tables = {name: table(answers) for name, answers in studies.items()}
    for name, rows in tables.items():
        print(f"{name}, tangents over θ")
        print(f"{'':>16} {'|x - root|':>12} {'10 %':>9} {'median':>9} {'90 %':>9} {'max':>10}")
        for label, row in rows.items():
            print(
                f"{label:>16} {row['error_of_the_value']:12.1e} {row['tenth_percentile']:9.3f} "
                f"{row['median_tangent']:9.3f} {row['ninetieth_percentile']:9.3f} "
                f"{row['largest_tangent']:10.2g}"
            )

    draw(studies, args.scale, output.picture)
    output.finish(tables)


if __name__ == "__main__":
    run_program(PROGRAM, main)
