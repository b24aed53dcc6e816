"""Sorting: what is averaged of the order, forward and backward."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .comparison import (
    DTYPES,
    LAWS,
    SAMPLERS,
    Case,
    Kernels,
    assert_close,
    assert_relatively_close,
    assert_same_nan,
    assert_shapes,
    inputs,
    noise,
    points,
    require,
    tolerance,
)


# What can be asked of n sorted elements: output, first and last position.
OUTCOMES: dict[str, Callable[[int], tuple[str, int, int]]] = {
    "argsort": lambda n: ("matrix", 0, n),
    "argmax": lambda n: ("matrix", 0, min(n, 1)),
    "topk": lambda n: ("matrix", 0, (n + 1) // 2),
    "rows": lambda n: ("matrix", n // 3, n),
    "sort": lambda n: ("values", 0, n),
    "median": lambda n: ("values", (n - 1) // 2, (n - 1) // 2 + 1),
    "rank": lambda n: ("ranks", 0, n),
}


def outcome_shape(outcome: str, n: int) -> tuple[int, ...]:
    output, first, last = OUTCOMES[outcome](n)
    return (last - first, n) if output == "matrix" else (last - first,)


def upstream(outcome: str, batch: int, n: int, dtype: torch.dtype) -> Tensor:
    """A gradient in the outcome."""
    shape = outcome_shape(outcome, n)
    size = torch.Size(shape).numel()
    if size == 0 or batch == 0:
        return torch.empty(batch, *shape, dtype=dtype)
    return inputs(batch, size, dtype).reshape(batch, *shape).contiguous()


@dataclass(frozen=True)
class Sorting:
    """One call, forward and backward."""

    outcome: str
    x: Tensor
    scale: Tensor
    s: int
    law: str = "logistic"
    sampler: str = "mc"
    antithetic: bool = False
    descending: bool = False

    @property
    def pair_weight(self) -> float:
        return 0.01 if self.antithetic else 0.0

    def arguments(self) -> tuple:
        n = self.x.shape[1]
        drawing = (self.x, self.scale, *noise(self.sampler, n))
        options = (self.law, self.sampler, self.antithetic, self.s, self.descending)
        return (*drawing, *options, *OUTCOMES[self.outcome](n))

    def compare(self, kernels: Kernels) -> None:
        batch, n = self.x.shape
        ending = ("mean", 1 / self.s, self.pair_weight, "none")
        expected, got = kernels.both("sort", *self.arguments(), *ending)
        self.assert_same(expected[0], got[0])
        grad = upstream(self.outcome, batch, n, self.x.dtype)
        # The mean as the baseline: without it, values of 1e9 would hide all others.
        terms = (grad * expected[0]).nan_to_num().flatten(1)
        # The baseline is a rounded sum of these. Where the gradient would be 0 (one pair of mirror
        # images), nothing but the scores times that rounding is left.
        rounding = torch.finfo(self.x.dtype).eps * terms.abs().sum(1).max().item()
        slack = 10 * rounding / self.scale.min().item()
        for scale_gradient in (False, True):
            ending = (1 / self.s, self.pair_weight, scale_gradient)
            pairs = kernels.both("sort_backward", grad, terms.sum(1), *self.arguments(), *ending)
            for e, g in zip(*pairs, strict=True):
                assert_close(f"backward, {scale_gradient=}", e, g, 50 * tolerance(e.dtype), slack)

    def assert_same(self, expected: Tensor, got: Tensor) -> None:
        """Mean outcomes of the same samples.

        Where the CPU has no fused multiply-add its noise differs in the last digits; a sample in
        which two values are that close may then be sorted the other way.
        """
        assert_same_nan("forward", [expected], [got])
        output = OUTCOMES[self.outcome](self.x.shape[1])[0]
        if output == "values":
            return assert_relatively_close("forward", expected, got, 10 * tolerance(expected.dtype))
        # An exchange of two neighbours changes a matrix in four places by 1 / s, and ranks in two.
        places = 4 if output == "matrix" else 2
        moved = (expected - got).nan_to_num().double().abs().sum().item() * self.s / places
        allowed = 2 + 1e-5 * self.s * expected.shape[0] if expected.dtype == torch.float32 else 0
        require(round(moved) <= allowed, f"forward: {moved:.0f} samples are sorted otherwise")

    def cases(self, family: str, outcomes: list[str] | None = None) -> Iterator[Case]:
        batch, n = self.x.shape
        for outcome in outcomes or OUTCOMES:
            one = replace(self, outcome=outcome)
            what = (
                f"{outcome} of {batch} x {n}, {self.s} samples, {self.law}, {self.sampler}, "
                f"{self.x.dtype}"
            )
            yield Case(family, what, one.compare)


def sort_cases() -> Iterator[Case]:
    sizes = [1, 2, 3, 5, 7, 8, 9, 16, 33, 100, 1024]
    for law, sampler, dtype, n in itertools.product(LAWS, SAMPLERS, DTYPES, sizes):
        antithetic, batch = n % 2 == 0, 4 if n <= 100 else 2
        x = inputs(batch, n, dtype)
        x[-1, n // 2] = float("nan") if sampler != "sobol" else float("inf")
        scale = torch.linspace(0.5, 1.5, n, dtype=dtype).expand(batch, n).contiguous()
        s = points(sampler, n, 601 if n <= 33 else 13) * (2 if antithetic else 1)
        descending = law in ("gumbel", "laplace")
        call = Sorting("argsort", x, scale, s, law, sampler, antithetic, descending)
        # Everything of three laws and most samplers, and of each other pair one thing.
        chosen = list(OUTCOMES)
        if law not in ("logistic", "gumbel", "cauchy") or sampler.startswith("qmc"):
            place = LAWS.index(law) + SAMPLERS.index(sampler) + n
            chosen = [chosen[place % len(chosen)]]
        yield from call.cases("sort", chosen)


def size_cases() -> Iterator[Case]:
    """Sizes around those at which tiles and networks change."""
    for n in [*range(1, 65), 65, 100, 127, 128, 129, 513, 1024, 1025, 2000]:
        for dtype in DTYPES:
            batch, s = (3, 37) if n < 100 else (1, 9)
            place = n + DTYPES.index(dtype)
            x = inputs(batch, n, dtype)
            scale = torch.linspace(0.5, 1.5, batch * n, dtype=dtype).reshape(batch, n)
            law, sampler = LAWS[place % len(LAWS)], ["mc", "sobol", "rqmc_latin"][place % 3]
            outcomes = ["argsort", "argmax", "sort", "rank"]
            chosen = outcomes if n < 20 else [outcomes[n % 4], "median"]
            call = Sorting("sort", x, scale, s, law, sampler, False, n % 2 == 0)
            yield from call.cases("sort sizes", chosen)


def chunk_cases() -> Iterator[Case]:
    """Sums that are cut into chunks, blocks that take several tiles, elements that share blocks
    unevenly."""
    sizes = [(1, 5, 20000), (700, 3, 1537), (1, 1, 1), (2100, 8, 4), (3, 40, 999), (2100, 12, 300)]
    for sampler, dtype, (batch, n, s) in itertools.product(["mc", "sobol"], DTYPES, sizes):
        x, scale = inputs(batch, n, dtype), torch.ones(1, 1, dtype=dtype)
        call = Sorting("argsort", x, scale, s, sampler=sampler)
        yield from call.cases("sort chunks", ["argsort", "argmax", "sort", "rank"])
    for s, n in itertools.product([1, 2, 3, 31, 32, 33, 1000, 4096], [1, 4, 5, 7, 12]):
        x, scale = inputs(2, n, torch.float32), torch.ones(1, 1)
        call = Sorting("argsort", x, scale, s, antithetic=s % 2 == 0)
        yield from call.cases("sort samples", ["argsort", "sort", "rank"])


def long_cases() -> Iterator[Case]:
    """Rows of which no shared memory holds a tile."""
    for n, dtype in itertools.product([3000, 7001, 20000], DTYPES):
        x, scale = inputs(1, n, dtype), torch.full((1, 1), 0.01, dtype=dtype)
        # No matrices: their gradient alone would have n^2 numbers.
        yield from Sorting("sort", x, scale, 4).cases(
            "long rows", ["sort", "argmax", "median", "rank"]
        )


def large_values(n: int, descending: bool, kernels: Kernels) -> None:
    """Sums of values are counted from the unperturbed ones, so that large x cost them no digits.

    Both devices sort the same rounded points: what differs is what the sums lose.
    """
    s, c = 1000, 2.0**16
    x = c + torch.arange(1.0, n + 1).repeat(3, 1) * torch.tensor([[1.0], [-2.0], [0.0]])
    call = Sorting("sort", x, torch.full((1, 1), 0.25), s, descending=descending)
    [expected, *_], [got, *_] = kernels.both("sort", *call.arguments(), "mean", 1.0, 0.0, "none")
    assert_close("values", expected - c, got - c, 1e-2)
    grad = inputs(3, n, torch.float32)
    center = (grad * expected).sum(1)
    ending = (1 / s, 0.0, False)
    [expected, _], [got, _] = kernels.both(
        "sort_backward", grad, center, *call.arguments(), *ending
    )
    assert_close("gradients", expected, got, 2e-5)


def bad_values(n: int, dtype: torch.dtype, kind: str, sampler: str, kernels: Kernels) -> None:
    """Ties without noise to speak of, NaN and infinities, scales of 0."""
    nan, inf = float("nan"), float("inf")
    x = inputs(7, n, dtype)
    x[1, 0], x[2, -1], x[3, n // 2] = nan, inf, -inf
    x[4] = 1.0
    x[5] = torch.tensor([0.0, -0.0])[torch.arange(n) % 2]
    scale = {
        "one": torch.ones(1, 1),
        "tiny": torch.full((7, n), 1e-30),
        "zero and bad": torch.tensor([1.0, 1, 1, 1, 0, nan, inf]).reshape(7, 1),
        "huge": torch.full((1, n), 1e30),
    }[kind].to(dtype)
    for outcome, descending in itertools.product(OUTCOMES, (False, True)):
        call = Sorting(outcome, x, scale, 9, "cauchy", sampler, False, descending)
        what = f"{outcome} {descending=}"
        [e, *_], [g, *_] = kernels.both("sort", *call.arguments(), "mean", 1.0, 0.0, "none")
        assert_same_nan(what, [e], [g])
        e, g = e.nan_to_num(0, 3e38, -3e38), g.nan_to_num(0, 3e38, -3e38)
        assert_relatively_close(what, e, g, 2e-5)
        grad, center = upstream(outcome, 7, n, dtype), torch.zeros(7, dtype=dtype)
        ending = (1 / 9, 0.0, True)
        results = kernels.both("sort_backward", grad, center, *call.arguments(), *ending)
        assert_same_nan(f"{what}, backward", *results)


def nothing(batch: int, n: int, outcome: str, kernels: Kernels) -> None:
    call = Sorting(outcome, torch.empty(batch, n), torch.ones(1, 1), 8)
    grad, center = upstream(outcome, batch, n, torch.float32), torch.empty(batch)
    for op, arguments in [
        ("sort", (*call.arguments(), "mean", 1.0, 0.0, "none")),
        ("sort_backward", (grad, center, *call.arguments(), 1.0, 0.0, True)),
    ]:
        for e, g in zip(*kernels.both(op, *arguments), strict=True):
            assert_shapes(op, e, g)


def no_positions(n: int, output: str, kernels: Kernels) -> None:
    """There is nothing to sum, and the gradient is that of the baseline."""
    x, center = inputs(2, n, torch.float32), inputs(2, 1, torch.float32).reshape(2)
    drawing = (x, torch.ones(1, 1), *noise("mc", n), "logistic", "mc", False, 8)
    arguments = (*drawing, False, output, 2, 2)
    for e, g in zip(*kernels.both("sort", *arguments, "mean", 1.0, 0.0, "none"), strict=True):
        assert_shapes("forward", e, g)
    grad = torch.empty((2, 0, n) if output == "matrix" else (2, 0))
    expected, got = kernels.both("sort_backward", grad, center, *arguments, 1.0, 0.0, False)
    assert_close("backward", expected[0], got[0], 1e-5)


def edge_cases() -> Iterator[Case]:
    for n, descending in itertools.product((3, 8, 9, 40), (False, True)):
        yield Case("large values", f"{n=} {descending=}", partial(large_values, n, descending))
    kinds = ("one", "tiny", "zero and bad", "huge")
    for n, dtype, kind, sampler in itertools.product(
        [1, 3, 8, 9, 40], DTYPES, kinds, ["mc", "sobol"]
    ):
        run = partial(bad_values, n, dtype, kind, sampler)
        yield Case("bad values", f"{n=} {dtype} {sampler}, scale: {kind}", run)
    for (batch, n), outcome in itertools.product([(0, 3), (2, 0), (0, 40)], OUTCOMES):
        if n > 0 or outcome != "median":
            run = partial(nothing, batch, n, outcome)
            yield Case("nothing to sort", f"{outcome} of {batch} x {n}", run)
    for n, output in itertools.product((5, 20), ("matrix", "values")):
        yield Case("nothing to sort", f"no {output} of {n}", partial(no_positions, n, output))


def cases() -> Iterator[Case]:
    yield from sort_cases()
    yield from size_cases()
    yield from chunk_cases()
    yield from long_cases()
    yield from edge_cases()


def small_cases() -> Iterator[Case]:
    for n, dtype in itertools.product((1, 2, 5, 6, 8, 9, 33, 130), DTYPES):
        x, scale = inputs(3, n, dtype), torch.ones(3, n, dtype=dtype)
        for sampler in ("mc", "rqmc_latin", "sobol"):
            call = Sorting("argsort", x, scale, 70, sampler=sampler, antithetic=n == 6)
            # Samplers differ in how they draw: one outcome of the others is enough.
            yield from call.cases("sort", list(OUTCOMES) if sampler == "mc" else ["argsort"])
