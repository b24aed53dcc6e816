"""Words, laws, perturbed points, and sums of scores."""

import itertools
from collections.abc import Iterator
from functools import partial

import torch

from .comparison import (
    DTYPES,
    LAWS,
    SAMPLERS,
    Case,
    Kernels,
    assert_close,
    assert_equal,
    assert_relatively_close,
    inputs,
    noise,
    points,
    tolerance,
)


SIZES = [1, 2, 3, 5, 7, 8, 9, 16, 33, 100, 1024]


def words(
    sampler: str, antithetic: bool, s: int, n: int, start: int, stop: int, k: Kernels
) -> None:
    [expected], [got] = k.both("words", *noise(sampler, n), sampler, antithetic, s, n, start, stop)
    assert_equal("words", expected, got)


def words_cases() -> Iterator[Case]:
    for sampler, antithetic, n, wanted in itertools.product(
        SAMPLERS, [False, True], [1, 2, 3, 7], [1, 3, 5, 26, 64, 333]
    ):
        s = points(sampler, n, wanted) * (2 if antithetic else 1)
        rows = 3 * s
        for start, stop in [(0, rows), (rows // 3 + 1, max(rows // 3 + 1, rows - 2)), (1, 1)]:
            what = f"{sampler} {antithetic=} {s=} {n=} rows {start}:{stop}"
            yield Case("words", what, partial(words, sampler, antithetic, s, n, start, stop))


def law_function(law: str, function: str, dtype: torch.dtype, size: int, k: Kernels) -> None:
    low, high = (0.001, 0.999) if function == "icdf" else (-3, 3)
    x = torch.linspace(low, high, size, dtype=dtype)
    [expected], [got] = k.both("evaluate_law", x, law, function)
    finite = expected.isfinite()
    assert_equal("infinities", expected[~finite], got[~finite])
    assert_close(function, expected[finite], got[finite], 4 * tolerance(dtype))


def law_cases() -> Iterator[Case]:
    for law, dtype, function, size in itertools.product(
        LAWS, DTYPES, ["icdf", "cdf", "score", "log_prob"], [333, 0]
    ):
        run = partial(law_function, law, function, dtype, size)
        yield Case("laws", f"{law} {function} {dtype} {size=}", run)


def perturb(
    law: str, sampler: str, dtype: torch.dtype, n: int, antithetic: bool, s: int,
    shape: tuple[int, ...], start: int, stop: int, k: Kernels,
) -> None:  # fmt: skip
    size = torch.Size(shape).numel()
    scale = inputs(1, 1, dtype) + torch.linspace(0.5, 1.5, size, dtype=dtype).reshape(shape)
    if len(shape) == 2:
        scale = scale.reshape(shape)
    arguments = (inputs(3, n, dtype), scale.contiguous(), *noise(sampler, n))
    options = (law, sampler, antithetic, s, start, stop)
    [expected], [got] = k.both("perturb", *arguments, *options)
    matrix = len(shape) == 3
    # Sums of n products; where the noise is large they cancel.
    reach = (n**0.5 if matrix else 1) * (50 if matrix and law == "cauchy" else 1)
    assert_relatively_close("perturb", expected, got, reach * tolerance(dtype))


def perturb_cases() -> Iterator[Case]:
    for law, sampler, dtype, n in itertools.product(LAWS, SAMPLERS, DTYPES, SIZES):
        antithetic = n % 2 == 0
        s = 2 * points(sampler, n, 5) if antithetic else points(sampler, n, 21)
        shapes: list[tuple[int, ...]] = [(1, 1), (3, n)] if n < 1000 else [(1, n)]
        if n <= 100:
            shapes += [(1, n, n), (3, n, n)]
        for shape, (start, stop) in itertools.product(
            shapes, [(0, 3 * s), (s // 2 + 1, 3 * s - 1)]
        ):
            if start <= stop:
                what = f"{law} {sampler} {dtype} {n=} {s=} scale {shape} rows {start}:{stop}"
                arguments = (law, sampler, dtype, n, antithetic, s, shape, start, stop)
                yield Case("perturb", what, partial(perturb, *arguments))


def reduce(
    law: str, sampler: str, dtype: torch.dtype, n: int, m: int, moment: str, antithetic: bool,
    s: int, start: int, stop: int, k: Kernels,
) -> None:  # fmt: skip
    values, pivot = torch.empty(stop - start, 0, dtype=dtype), torch.empty(3, 0, dtype=dtype)
    if m > 0:
        values, pivot = inputs(stop - start, m, dtype), inputs(3, m, dtype)
    pair_weight = 0.125 if antithetic else 0.0
    options = (law, sampler, antithetic, s, n, pair_weight, moment, start, stop)
    expected, got = k.both("reduce", values, pivot, *noise(sampler, n), *options)
    for name, e, g in zip(("scores", "products"), expected, got, strict=True):
        assert_close(name, e / s, g / s, 20 * tolerance(dtype))


def reduce_cases() -> Iterator[Case]:
    sizes = [
        (1, 1),
        (5, 1),
        (5, 3),
        (5, 40),
        (3, 700),
        (33, 2),
        (9, 17),
        (100, 5),
        (1024, 1),
        (4, 0),
    ]
    for law, sampler, dtype, (n, m), moment in itertools.product(
        LAWS, ["mc", "rqmc_latin", "sobol"], DTYPES, sizes, ["none", "diagonal", "outer"]
    ):
        if moment == "outer" and n > 33:
            continue
        antithetic = (n + m) % 2 == 0
        s = 1034 if n * m < 200 else 38
        start, stop = (0, 3 * s) if law != "logistic" else (s // 2 + 1, 3 * s - 3)
        what = f"{law} {sampler} {dtype} {n=} {m=} {moment} {s=} rows {start}:{stop}"
        arguments = (law, sampler, dtype, n, m, moment, antithetic, s, start, stop)
        yield Case("reduce", what, partial(reduce, *arguments))


def cases() -> Iterator[Case]:
    yield from words_cases()
    yield from law_cases()
    yield from perturb_cases()
    yield from reduce_cases()


def small_cases() -> Iterator[Case]:
    for n, dtype in itertools.product((1, 5, 8, 9, 33), DTYPES):
        s = 70
        for sampler in ("mc", "rqmc_latin", "sobol"):
            start, stop = 5, 3 * s - 3
            what = f"{sampler} {dtype} {n=}"
            rows = (sampler, False, s, n, start, stop)
            yield Case("words", what, partial(words, *rows))
            for shape in [(3, n), (3, n, n)]:
                arguments = ("logistic", sampler, dtype, n, False, s, shape, start, stop)
                yield Case("perturb", f"{what} {shape}", partial(perturb, *arguments))
            for m, moment in [(1, "none"), (40, "diagonal"), (2, "outer" if n < 10 else "none")]:
                sums = ("logistic", sampler, dtype, n, m, moment, False, s, start, stop)
                yield Case("reduce", f"{what} {m=} {moment}", partial(reduce, *sums))
    for dtype, law in itertools.product(DTYPES, LAWS):
        for function in ("icdf", "cdf", "score", "log_prob"):
            run = partial(law_function, law, function, dtype, 77)
            yield Case("laws", f"{law} {function} {dtype}", run)
