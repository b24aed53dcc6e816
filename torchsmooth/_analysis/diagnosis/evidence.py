"""The facts about a coordinate, from which its verdict follows."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..directional import DirectionalDerivative, one_sided_limit
from .breaks import candidates, refine
from .line import Line, noise_around, quantum
from .result import Break
from .thresholds import (
    CELLS,
    INNER_DIGITS,
    LINE_SHARES,
    RELEVANT_JUMP,
    REPEATABLE_DIGITS,
    UNSTABLE_DIGITS,
)


class Evidence(NamedTuple):
    """The facts from which `decide` derives the verdict."""

    line: Line
    grid: list[float]  # f at the cells' ends
    center: float  # f(x)
    scatter: float  # between evaluations at the same points
    noise: float  # over a short distance
    digit: float  # the last digit of f's largest value
    ad: float | None
    ad_line: list[float | None]
    ad_around: list[float | None]
    smoothed: float
    smoothed_error: float
    left: DirectionalDerivative
    right: DirectionalDerivative
    steepest: float  # slope between neighbouring points, where f is continuous
    breaks: list[Break]
    steps: list[float]
    forward: list[float]
    backward: list[float]

    @property
    def range(self) -> float:
        return max(self.grid) - min(self.grid)

    @property
    def mean_slope(self) -> float:
        return self.range / (2 * self.line.reach)

    def grid_offset(self, j: int) -> float:
        """The offset of the end of cell j from x."""
        return self.line.offset((j - CELLS // 2) * self.line.cell)


def examine(
    line: Line,
    repeats: list[float],
    ad: float | None,
    ad_around: list[float | None],
    smoothed: float,
    smoothed_error: float,
) -> Evidence:
    nodes = [j * line.cell for j in range(-CELLS // 2, CELLS // 2 + 1)]
    grid, again = line.values(nodes), line.values(nodes)
    center = repeats[0]
    finite = [abs(v) for v in (*grid, center) if math.isfinite(v)]
    digit = max(
        line.eps * max(finite, default=0.0),
        # Where f is the small difference of larger numbers, their last digit is f's.
        min(quantum(finite), INNER_DIGITS * line.eps * max(1.0, float(line.x.abs().max()))),
        torch.finfo(line.x.dtype).tiny,  # f has no digits below it
    )
    pairs = [*zip(grid, again, strict=True), *((v, center) for v in repeats)]
    scatter = max((abs(a - b) for a, b in pairs if math.isfinite(a - b)), default=0.0)
    if any(math.isnan(a) != math.isnan(b) for a, b in pairs):
        scatter = math.inf

    shares = [line.at + share * line.reach for share in LINE_SHARES]
    ad_line = [entry(line.function.gradient(p), line.i) for p in line.points(shares)]
    noise = noise_around(line, 0)
    breaks: list[Break] = []
    steepest = 0.0
    if all(map(math.isfinite, grid)) and scatter <= REPEATABLE_DIGITS * digit:
        relevant = RELEVANT_JUMP * (max(grid) - min(grid))
        for candidate in candidates(grid, digit):
            found, slope = refine(line, candidate * line.cell, digit, relevant)
            steepest = max(steepest, slope)
            if found is not None and not any(
                abs(found.offset - b.offset) < line.cell * line.unit / 4 for b in breaks
            ):
                breaks.append(found)
    breaks.sort(key=lambda b: abs(b.offset))

    # Beside a break, apparent noise may be f itself.
    rounding = min(noise, UNSTABLE_DIGITS * digit) if breaks else noise
    rounding = max(rounding, digit)
    rungs = round(-math.log2(line.eps)) - 3
    ladder = [line.reach * 0.5**k for k in range(rungs)]
    steps, forward, right = _side(line, ladder, center, rounding)
    _, backward, left = _side(line, [-t for t in ladder], center, rounding)
    return Evidence(
        line,
        grid,
        center,
        scatter,
        noise,
        digit,
        ad,
        ad_line,
        ad_around,
        smoothed,
        smoothed_error,
        left,
        right,
        steepest,
        breaks,
        steps,
        forward,
        backward,
    )


def _side(
    line: Line, ladder: list[float], center: float, noise: float
) -> tuple[list[float], list[float], DirectionalDerivative]:
    """Steps after rounding, difference quotients, and their limit."""
    points = line.points([line.at + t for t in ladder])
    moved = (points.flatten(1)[:, line.i] if line.x.ndim else points).double() - line.at
    steps = [abs(t) for t in moved.tolist()]
    values = line.function.values(points)
    sign = math.copysign(1.0, ladder[0])
    # Steps that rounding changes much are left out.
    kept = [k for k, t in enumerate(ladder) if abs(steps[k] - abs(t)) <= 0.05 * abs(t)]
    steps, values = [steps[k] for k in kept], [values[k] for k in kept]
    limit = one_sided_limit(steps, values, center, line.eps, noise)
    quotients = [sign * (value - center) / t for value, t in zip(values, steps, strict=True)]
    return steps, quotients, DirectionalDerivative(sign * limit.value + 0.0, limit.error)


def entry(gradient: Tensor | None, i: int) -> float | None:
    return None if gradient is None else float(gradient.flatten()[i])
