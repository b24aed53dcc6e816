"""Expected order statistics: value and gradients, of all laws, with masks and bad rows."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .comparison import DTYPES, LAWS, Case, Kernels, assert_close, assert_shapes, inputs
from .sort import OUTCOMES, upstream


@dataclass(frozen=True)
class Order:
    """One call, forward and backward."""

    outcome: str
    x: Tensor
    scale: Tensor
    law: str = "logistic"
    descending: bool = False

    def arguments(self) -> tuple:
        task = OUTCOMES[self.outcome](self.x.shape[1])
        return (self.x, self.scale, self.law, self.descending, *task)

    def compare(self, kernels: Kernels) -> None:
        batch, n = self.x.shape
        # Both have errors of 1e-6 (1e-10) by the same nodes, of the spread or of n.
        tolerance = 4e-6 if self.x.dtype == torch.float32 else 1e-11
        [expected], [got] = kernels.both("order_statistics", *self.arguments())
        finite = self.x.nan_to_num(0, 0, 0)
        spread = max(1.0, (finite.amax() - finite.amin()).item()) if self.x.numel() else 1.0
        assert_close("forward", _tame(expected), _tame(got), tolerance * spread)
        grad = upstream(self.outcome, batch, n, self.x.dtype)
        for scale_gradient in (False, True):
            pairs = kernels.both(
                "order_statistics_backward", grad, *self.arguments(), scale_gradient
            )
            for e, g in zip(*pairs, strict=True):
                assert_close(f"backward, {scale_gradient=}", e, g, 20 * tolerance * max(1, n))


def _tame(values: Tensor) -> Tensor:
    """NaN stays, and infinities are numbers that must agree."""
    return torch.where(values.isinf(), values.sign() * 1e3, values)


def _scales(batch: int, n: int, dtype: torch.dtype) -> Tensor:
    return torch.linspace(0.3, 1.5, batch * n, dtype=dtype).reshape(batch, n)


def law_cases() -> Iterator[Case]:
    for law, dtype, n in itertools.product(LAWS, DTYPES, [1, 2, 5, 40]):
        x = inputs(3, n, dtype)
        if n > 2:
            x[1, 1], x[1, 0], x[2, n // 2] = float("inf"), float("-inf"), float("nan")
        scale = _scales(3, n, dtype)
        for outcome, descending in itertools.product(OUTCOMES, (False, True)):
            if law == "cauchy" and outcome == "sort":
                continue  # the extreme ones do not exist
            call = Order(outcome, x, scale, law, descending)
            what = f"{outcome} of 3 x {n}, {law}, {descending=}, {dtype}"
            yield Case("order statistics", what, call.compare)


def spread_cases() -> Iterator[Case]:
    for spread, n in itertools.product([1e-6, 30.0, 1e6], [5, 70]):
        x = spread * inputs(2, n, torch.float32)
        for law, outcome in itertools.product(("logistic", "laplace", "triangular"), OUTCOMES):
            call = Order(outcome, x, torch.ones(1, 1), law)
            yield Case("order statistics", f"{outcome} over {spread} scales, {law}", call.compare)


def nothing(batch: int, n: int, outcome: str, kernels: Kernels) -> None:
    call = Order(outcome, torch.empty(batch, n), torch.ones(1, 1))
    grad = upstream(outcome, batch, n, torch.float32)
    for op, arguments in [
        ("order_statistics", call.arguments()),
        ("order_statistics_backward", (grad, *call.arguments(), True)),
    ]:
        for e, g in zip(*kernels.both(op, *arguments), strict=True):
            assert_shapes(op, e, g)


def cases() -> Iterator[Case]:
    yield from law_cases()
    yield from spread_cases()
    for (batch, n), outcome in itertools.product([(0, 3), (2, 0)], OUTCOMES):
        if n > 0 or outcome != "median":
            run = partial(nothing, batch, n, outcome)
            yield Case("order statistics", f"{outcome} of {batch} x {n}", run)


def small_cases() -> Iterator[Case]:
    for n, dtype in itertools.product((1, 5, 33), DTYPES):
        for law in ("logistic", "cauchy", "triangular", "wigner_semicircle"):
            for outcome in ("argsort", "argmax", "median", "rank"):
                x, scale = inputs(2, n, dtype), _scales(2, n, dtype)
                call = Order(outcome, x, scale, law, n == 5)
                yield Case("order statistics", f"{outcome} of {n}, {law}, {dtype}", call.compare)
