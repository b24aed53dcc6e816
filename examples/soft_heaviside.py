"""Differentiate under an integral whose integrand jumps.

F(theta) is the integral over [-L, L] of sign((x - theta) (x + theta)). For 0 < theta < L it is
2 L - 4 theta, with the slope -4: each of the two jumps moves with speed 1 and is 2 high. Automatic
differentiation of any quadrature of it returns 0, because the slope of sign is 0. With noise of
scale 1 / k on its argument, sign becomes a smooth function, F becomes F_k, and automatic
differentiation of F_k tends to the correct value as k grows, with an error of

    pi^2 / (2 k^2 theta^4)    (logistic noise, and k theta^2 much larger than 1).

    python examples/soft_heaviside.py
    python examples/soft_heaviside.py --steepness 3 30 300 --theta 0.25 1.9

The program prints dF_k/dtheta for every theta and k, and the results of gradient descent with both
derivatives; the minimum over theta is -2 L, at L and beyond. The output directory gets result.json
and soft_heaviside.png. Exit codes: 0 done, 2 wrong arguments.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from common import cli, plotting
from common.errors import UserError, run_program
from common.study import Study
from matplotlib.figure import Figure
from torch import Tensor

import torchsmooth as ts


PROGRAM = Path(__file__).name
NODES_PER_WIDTH = 3  # of the smoothed jump; the trapezoidal rule then errs by less than 1e-15
NODES_AT_LEAST = 4096
DESCENT_STEPS = 60
DESCENT_RATE = 0.02
COLOURS = (plotting.ORANGE, plotting.GREEN, plotting.BLUE, plotting.RED)


def integral(
    theta: Tensor,  # [m], float64
    half_width: float,
    steepness: float | None,
) -> Tensor:  # [m]
    """F_k by the trapezoidal rule; for steepness None, F itself."""
    nodes = NODES_AT_LEAST
    if steepness is not None:
        # The jumps are at most at L, where (x - theta)(x + theta) has the slope 2 L.
        nodes += math.ceil(NODES_PER_WIDTH * 2 * steepness * half_width**2)
    x = torch.linspace(0, half_width, nodes, dtype=theta.dtype)
    margin = (x - theta.unsqueeze(-1)) * (x + theta.unsqueeze(-1))
    if steepness is None:
        values = margin.sign()
    else:
        values = ts.soft.sign(margin, ts.Logistic(scale=1 / steepness))
    return 2 * torch.trapezoid(values, x)  # the integrand is even


def slope(theta: Tensor, half_width: float, steepness: float | None) -> Tensor:
    """The derivative of `integral` by automatic differentiation, one theta after the other."""
    slopes = []
    for value in theta:
        leaf = value.reshape(1).clone().requires_grad_()
        slopes += torch.autograd.grad(integral(leaf, half_width, steepness).sum(), leaf)
    return torch.cat(slopes)


def descend(start: float, half_width: float, steepness: float | None) -> list[float]:
    """Gradient descent on F_k, or on F."""
    theta = torch.tensor([start], dtype=torch.float64)
    path = [start]
    for _ in range(DESCENT_STEPS):
        theta = theta - DESCENT_RATE * slope(theta, half_width, steepness)
        path.append(theta.item())
    return path


def draw(results: dict[str, Any], half_width: float, path: Path) -> None:
    shown = sorted(results["steepness"])[:3]
    theta = torch.linspace(0.01, 1.3 * half_width, 120, dtype=torch.float64)
    with plotting.style():
        figure = Figure(figsize=(11, 7.6), layout="constrained")
        (value, derivative), (error, descent) = figure.subplots(2, 2)

        derivative.axhline(-4, color="black", linestyle="--", label="limit for θ < L: −4")
        derivative.axhline(0, color="grey", linestyle=":", label="automatic differentiation, hard")
        descent.plot(results["descent"]["hard"], color="grey", linestyle=":", label="hard")
        for k, colour in zip(shown, COLOURS, strict=False):
            label = f"k = {k:g}"
            value.plot(theta, integral(theta, half_width, k), color=colour, label=label)
            derivative.plot(theta, slope(theta, half_width, k), color=colour, label=label)
            descent.plot(results["descent"][f"{k:g}"], color=colour, label=label)
        value.plot(theta, integral(theta, half_width, None), "k--", linewidth=1.2, label="hard")
        value.set(title="F(θ) and its smoothed versions", xlabel="θ", ylabel="F")
        derivative.set(title="dF/dθ", xlabel="θ", ylabel="slope", ylim=(-8, 1))

        for row, colour in zip(results["slopes"], COLOURS * 9, strict=False):
            k = torch.tensor(results["steepness"])
            errors = [max(abs(s + 4), 1e-16) for s in row["slopes"]]
            error.loglog(k, errors, "o-", color=colour, label=f"θ = {row['theta']:g}")
            predicted = math.pi**2 / (2 * k**2 * row["theta"] ** 4)
            error.loglog(k, predicted, ":", color=colour)
        error.loglog([], [], "k:", label="π² / (2 k² θ⁴)")
        error.set(title="Error of the limit", xlabel="steepness k", ylabel="|dF/dθ + 4|")

        descent.axhline(half_width, color="black", linestyle="--", label="L: the minimum begins")
        descent.set(title="Gradient descent", xlabel="step", ylabel="θ")
        for axis in (value, derivative, error, descent):
            axis.legend()
        plotting.save(figure, path)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--theta",
        type=cli.fraction,
        nargs="+",
        default=[0.5, 1.0, 1.5],
        help="where the derivative is taken (default: 0.5 1 1.5)",
    )
    parser.add_argument(
        "--steepness",
        type=cli.fraction,
        nargs="+",
        default=[10.0, 100.0, 1000.0, 10_000.0],
        metavar="K",
        help="1 / scale of the noise (default: 10 100 1000 10000)",
    )
    parser.add_argument(
        "--half-width", type=cli.fraction, default=2.0, metavar="L", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        default="runs/soft_heaviside",
        metavar="DIR",
        help="directory of the results (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if max(args.theta) >= args.half_width:
        raise UserError(
            f"--theta: expected numbers below --half-width {args.half_width:g}, got "
            f"{max(args.theta):g}; beyond it F is constant"
        )
    steepest = 1e7 / args.half_width**2
    if max(args.steepness) > steepest:
        raise UserError(
            f"--steepness: expected at most {steepest:g}, got {max(args.steepness):g}; the "
            "quadrature would need too many nodes"
        )
    output = Study("soft_heaviside", args)

    theta = torch.tensor(args.theta, dtype=torch.float64)
    columns = [slope(theta, args.half_width, k).tolist() for k in args.steepness]
    start = 0.25 * args.half_width
    descents: dict[str, float | None] = {"hard": None}
    descents |= {f"{k:g}": k for k in sorted(args.steepness)[:3]}
    results: dict[str, Any] = {
        "steepness": args.steepness,
        "hard": slope(theta, args.half_width, None).tolist(),
        "slopes": [
            {"theta": t, "slopes": list(row)}
            for t, row in zip(args.theta, zip(*columns, strict=True), strict=True)
        ],
        "descent": {name: descend(start, args.half_width, k) for name, k in descents.items()},
    }

    print("dF/dθ by automatic differentiation; the limit is -4")
    print(f"{'θ':>8} {'hard':>12}" + "".join(f"{f'k = {k:g}':>14}" for k in args.steepness))
    for row, hard in zip(results["slopes"], results["hard"], strict=True):
        numbers = "".join(f"{s:14.8f}" for s in row["slopes"])
        print(f"{row['theta']:8g} {hard:12g}{numbers}")
        errors = "".join(f"{abs(s + 4):14.1e}" for s in row["slopes"])
        print(f"{'error':>8} {'':>12}{errors}")
    print(f"gradient descent from θ = {start:g}; the minimum of F is {-2 * args.half_width:g}")
    for name, steps in results["descent"].items():
        last = torch.tensor([steps[-1]], dtype=torch.float64)
        value = integral(last, args.half_width, None).item()
        label = name if name == "hard" else f"k = {name}"
        print(f"{label:>12}: θ = {steps[-1]:.4f}, F = {value:.4f}")

    draw(results, args.half_width, output.picture)
    output.finish(results)


if __name__ == "__main__":
    run_program(PROGRAM, main)
