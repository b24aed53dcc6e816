#!/usr/bin/env python3
"""Compares the emulated kernels with those of the CPU, outside of the test suite.

    python tests/cuda_on_cpu/run.py plain --thin 11      every 11th case
    python tests/cuda_on_cpu/run.py race --small --launches
    python tests/cuda_on_cpu/run.py plain --family sort

The settings of the emulator are environment variables: see emulator/settings.h. "asan" needs the
environment that `emulator_build.asan_environment` gives. Exit status: 1 if a case failed.
"""

import argparse
import itertools
import sys

from emulated import load, statistics
from emulator_build import VARIANTS, build
from kernel_cases import FAMILIES, run_cases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--small", action="store_true", help="a small case of every kernel")
    parser.add_argument("--thin", type=int, default=1, help="only one case in so many")
    names = [family.__name__.rpartition(".")[2] for family in FAMILIES]
    parser.add_argument("--family", choices=names, help="only the cases of one family")
    parser.add_argument("--launches", action="store_true", help="show what was launched, how often")
    options = parser.parse_args()
    library = build(options.variant)
    kernels = load(library)
    families = [f for f in FAMILIES if options.family in (None, f.__name__.rpartition(".")[2])]
    tables = [f.small_cases() if options.small else f.cases() for f in families]
    chosen = itertools.islice(itertools.chain(*tables), 0, None, options.thin)
    report = run_cases(kernels, chosen)
    for family, count in report.counts.items():
        print(f"{count:6} {family}")
    if options.launches:
        for name, row in sorted(statistics(library).items()):
            print(f"{row.launches:6} {name}")
    for failure in report.failures:
        print(failure)
    print(f"{report.counts.total()} cases, {len(report.failures)} failed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
