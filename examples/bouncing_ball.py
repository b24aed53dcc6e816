"""A ball that bounces, hits a wall, and falls into a hole or misses it.

The ball leaves the edge of a table with a horizontal velocity v, bounces on the floor, each time
lower, and comes back from a wall. If one of its landings is within the hole, it is caught. The
cost is 1 for a ball that is not caught, plus a little for the effort, v^2. How fast should it be?

Automatic differentiation sees only the effort, because a comparison decides whether a landing is
within the hole. It slows the ball down until it drops at the table's foot. Two smoothed gradients
see the hole:

- soft: every landing is compared under independent noise (`ts.soft.while_loop`), exactly;
- smooth: the hard simulator is called with noisy velocities (`ts.smooth`), by sampling.

Both start with much noise, which reaches far, and end with little, which does not blur the hole.

    python examples/bouncing_ball.py
    python examples/bouncing_ball.py --starts 0.4 1 5 --steps 400

The output directory gets result.json and bouncing_ball.png. Exit codes: 0 done, 2 wrong arguments.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from common import cli, plotting
from common.errors import run_program
from common.seeding import step_seed
from common.study import Study
from matplotlib.figure import Figure
from torch import Tensor

import torchsmooth as ts


PROGRAM = Path(__file__).name
GRAVITY = 9.81  # m / s^2
HEIGHT = 1.0  # m, of the table
RESTITUTION = 0.8  # of the vertical velocity at a bounce
WALL, WALL_RESTITUTION = 2.6, 0.7  # m; of the horizontal velocity
HOLE, RADIUS = 2.0, 0.08  # m
LANDINGS = 4
EFFORT = 0.02  # cost per (m / s)^2
FIRST_SCALE, LAST_SCALE = 0.3, 0.02  # m, of the noise on a landing
SECONDS = 1.5  # converts noise on the landings to noise on the velocity
FALL = math.sqrt(2 * HEIGHT / GRAVITY)  # s, from the table to the floor
COLOURS = {"AD": plotting.ORANGE, "soft": plotting.BLUE, "smooth": plotting.RED}


def position(velocity: Tensor, seconds: Tensor | float) -> Tensor:
    """The distance of the ball from the table, wall included."""
    free = velocity * seconds
    return torch.where(free > WALL, WALL - WALL_RESTITUTION * (free - WALL), free)


def miss(x: Tensor) -> Tensor:
    """The distance of a landing from the hole; negative within it."""
    return (x - HOLE).abs() - RADIUS


def hard_cost(velocity: Tensor) -> Tensor:
    """The simulator: elementwise, with a comparison at every landing."""
    caught = torch.zeros_like(velocity, dtype=torch.bool)
    seconds, flight = FALL, 2 * RESTITUTION * FALL
    for _ in range(LANDINGS):
        caught = caught | (miss(position(velocity, seconds)) <= 0)
        seconds, flight = seconds + flight, RESTITUTION * flight
    return EFFORT * velocity**2 + (~caught).to(velocity.dtype)


def soft_cost(velocity: Tensor, distribution: ts.AbstractDistribution) -> Tensor:
    """The expected cost if every landing is compared with the hole under independent noise."""

    def bounce(ball: dict[str, Tensor]) -> dict[str, Tensor]:
        landing = ball["landing"] + 1
        return {
            "seconds": ball["seconds"] + ball["flight"],
            "flight": RESTITUTION * ball["flight"],
            "landing": landing,
            "lost": (landing >= LANDINGS).to(velocity.dtype),
        }

    zero = torch.zeros_like(velocity)
    ball = {
        "seconds": zero + FALL,
        "flight": zero + 2 * RESTITUTION * FALL,
        "landing": zero,
        "lost": zero,
    }
    ball = ts.soft.while_loop(
        lambda ball: miss(position(velocity, ball["seconds"])),
        bounce,
        ball,
        LANDINGS,
        distribution=distribution,
    )
    result: Tensor = EFFORT * velocity**2 + ball["lost"]
    return result


Cost = Callable[[Tensor, float, int], Tensor]  # velocity, scale of the noise in m, seed


def smooth_cost(velocity: Tensor, scale: float, seed: int) -> Tensor:
    """The expected cost under noise on the velocity, estimated."""
    smoothed = ts.smooth(
        lambda v: hard_cost(v).squeeze(-1),
        ts.Gaussian(scale / SECONDS),
        num_samples=256,
        seed=seed,
    )
    result: Tensor = smoothed(velocity.unsqueeze(-1))
    return result


METHODS: dict[str, Cost] = {
    "AD": lambda velocity, scale, seed: hard_cost(velocity),
    "soft": lambda velocity, scale, seed: soft_cost(velocity, ts.Gaussian(scale)),
    "smooth": smooth_cost,
}


def optimize(cost: Cost, starts: Sequence[float], steps: int) -> list[list[float]]:
    """The velocities in every step, from all starts at once: Adam treats each separately."""
    velocity = torch.tensor(starts, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([velocity], lr=0.02)
    path = [velocity.tolist()]
    for step in range(steps):
        scale = FIRST_SCALE * (LAST_SCALE / FIRST_SCALE) ** (step / steps)
        optimizer.zero_grad()
        cost(velocity, scale, step_seed(0, "noise", step)).sum().backward()
        optimizer.step()
        path.append(velocity.tolist())
    return path


def landing_in_hole(velocity: float) -> int | None:
    """The number of the landing that is within the hole, counted from 1."""
    seconds, flight = FALL, 2 * RESTITUTION * FALL
    for landing in range(1, LANDINGS + 1):
        if miss(position(torch.tensor(velocity, dtype=torch.float64), seconds)) <= 0:
            return landing
        seconds, flight = seconds + flight, RESTITUTION * flight
    return None


def trajectory(velocity: float) -> tuple[list[float], list[float]]:
    """Points of the flight, up to where the ball is caught or lands for the last time."""
    caught = landing_in_hole(velocity)
    xs, ys = [], []
    begin, vertical = -FALL, GRAVITY * FALL  # as if it had been thrown up to the table
    for landing in range(1, (caught or LANDINGS) + 1):
        flight = 2 * vertical / GRAVITY
        first = FALL if landing == 1 else 0.0
        for i in range(41):
            t = first + (flight - first) * i / 40
            x = position(torch.tensor(velocity, dtype=torch.float64), begin + t)
            xs.append(x.item())
            ys.append(max(vertical * t - GRAVITY * t**2 / 2, 0.0))
        begin, vertical = begin + flight, RESTITUTION * vertical
    return xs, ys


def draw(results: list[dict[str, Any]], path: Path) -> None:
    velocity = torch.linspace(0, 4.5, 1201, dtype=torch.float64)
    shown = 0.1
    with plotting.style():
        figure = Figure(figsize=(13, 7.6), layout="constrained")
        grid = figure.add_gridspec(2, 2)
        flight = figure.add_subplot(grid[0, 0])
        way = figure.add_subplot(grid[0, 1])
        cost = figure.add_subplot(grid[1, 0])
        gradient = figure.add_subplot(grid[1, 1])

        for method, colour in COLOURS.items():
            of_method = [r for r in results if r["method"] == method]
            best = min(of_method, key=lambda r: r["cost"])
            xs, ys = trajectory(best["velocity"])
            velocity_found = round(best["velocity"], 2) + 0.0  # no -0
            label = f"{method}: v = {velocity_found:.2f} m/s, cost {best['cost']:.3f}"
            flight.plot(xs, ys, color=colour, label=label)
            for i, row in enumerate(of_method):
                way.plot(row["path"], color=colour, label=method if i == 0 else None)

            leaf = velocity.clone().requires_grad_()
            value = METHODS[method](leaf, shown, 0)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
            hard = method == "AD"
            cost.plot(
                *(velocity, value.detach()),
                color=colour,
                linewidth=1 if hard else 1.8,
                label="hard" if hard else method,
            )
            gradient.plot(velocity, slope, color=colour, label=method)
        flight.plot([HOLE - RADIUS, HOLE + RADIUS], [0, 0], color="black", linewidth=6)
        flight.annotate("hole", (HOLE, 0.0), (HOLE - 0.06, 0.12))
        flight.axvline(WALL, color="black", linewidth=3)
        flight.set(title="The best ball of each", xlabel="x [m]", ylabel="height [m]")
        flight.set(xlim=(-0.1, 2.7), ylim=(-0.05, 1.6))
        way.set(title="Velocity on the way", xlabel="step of Adam", ylabel="v [m/s]")
        way.set_ylim(top=1.35 * max(row["path"][0] for row in results))
        cost.set(
            title=f"Cost under noise of {shown:g} m",
            xlabel="v [m/s]",
            ylabel="expected cost",
            ylim=(0, 1.9),
        )
        gradient.set(title="Its derivative", xlabel="v [m/s]", ylabel="d cost / dv")
        gradient.set_ylim(top=14)
        for axis in (flight, way, cost, gradient):
            axis.legend(fontsize=9, loc="upper center")
        plotting.save(figure, path)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--starts",
        type=cli.fraction,
        nargs="+",
        default=[0.6, 1.3, 2.2, 3.5],
        metavar="V",
        help="velocities to start from, in m/s (default: 0.6 1.3 2.2 3.5)",
    )
    parser.add_argument(
        "--steps", type=cli.integer_from(1), default=300, help="of Adam (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        default="runs/bouncing_ball",
        metavar="DIR",
        help="directory of the results (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    output = Study("bouncing_ball", args)

    results: list[dict[str, Any]] = []
    for method, cost in METHODS.items():
        path = optimize(cost, args.starts, args.steps)
        for start, way in zip(args.starts, zip(*path, strict=True), strict=True):
            last = hard_cost(torch.tensor(way[-1], dtype=torch.float64)).item()
            results.append(
                {
                    "method": method,
                    "start": start,
                    "velocity": way[-1],
                    "cost": last,
                    "landing": landing_in_hole(way[-1]),
                    "path": list(way),
                }
            )
    print(f"{'method':>8} {'start':>7} {'found v':>9} {'hard cost':>10}  caught at landing")
    for row in results:
        print(
            f"{row['method']:>8} {row['start']:7.2f} {row['velocity']:9.3f} {row['cost']:10.4f}  "
            f"{row['landing'] or 'never'}"
        )
    draw(results, output.picture)
    output.finish(results)


if __name__ == "__main__":
    run_program(PROGRAM, main)
