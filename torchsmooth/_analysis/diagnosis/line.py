"""f along one coordinate, and its rounding."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..scalar_function import ScalarFunction
from .thresholds import CELLS, LEFT_OUT, LEVELS, NOISE_NODES, REACH, SHORT_CELL


class Line:
    """f along coordinate i, at multiples of `unit`, which are exact in the dtype of x.

    Between exact points, differences of f contain no rounding of x: a node is an integer.
    """

    def __init__(self, function: ScalarFunction, x: Tensor, i: int, reach: float):
        self.function = function
        self.x = x
        self.i = i
        self.at = float(x.flatten()[i])
        self.eps = torch.finfo(x.dtype).eps
        self.unit = 2.0 ** math.floor(math.log2(abs(self.at) + reach)) * self.eps
        self.origin = round(self.at / self.unit)
        self.cell = round(2 * reach / CELLS / self.unit)
        self.short = max(2, round(self.cell * SHORT_CELL[x.dtype]))
        if self.cell < 2**LEVELS:
            raise ValueError(
                f"distribution must have a scale that x resolves, but {REACH} scales, "
                f"{reach:.3g}, are {reach / self.unit:.3g} steps of {x.dtype} at {self.at:.6g}; "
                "pass a larger scale, or x.double()"
            )
        self.reach = self.cell * (CELLS // 2) * self.unit

    def points(self, coordinates: Sequence[float]) -> Tensor:
        """x with its coordinate i replaced, [m, *x.shape]."""
        points = self.x.flatten().repeat(len(coordinates), 1)
        points[:, self.i] = torch.tensor(coordinates, dtype=torch.float64).to(points)
        return points.reshape(len(coordinates), *self.x.shape)

    def values(self, nodes: Sequence[int]) -> list[float]:
        return self.function.values(
            self.points([(self.origin + node) * self.unit for node in nodes])
        )

    def offset(self, node: int) -> float:
        return (self.origin + node) * self.unit - self.at


def noise_around(line: Line, center: int) -> float:
    """The scatter of f's values around a node that does not come from its slope or curvature.

    Third differences over short distances do not contain a smooth f. The largest are left out,
    because they may be one jump (Moré and Wild, "Estimating computational noise", SIAM Journal on
    Scientific Computing 33, 2011, take the median; that of a regular staircase can be 0).
    """
    half = NOISE_NODES // 2
    nodes = [center + line.short * j for j in range(-half, half + 1)]
    thirds = sorted(map(abs, differences(line.values(nodes), 3)))[:-LEFT_OUT]
    if not all(map(math.isfinite, thirds)):
        return 0.0
    # Of independent noise, a third difference has 20 times the variance; the smallest 10 of 14
    # normal variables have a root mean square of 0.57.
    return math.hypot(*thirds) / math.sqrt(20 * len(thirds)) / 0.57


def quantum(values: list[float]) -> float:
    """The largest power of 2 that divides all values."""
    exponents = []
    for value in values:
        mantissa, exponent = math.frexp(value)
        digits = int(mantissa * 2**53)
        if digits:
            exponents.append(exponent - 53 + (digits & -digits).bit_length() - 1)
    return 2.0 ** min(exponents) if exponents else 0.0


def differences(values: list[float], order: int) -> list[float]:
    for _ in range(order):
        values = [b - a for a, b in zip(values, values[1:], strict=False)]
    return values
