"""The cases in which kernels are compared with those of the CPU: one table for every tool and test.

A new family of kernels is one module with two functions, and its line in FAMILIES:

cases        everything: all laws, samplers, types, and the sizes at which something changes
small_cases  every kernel of the family, at sizes that leave blocks and tiles partly filled
"""

from collections.abc import Iterator

from . import noise, render, shortest_path, sort
from .comparison import (
    Case as Case,
    Kernels as Kernels,
    Mismatch as Mismatch,
    Report as Report,
    run_cases as run_cases,
)


FAMILIES = [noise, sort, shortest_path, render]


def cases() -> Iterator[Case]:
    for family in FAMILIES:
        yield from family.cases()


def small_cases() -> Iterator[Case]:
    for family in FAMILIES:
        yield from family.small_cases()
