"""What a case is: one comparison of the kernels under test with those of the CPU."""

import collections
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


ROOT = Path(__file__).resolve().parents[2]
DTYPES = [torch.float32, torch.float64]


class Mismatch(AssertionError):
    """The kernels under test gave another result than those of the CPU."""


@dataclass(frozen=True)
class Kernels:
    """Kernels under test: `ops` is a namespace of torch.ops; their tensors lie on `device`."""

    ops: Any
    device: str

    def move(self, *arguments: Any) -> tuple:
        return tuple(a.to(self.device) if isinstance(a, Tensor) else a for a in arguments)

    def call(self, op: str, *arguments: Any) -> list[Tensor]:
        """The outputs for arguments on the CPU, as tensors on the CPU."""
        return [out.cpu() for out in as_list(getattr(self.ops, op)(*self.move(*arguments)))]

    def both(self, op: str, *arguments: Any) -> tuple[list[Tensor], list[Tensor]]:
        """The outputs of the CPU's kernel and of the one under test."""
        expected = as_list(getattr(torch.ops.torchsmooth, op)(*arguments))
        return expected, self.call(op, *arguments)


@dataclass(frozen=True)
class Case:
    """`run` raises Mismatch where the kernels differ. Cases of a `family` check the same thing."""

    family: str
    what: str
    run: Callable[[Kernels], None]


@dataclass
class Report:
    """What a run of cases has found: how many of each family ran, and what was wrong."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)


def run_cases(kernels: Kernels, cases: Iterable[Case]) -> Report:
    """Runs all of them: one that fails is noted down and stops no other."""
    report = Report()
    for case in cases:
        try:
            case.run(kernels)
        except Exception as error:
            report.failures.append(f"{case.family}, {case.what}: {type(error).__name__}: {error}")
        report.counts[case.family] += 1
    return report


def as_list(out: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [out] if isinstance(out, Tensor) else list(out)


def registered(macro: str, path: str) -> list[str]:
    """The names in a registry of the C++ sources, such as TORCHSMOOTH_LAWS: the last argument of
    each of its lines."""
    text = (ROOT / "csrc" / path).read_text()
    body = re.search(rf"#define {macro}\(X\)((?:.*\\\n)*.*)", text)
    names = re.findall(r"X\((?:\w+, )*(\w+)\)", body[1]) if body else []
    if not names:
        raise RuntimeError(f"no registry {macro} in csrc/{path}")
    return names


LAWS = registered("TORCHSMOOTH_LAWS", "core/laws.h")
SAMPLERS = registered("TORCHSMOOTH_SAMPLERS", "core/samplers.h")


# Inputs


def inputs(batch: int, n: int, dtype: torch.dtype) -> Tensor:
    """Normal numbers [batch, n]."""
    generator = torch.Generator().manual_seed(batch * 10007 + n)
    return torch.randn(batch, n, generator=generator, dtype=torch.float64).to(dtype)


def directions(n: int) -> Tensor:
    """Direction numbers [n, 32], int32: any will do for a comparison."""
    generator = torch.Generator().manual_seed(n)
    return torch.randint(-(2**31), 2**31, (n, 32), generator=generator).to(torch.int32)


def noise(sampler: str, n: int) -> tuple[Tensor, Tensor]:
    """Seed and direction numbers."""
    seed = torch.tensor([0x1234567890ABCDEF ^ n])
    return seed, directions(n) if sampler == "sobol" else torch.empty(0, 32, dtype=torch.int32)


def points(sampler: str, n: int, wanted: int) -> int:
    """A number of points near `wanted` that the sampler can make."""
    if "cartesian" not in sampler or n == 0:
        return wanted
    side = max(1, round(wanted ** (1 / n)))
    return side**n if side**n <= 4 * wanted else 1


# Comparisons


def tolerance(dtype: torch.dtype) -> float:
    return 1e-5 if dtype == torch.float32 else 1e-13


def require(condition: object, what: str) -> None:
    if not condition:
        raise Mismatch(what)


def assert_shapes(what: str, expected: Tensor, got: Tensor) -> None:
    require(
        expected.shape == got.shape and expected.dtype == got.dtype,
        f"{what}: {tuple(expected.shape)} {expected.dtype}, got {tuple(got.shape)} {got.dtype}",
    )


def assert_equal(what: str, expected: Tensor, got: Tensor) -> None:
    """The same bits, and NaN in the same places."""
    assert_shapes(what, expected, got)
    require(torch.equal(expected.isnan(), got.isnan()), f"{what}: NaN in other places")
    require(torch.equal(expected.nan_to_num(), got.nan_to_num()), f"{what}: other numbers")


def assert_same_nan(what: str, expected: list[Tensor], got: list[Tensor]) -> None:
    for e, g in zip(expected, got, strict=True):
        assert_shapes(what, e, g)
        require(torch.equal(e.isnan(), g.isnan()), f"{what}: NaN in other places")


def assert_close(
    what: str, expected: Tensor, got: Tensor, tolerance: float, slack: float = 0.0
) -> None:
    """Equal shapes and NaNs; the rest within `tolerance` of the largest value (at least 1), and
    `slack` besides."""
    assert_shapes(what, expected, got)
    require(torch.equal(expected.isnan(), got.isnan()), f"{what}: NaN in other places")
    if expected.numel() == 0:
        return
    expected, got = expected.nan_to_num().double(), got.nan_to_num().double()
    error = (expected - got).abs().max().item()
    largest = max(1.0, expected.abs().max().item())
    require(
        error <= tolerance * largest + slack,
        f"{what}: off by {error:.2g} where the largest value is {largest:.2g}",
    )


def assert_relatively_close(what: str, expected: Tensor, got: Tensor, tolerance: float) -> None:
    """Value by value: Cauchy's noise is as large as 1e9, and would hide all other values."""
    size = 1 + expected.abs()
    assert_close(what, expected / size, got / size, tolerance)
