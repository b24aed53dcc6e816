"""Jumps, kinks and poles along a line, found by refinement."""

import math
import statistics

from .line import Line, differences, noise_around
from .result import Break
from .thresholds import (
    CELLS,
    ISOLATED,
    JUMP_EXPONENT,
    KINK_EXPONENT,
    LEVELS,
    LONG_LEVELS,
    MAX_CANDIDATES,
    SMOOTH_EXPONENT,
    TRUSTED,
    UNSTABLE_DIGITS,
)


def candidates(grid: list[float], digit: float) -> list[int]:
    """Cells' ends, counted from x, near which f may break; x itself comes first.

    A break is an outlier among differences. In second differences the curvature of f competes, in
    fourth differences hardly: half of the candidates are taken from each.
    """
    chosen = [0]
    for order in (4, 2):
        sizes = [abs(d) for d in differences(grid, order)]
        first = order // 2 - CELLS // 2
        ranked = sorted(range(len(sizes)), key=lambda j: -sizes[j])
        taken = 0
        for j in ranked:
            if taken == MAX_CANDIDATES // 2 or sizes[j] <= TRUSTED * digit:
                break
            if all(abs(j + first - other) > 1 for other in chosen):
                chosen.append(j + first)
                taken += 1
    return chosen


def refine(line: Line, center: int, digit: float, relevant: float) -> tuple[Break | None, float]:
    """Follows the largest second difference into the break, if there is one near `center`.

    Of three centres at half the width, the search continues with the one that has the largest
    second difference. The second difference falls as a power of the width, which identifies the
    kind of break. Returns the break, and the steepest slope on the way, over a change of f that is
    `relevant`.
    """

    def noise_at(node: int) -> float:
        return max(digit, min(noise_around(line, node), UNSTABLE_DIGITS * digit))

    noise = noise_at(center)
    width = 1 << (2 * line.cell - 1).bit_length()  # halves evenly down to 1
    bound = CELLS // 2 * line.cell - width
    center = max(-bound, min(bound, center))
    low, middle, high = line.values([center - width, center, center + width])
    widths: list[int] = []
    bends: list[float] = []
    slope = 0.0
    while width > 1:
        width //= 2
        inner = line.values([center - width, center + width])
        nodes = [low, inner[0], middle, inner[1], high]
        if not all(map(math.isfinite, nodes)):
            return Break("spike", line.offset(center), math.inf), math.inf
        firsts, seconds = differences(nodes, 1), [abs(d) for d in differences(nodes, 2)]
        best = max(range(3), key=lambda j: seconds[j])
        if seconds[best] <= TRUSTED * noise:
            break
        change = max(map(abs, firsts))
        if change >= max(relevant, TRUSTED * noise):
            slope = max(slope, change / (width * line.unit))
        center += (best - 1) * width
        low, middle, high = nodes[best : best + 3]
        widths.append(width)
        bends.append(seconds[best])
    if len(bends) <= LEVELS or math.log2(bends[-1 - LEVELS] / bends[-1]) / LEVELS >= (
        SMOOTH_EXPONENT
    ):
        return None, slope
    if bends[-1 - LEVELS] <= TRUSTED * noise_at(center):  # f, and its noise, grew during the search
        return None, slope
    # A break keeps its exponent over all widths that are small against the features of f.
    levels = min(len(bends) - 1, LONG_LEVELS)
    exponent = math.log2(bends[-1 - levels] / bends[-1]) / levels
    found = _classify(line, center, widths[-1], exponent, slope)
    if found is not None and found.kind == "spike" and max(bends) < relevant:
        return None, slope
    return found, slope


def _classify(line: Line, center: int, width: int, exponent: float, slope: float) -> Break | None:
    """The break at `center` over `width`; None if it does not exceed its neighbourhood."""
    reach = 6
    values = line.values([center + j * width for j in range(-reach, reach + 1)])
    if not all(map(math.isfinite, values)):
        return Break("spike", line.offset(center), math.inf)
    seconds = [abs(d) for d in differences(values, 2)]
    if max(seconds) <= ISOLATED * statistics.median(seconds):
        return None
    unit = width * line.unit
    if exponent >= KINK_EXPONENT:
        sides = (values[4] - values[0]) / (4 * unit), (values[-1] - values[-5]) / (4 * unit)
        return Break("kink", line.offset(center), sides[1] - sides[0])
    firsts = sorted(differences(values, 1), key=abs)
    # A jump is one step; a pole has two of about the same size.
    if abs(exponent) <= JUMP_EXPONENT and abs(firsts[-2]) < abs(firsts[-1]) / 2:
        return Break("jump", line.offset(center), firsts[-1])
    return Break("spike", line.offset(center), slope)
