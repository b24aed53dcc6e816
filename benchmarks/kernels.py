"""What does one sample cost on one core, kernel by kernel?

Compiles kernels.cpp, which calls the sorting kernels for AVX2 themselves (logistic, mc, float32):
no threads, no Python, no tensors. x86-64 with AVX2 and g++ are needed.

    python kernels.py       # writes results/kernels.json and .md
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from timing import write


FLAGS = "-O3 -std=c++20 -fno-math-errno -fno-trapping-math -ffp-contract=off -Wno-psabi".split()

# What was tried to get here: what was expected of it, what came, in nanoseconds per sample.
STEPS = [
    "steps of tuning, each measured before and after on the same machine while it was also used "
    "otherwise; all in ns per sample unless said otherwise.",
    "sorting network: GCC made masked stores of `exchange ? b : a`, and each load waited for the "
    "store before it. Blends of whole vectors, expected 4 times faster: with indices n = 32 from "
    "298 to 38, n = 100 from 1382 to 217; values alone n = 32 from 92 to 15.",
    "counting permutations: one increment per element and sample, replaced by a comparison of "
    "whole vectors per cell (expected 2.5 at n = 5): forward at n = 5 from 17.6 to 12.7, of which "
    "11.1 draw and sort.",
    "contraction with the upstream gradient by the same masks: backward at n = 10 from 44 to 29.",
    "Jacobian cell by cell with masks (expected 14 at n = 5): 20.4, no better than 19.8 before; "
    "not kept.",
    "Jacobian sample by sample, with rows of weights turned in registers and cells computed as "
    "vectors (expected 14 at n = 5): from 19.8 to 16.5.",
    "generic road, per number of noise: values centred once per block instead of once per weight, "
    "and lanes kept as vectors (expected 2.3 for one output): reduce from 3.8 to 2.3, with 16 "
    "outputs from 6.8 to 3.8; points written as whole vectors: perturb from 2.9 to 2.5.",
    "the op took 27.7 at n = 5 with its Jacobian where the kernel alone takes 16.5: Python's own "
    "-fwrapv keeps comparisons from vectorising. With -fno-wrapv (expected 16.5) the op takes "
    "17.2, and forward alone 13.3 instead of 22.7.",
    "Python: the signature of an autograd function is worked out once, and ops are called below "
    "autograd: from 270 to 209 us per call of the op with its gradient.",
    "Jacobian of up to 5 elements summed permutation by permutation (expected 12.5 at n = 5): from "
    "16.5 to 12.2, at n = 3 from 10.5 to 7.6.",
    "Philox waits for its own products. Several dimensions take their rounds together, and what is "
    "the same in all lanes stays a number (expected 0.43 per word): from 0.83 to 0.45 per word "
    "with five dimensions; 0.69 with two, 0.75 with one. Counters in the halves of 64-bit lanes: "
    "0.54 with two, but 0.46 with five; not kept.",
    "Sobol: what the scramble takes from three bits is computed once for their eight values and "
    "looked up, and bits are reversed by byte shuffles (expected 0.6 per word): from 1.55 to 1.06 "
    "per word. The bits of the index that all lanes share, as numbers: no faster; not kept.",
    "logistic noise by log(a / b) with one division instead of two (expected 0.78 per number): "
    "0.81, before 1.02. Gumbel's two logarithms of u share one (expected 1.9): from 2.4 to 1.9.",
    "weights of antithetic pairs had fallen out of vectors, because the weight of the pair was "
    "read again after every store and signs were selected by branches (expected 2 per number, "
    "words included): logistic from 12.1 to 1.5, Gaussian from 11.6 to 2.3, Wigner from 112 to 9.",
]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    source = Path(__file__).with_suffix(".cpp")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "kernels"
        subprocess.run(["g++", *FLAGS, str(source), "-o", str(program)], check=True)
        output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    rows: dict[str, dict[str, object]] = {}
    for line in output.splitlines():
        measured = json.loads(line)
        row = rows.setdefault(measured["kernel"], {"kernel": measured["kernel"]})
        row[f"n = {measured['n']} [ns]"] = measured["ns"]
    write("kernels", list(rows.values()), STEPS)


if __name__ == "__main__":
    main()
