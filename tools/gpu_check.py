#!/usr/bin/env python3
"""Builds, tests, compares, sanitizes and times the CUDA kernels on a machine with an NVIDIA GPU.

    python tools/gpu_check.py                       # everything, in less than 9 minutes
    python tools/gpu_check.py --parts build         # needs nvcc, but no GPU
    python tools/gpu_check.py --parts compare,bench --output /tmp/results

Needs torch (>= 2.10, a CUDA build), nvcc, a C++ compiler and, for the tests, pytest. Writes
gpu_check.json and gpu_check.txt. Each part runs in a process of its own and within a budget, so
that one that crashes or hangs does not stop the others. Exit status: 0 if all parts passed, 1 if
one failed, 2 if parts were asked for that need a GPU and there is none.
"""

import argparse
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = [ROOT / "torchsmooth" / name for name in ("_C.so", "_C_cuda.so")]

# Microseconds for argsort of 5 elements, batch 100, 32768 samples, forward and backward.
GOAL = 150.0

# Seconds that each part may take, and all of them together.
BUDGETS = {"build": 200, "test": 100, "compare": 100, "sanitize": 100, "bench": 70}
TOTAL_BUDGET = 530

# What is compared with the CPU kernels of `torch.ops.torchsmooth`.
TESTED = torch.ops.torchsmooth
DEVICE = "cuda"

# The kernels' own table: the package is not imported, because it needs what is built here.
LAWS = re.findall(r"^ +X\(\w+, (\w+)\)", (ROOT / "csrc/core/laws.h").read_text(), re.MULTILINE)
SAMPLERS = ["mc", "qmc_latin", "rqmc_latin", "qmc_cartesian", "rqmc_cartesian", "sobol"]
SIZES = [1, 2, 3, 5, 7, 8, 9, 16, 33, 100, 1024]
DTYPES = [torch.float32, torch.float64]

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


# Height, width and neighbors of grids: warps take samples each, blocks do, and grids that no shared
# memory holds.
GRIDS = [(1, 1, 8), (1, 6, 4), (3, 3, 8), (5, 4, 4), (12, 12, 8), (13, 11, 4), (40, 41, 8)]
HUGE_GRID = (190, 200, 8)

# Ops whose plain PyTorch twin runs on a GPU.
TWINS = ["torchsmooth::hard_shortest_path_graph"]


# What all parts share


def load_libraries() -> list[str]:
    """Loads both libraries; returns the ops that should have a CUDA kernel, and have none."""
    for library in LIBRARIES:
        torch.ops.load_library(str(library))
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    wanted = [name for name in op_names() if name not in TWINS]
    return [name for name in wanted if not has_kernel(name, "CUDA")]


def op_names() -> list[str]:
    """Every op of the schema table."""
    names = torch._C._dispatch_get_all_op_names()
    return sorted(name for name in names if name.startswith("torchsmooth::"))


def about() -> dict[str, Any]:
    gpu = torch.cuda.is_available()
    result: dict[str, Any] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch.version.cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name() if gpu else None,
    }
    if gpu:
        properties = torch.cuda.get_device_properties(0)
        result["capability"] = f"{properties.major}.{properties.minor}"
        result["multiprocessors"] = properties.multi_processor_count
    commands = {
        "nvcc": ["nvcc", "--version"],
        "driver": ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
    }
    for name, command in commands.items():
        if shutil.which(command[0]):
            output = subprocess.run(command, capture_output=True, text=True).stdout.strip()
            result[name] = output.splitlines()[-1] if output else None
    return result


def run(command: list[str], **environment: str) -> dict[str, Any]:
    """Runs a command and passes on what it says; the end, where reasons stand, is kept."""
    begin = time.perf_counter()
    lines = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            print(line, end="", flush=True)
    return {
        "passed": process.returncode == 0,
        "status": process.returncode,
        "seconds": round(time.perf_counter() - begin, 1),
        "output": "".join(lines)[-6000:],
    }


# build and test


def build() -> dict[str, Any]:
    result = run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        TORCHSMOOTH_CUDA="1",
        MAX_JOBS=str(os.cpu_count() or 2),
    )
    if not result["passed"]:
        return result
    result.pop("output")
    result["bytes"] = {library.name: library.stat().st_size for library in LIBRARIES}
    result["ops without a CUDA kernel"] = load_libraries()
    result["ops"] = op_names()
    result["passed"] = not result["ops without a CUDA kernel"] and len(result["ops"]) > 0
    return result


def test() -> dict[str, Any]:
    # A status of 5 means that no test was found, which is a failure here.
    return run(
        [
            sys.executable,
            "-m",
            "pytest",
            "tests",
            "-m",
            "cuda",
            "-q",
            "-x",
            "--tb=short",
            "-p",
            "no:cacheprovider",
        ]
    )


# compare: the same calls on the CPU and on the GPU


class Mismatch(AssertionError):
    pass


def on_device(arguments: tuple) -> tuple:
    return tuple(a.to(DEVICE) if isinstance(a, Tensor) else a for a in arguments)


def both(op: str, *arguments: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs of the CPU kernel and of the tested one, as tensors on the CPU."""
    expected = getattr(torch.ops.torchsmooth, op)(*arguments)
    got = getattr(TESTED, op)(*on_device(arguments))
    as_list = lambda out: [out] if isinstance(out, Tensor) else list(out)  # noqa: E731
    return as_list(expected), [out.cpu() for out in as_list(got)]


def directions(n: int) -> Tensor:  # [n, 32], int32
    """Any numbers: what a Sobol sequence is made of does not matter for the comparison."""
    generator = torch.Generator().manual_seed(n)
    return torch.randint(-(2**31), 2**31, (n, 32), generator=generator).to(torch.int32)


def noise(sampler: str, n: int) -> tuple[Tensor, Tensor]:
    seed = torch.tensor([0x1234567890ABCDEF ^ n])
    return seed, directions(n) if sampler == "sobol" else torch.empty(0, 32, dtype=torch.int32)


def points(sampler: str, n: int, wanted: int) -> int:
    """A number of points near `wanted` that the sampler can make."""
    if "cartesian" not in sampler or n == 0:
        return wanted
    side = max(1, round(wanted ** (1 / n)))
    return side**n if side**n <= 4 * wanted else 1


def check_words() -> Iterator[str]:
    for sampler, antithetic, n, wanted in itertools.product(
        SAMPLERS, [False, True], [1, 2, 3, 7], [1, 3, 5, 26, 64, 333]
    ):
        s = points(sampler, n, wanted) * (2 if antithetic else 1)
        rows = 3 * s
        for start, stop in [(0, rows), (rows // 3 + 1, max(rows // 3 + 1, rows - 2)), (1, 1)]:
            [expected], [got] = both(
                "words", *noise(sampler, n), sampler, antithetic, s, n, start, stop
            )
            if not torch.equal(expected, got):
                raise Mismatch(f"words: {sampler=} {antithetic=} {s=} {n=} rows {start}:{stop}")
            yield "words"


def assert_close(what: str, expected: Tensor, got: Tensor, tolerance: float) -> None:
    """Equal shapes and NaNs, and the rest within `tolerance` of the largest value (at least 1)."""
    if expected.shape != got.shape or expected.dtype != got.dtype:
        raise Mismatch(f"{what}: {expected.shape} {expected.dtype}, got {got.shape} {got.dtype}")
    if not torch.equal(expected.isnan(), got.isnan()):
        raise Mismatch(f"{what}: NaN in other places")
    expected, got = expected.nan_to_num().double(), got.nan_to_num().double()
    if expected.numel() == 0:
        return
    error = (expected - got).abs().max().item() / max(1.0, expected.abs().max().item())
    if error > tolerance:
        raise Mismatch(f"{what}: off by {error:.2g} of the largest value")


def tolerance(dtype: torch.dtype) -> float:
    return 1e-5 if dtype == torch.float32 else 1e-13


def inputs(batch: int, n: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(batch * 10007 + n)
    return torch.randn(batch, n, generator=generator, dtype=torch.float64).to(dtype)


def check_evaluate_law() -> Iterator[str]:
    for law, dtype in itertools.product(LAWS, DTYPES):
        inside = torch.linspace(0.001, 0.999, 333, dtype=dtype)
        around = torch.linspace(-3, 3, 333, dtype=dtype)
        for function, x in [
            ("icdf", inside),
            ("cdf", around),
            ("score", around),
            ("log_prob", around),
            ("icdf", inside[:0]),
        ]:
            [expected], [got] = both("evaluate_law", x, law, function)
            finite = expected.isfinite()
            what = f"evaluate_law: {law} {function} {dtype}"
            if not torch.equal(expected[~finite], got[~finite]):
                raise Mismatch(f"{what}: infinities in other places")
            assert_close(what, expected[finite], got[finite], 4 * tolerance(dtype))
            yield "evaluate_law"


def check_perturb() -> Iterator[str]:
    batch = 3
    for law, sampler, dtype, n in itertools.product(LAWS, SAMPLERS, DTYPES, SIZES):
        s = 2 * points(sampler, n, 5)
        antithetic = True
        if n % 2 == 1:
            s, antithetic = points(sampler, n, 21), False
        x = inputs(batch, n, dtype)
        rows = batch * s
        shapes = [(1, 1), (batch, n)] if n < 1000 else [(1, n)]
        if n <= 100:
            shapes += [(1, n, n), (batch, n, n)]
        for shape in shapes:
            scale = inputs(1, 1, dtype).expand(shape).contiguous() + torch.linspace(
                0.5, 1.5, torch.Size(shape).numel(), dtype=dtype
            ).reshape(shape)
            for start, stop in [(0, rows), (s // 2 + 1, rows - 1)]:
                if start > stop:
                    continue
                [expected], [got] = both(
                    "perturb",
                    x,
                    scale,
                    *noise(sampler, n),
                    law,
                    sampler,
                    antithetic,
                    s,
                    start,
                    stop,
                )
                # Cauchy's noise is as large as 1e9: compare value by value.
                relative = 1 + expected.abs()
                what = f"perturb: {law} {sampler} {dtype} {n=} {s=} scale {shape} {start}:{stop}"
                reach = n**0.5 if len(shape) == 3 else 1
                assert_close(
                    what,
                    expected / relative,
                    got / relative,
                    reach * tolerance(dtype) * (50 if law == "cauchy" and len(shape) == 3 else 1),
                )
                yield "perturb"


def check_reduce() -> Iterator[str]:
    batch = 3
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
        rows = batch * s
        start, stop = (0, rows) if law != "logistic" else (s // 2 + 1, rows - 3)
        values = inputs(stop - start, m, dtype) if m else torch.empty(stop - start, 0, dtype=dtype)
        pivot = inputs(batch, m, dtype) if m else torch.empty(batch, 0, dtype=dtype)
        pair_weight = 0.125 if antithetic else 0.0
        expected, got = both(
            "reduce",
            values,
            pivot,
            *noise(sampler, n),
            law,
            sampler,
            antithetic,
            s,
            n,
            pair_weight,
            moment,
            start,
            stop,
        )
        for name, e, g in zip(("scores", "products"), expected, got, strict=True):
            what = f"reduce: {name} {law} {sampler} {dtype} {n=} {m=} {moment} {s=}"
            assert_close(what, e / s, g / s, 20 * tolerance(dtype))
            yield "reduce"


def assert_same_outcome(what: str, output: str, expected: Tensor, got: Tensor, s: int) -> None:
    """Mean outcomes of the same samples.

    Where the CPU has no fused multiply-add its noise differs in the last digits; a sample in which
    two values are that close may then be sorted the other way.
    """
    if output == "values":
        # Cauchy's noise is as large as 1e9: compare value by value.
        relative = 1 + expected.abs()
        return assert_close(
            what, expected / relative, got / relative, 10 * tolerance(expected.dtype)
        )
    if not torch.equal(expected.isnan(), got.isnan()):
        raise Mismatch(f"{what}: NaN in other places")
    # An exchange of two neighbours changes a matrix in four places by 1 / s, and ranks in two.
    places = 4 if output == "matrix" else 2
    moved = ((expected - got).nan_to_num().double().abs().sum() * s / places).round().item()
    allowed = 2 + 1e-5 * s * expected.shape[0] if expected.dtype == torch.float32 else 0
    if moved > allowed:
        raise Mismatch(f"{what}: {moved:.0f} samples are sorted otherwise")


def outcome_shape(output: str, first: int, last: int, n: int) -> tuple[int, ...]:
    return (last - first, n) if output == "matrix" else (last - first,)


def check_sort_call(
    what: str, outcome: str, arguments: tuple, s: int, pair_weight: float, reach: float
) -> Iterator[str]:
    """Forward and backward. `reach`: how many times more rounding than in a sum of n is allowed."""
    x = arguments[0]
    batch, n = x.shape
    output, first, last = OUTCOMES[outcome](n)
    arguments = (*arguments, output, first, last)
    expected, got = both("sort", *arguments, "mean", 1 / s, pair_weight, "none")
    assert_same_outcome(f"{outcome}: {what}", output, expected[0], got[0], s)
    yield outcome
    shape = outcome_shape(output, first, last, n)
    grad = inputs(batch, max(1, last - first) * n, x.dtype)
    grad = grad[:, : torch.Size(shape).numel()].reshape(batch, *shape).contiguous()
    # The mean as the baseline: without, values of 1e9 would hide all others.
    center = (grad * expected[0]).nan_to_num().flatten(1).sum(1)
    for scale_gradient in (False, True):
        expected, got = both(
            "sort_backward", grad, center, *arguments, 1 / s, pair_weight, scale_gradient
        )
        for e, g in zip(expected, got, strict=True):
            assert_close(f"{outcome} backward: {what}", e, g, reach * tolerance(x.dtype))
        yield f"{outcome} backward"


def check_sort() -> Iterator[str]:
    for law, sampler, dtype, n in itertools.product(LAWS, SAMPLERS, DTYPES, SIZES):
        antithetic = n % 2 == 0
        batch = 4 if n <= 100 else 2
        s = points(sampler, n, 601 if n <= 33 else 13) * (2 if antithetic else 1)
        descending = law in ("gumbel", "laplace")
        x = inputs(batch, n, dtype)
        scale = torch.linspace(0.5, 1.5, n, dtype=dtype).expand(batch, n).contiguous()
        x[-1, n // 2] = float("nan") if sampler != "sobol" else float("inf")
        pair_weight = 0.01 if antithetic else 0.0
        arguments = (x, scale, *noise(sampler, n), law, sampler, antithetic, s, descending)
        what = f"{law} {sampler} {dtype} {n=} {s=}"
        # Everything of three laws and three samplers, and of each other pair one thing.
        chosen = list(OUTCOMES)
        if law not in ("logistic", "gumbel", "cauchy") or sampler.startswith("qmc"):
            chosen = [chosen[(LAWS.index(law) + SAMPLERS.index(sampler) + n) % len(chosen)]]
        for outcome in chosen:
            yield from check_sort_call(what, outcome, arguments, s, pair_weight, 50)


def check_many_chunks() -> Iterator[str]:
    """Sizes at which sums are cut into chunks, with elements that share blocks unevenly."""
    for sampler, dtype, (batch, n, s) in itertools.product(
        ["mc", "sobol"],
        DTYPES,
        [(1, 5, 20000), (700, 3, 1537), (1, 1, 1), (5000, 8, 4), (3, 40, 999)],
    ):
        x, scale = inputs(batch, n, dtype), torch.ones(1, 1, dtype=dtype)
        arguments = (x, scale, *noise(sampler, n), "logistic", sampler, False, s, False)
        what = f"{sampler} {dtype} {batch=} {n=} {s=}"
        for outcome in ("argsort", "argmax", "sort", "rank"):
            for _ in check_sort_call(what, outcome, arguments, s, 0.0, 50):
                pass
        yield "many chunks"


def check_large_values() -> Iterator[str]:
    """Sums of values are counted from the unperturbed ones, so that large x cost them no digits.

    Both devices sort the same rounded points: what differs is what the sums lose.
    """
    s, c = 1000, 2.0**16
    for n, descending in itertools.product((3, 8, 9, 40), (False, True)):
        x = c + torch.arange(1.0, n + 1).repeat(3, 1) * torch.tensor([[1.0], [-2.0], [0.0]])
        scale = torch.full((1, 1), 0.25)
        arguments = (x, scale, *noise("mc", n), "logistic", "mc", False, s, descending)
        sorting = ("values", 0, n)
        [expected, *_], [got, *_] = both("sort", *arguments, *sorting, "mean", 1.0, 0.0, "none")
        assert_close(f"values far from 0: {n=}", expected - c, got - c, 1e-2)
        grad = inputs(3, n, torch.float32)
        center = (grad * expected).sum(1)
        [expected, _], [got, _] = both(
            "sort_backward", grad, center, *arguments, *sorting, 1 / s, 0.0, False
        )
        assert_close(f"gradients far from 0: {n=}", expected, got, 2e-5)
        yield "large values"


def torus(rings: int) -> tuple[Tensor, Tensor]:
    """2 rings^2 triangles."""
    turn = torch.arange(rings) * (2 * torch.pi / rings)
    a, b = torch.meshgrid(turn, turn, indexing="ij")
    radius = 0.7 + 0.3 * b.cos()
    vertices = torch.stack((radius * a.cos(), 0.3 * b.sin(), radius * a.sin()), -1).reshape(-1, 3)
    index = torch.arange(rings * rings, dtype=torch.int32).reshape(rings, rings)
    right, below = index.roll(-1, 1), index.roll(-1, 0)
    opposite = right.roll(-1, 0)
    faces = torch.stack((index, right, below, right, opposite, below), -1).reshape(-1, 3)
    return vertices, faces.contiguous()


def meshes(dtype: torch.dtype) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Small triangles, and large ones that reach behind the camera."""
    generator = torch.Generator().manual_seed(7)
    vertices, index = torus(12)
    yield "torus", vertices.to(dtype), index
    for what, faces, spread in (("soup", 40, 0.7), ("around", 30, 3.0)):
        center = spread * torch.randn(faces, 1, 3, generator=generator)
        vertices = center + torch.randn(faces, 3, 3, generator=generator)
        index = torch.arange(3 * faces, dtype=torch.int32).reshape(faces, 3)
        yield what, vertices.reshape(-1, 3).to(dtype), index


def assert_images(what: str, expected: Tensor, got: Tensor, weight: float) -> None:
    """Equal but for single pixels that an edge's rounding could give to its other side."""
    if not torch.equal(expected.isnan(), got.isnan()):
        raise Mismatch(f"{what}: NaN at different places")
    different = (expected - got).nan_to_num().abs() > 1e-4 * (1 + expected.nan_to_num().abs())
    if different.sum() > max(1, 1e-5 * weight * expected.numel()):
        raise Mismatch(f"{what}: {int(different.sum())} of {expected.numel()} pixels differ")


def check_render() -> Iterator[str]:
    pose = torch.tensor(
        [[3.0, 20.0, 40.0, 25.0], [2.0, -70.0, 200.0, 40.0], [0.3, 95.0, 3.0, 80.0]]
    )
    bad = torch.tensor([[3.0, float("nan"), 40.0, 25.0]])
    scale = torch.tensor([[0.1, 5.0, 5.0, 0.25]]).repeat(4, 1)
    # Images of 78 and 110 pixels take just less than the 48 KB that a block has without asking.
    for dtype, size, output in itertools.product(
        DTYPES, [16, 64, 78, 110, 300], ["silhouette", "depth", "lambert"]
    ):
        for mesh, vertices, faces in meshes(dtype):
            what = f"{mesh} {dtype} {size=} {output}"
            poses = torch.cat([pose, bad]).to(dtype)
            [expected], [got] = both("hard_render", poses, vertices, faces, size, output)
            assert_images(f"hard_render {what}", expected, got, 1)
            for sampler, law, s in (("mc", "logistic", 37), ("sobol", "gaussian", 8)):
                arguments = (poses, vertices, faces, scale.to(dtype), *noise(sampler, 4))
                options = (law, sampler, False, s, size, output)
                estimator = ("mean", 1 / s, 0.1, "none")
                [expected, *_], [got, *_] = both("render", *arguments, *options, *estimator)
                assert_images(f"render {what}", expected, got, s)
                grad = inputs(4, size * size, dtype).reshape(4, size, size)
                center = (grad * expected.nan_to_num()).flatten(1).sum(1)
                results = both(
                    "render_backward", grad, center, *arguments, *options, 1 / s, 0.1, True
                )
                for a, b in zip(*results, strict=True):
                    assert_close(f"render_backward {what}", a, b, 1e-3)
            yield "render"
    for faces in (0, 2):
        mesh = torch.zeros(3, 3), torch.zeros(faces, 3, dtype=torch.int32)
        [expected], [got] = both("hard_render", pose[:faces], *mesh, 16, "lambert")
        if not torch.equal(expected, got):
            raise Mismatch("images of nothing differ")
        yield "render nothing"


def check_empty() -> Iterator[str]:
    for (batch, n), outcome in itertools.product([(0, 3), (2, 0), (0, 40)], OUTCOMES):
        if n == 0 and outcome == "median":
            continue
        output, first, last = OUTCOMES[outcome](n)
        x = torch.empty(batch, n)
        drawing = (x, torch.ones(1, 1), *noise("mc", n), "logistic", "mc", False, 8)
        arguments = (*drawing, False, output, first, last)
        expected, got = both("sort", *arguments, "mean", 1.0, 0.0, "none")
        assert [e.shape for e in expected] == [g.shape for g in got]
        grad = torch.empty(batch, *outcome_shape(output, first, last, n))
        expected, got = both("sort_backward", grad, torch.empty(batch), *arguments, 1.0, 0.0, True)
        assert [e.shape for e in expected] == [g.shape for g in got]
        both("perturb", *drawing, 0, batch * 8)
        yield "empty"
    # No position is asked for: there is nothing to sum, and the gradient is that of the baseline.
    for n, output in itertools.product((5, 20), ("matrix", "values")):
        x, center = inputs(2, n, torch.float32), inputs(2, 1, torch.float32).reshape(2)
        drawing = (x, torch.ones(1, 1), *noise("mc", n), "logistic", "mc", False, 8)
        arguments = (*drawing, False, output, 2, 2)
        expected, got = both("sort", *arguments, "mean", 1.0, 0.0, "none")
        assert [e.shape for e in expected] == [g.shape for g in got]
        grad = torch.empty(2, *outcome_shape(output, 2, 2, n))
        expected, got = both("sort_backward", grad, center, *arguments, 1.0, 0.0, False)
        assert_close("no positions", expected[0], got[0], 1e-5)
        yield "empty"


def check_too_many_elements() -> Iterator[str]:
    x = torch.zeros(1, 20_000, device=DEVICE)
    arguments = on_device((torch.ones(1, 1), *noise("mc", 1)))
    options = ("logistic", "mc", False, 4, False, "values", 0, 1, "mean", 1.0, 0.0, "none")
    try:
        TESTED.sort(x, *arguments, *options)
    except RuntimeError as error:
        if "at most" not in str(error):
            raise
        yield "too many elements"
        return
    raise Mismatch("sorting 20 000 elements raised nothing")


def check_cuda_graph() -> Iterator[str]:
    """A captured graph reads the seed when it is replayed, and repeats its results bit for bit."""
    if DEVICE != "cuda":
        return
    for n, outcome in itertools.product((5, 33), ("argsort", "argmax", "sort", "rank")):
        output, first, last = OUTCOMES[outcome](n)
        x = inputs(7, n, torch.float32).cuda()
        scale = torch.ones(1, 1).cuda()
        grad = inputs(7 * (last - first), n, torch.float32).reshape(7, -1).cuda()
        shape = outcome_shape(output, first, last, n)
        grad = grad[:, : torch.Size(shape).numel()].reshape(7, *shape).contiguous()
        seed, table = (t.cuda() for t in noise("sobol", n))
        options = ("logistic", "sobol", False, 512, False, output, first, last)

        def step() -> tuple[Tensor, Tensor]:
            mean, _, _ = TESTED.sort(x, scale, seed, table, *options, "mean", 1 / 512, 0.0, "none")
            center = (mean * grad).flatten(1).sum(1)
            grad_x, _ = TESTED.sort_backward(
                grad, center, x, scale, seed, table, *options, 1 / 512, 0.0, False
            )
            return mean, grad_x

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = step()
        for value in (1, 2):
            seed.fill_(value)
            graph.replay()
            for a, b in zip(captured, step(), strict=True):
                if not torch.equal(a, b):
                    raise Mismatch(f"a replayed graph differs: {outcome} {n=} seed {value}")
        yield "cuda graph"


def grids(batch: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Weights like those of maps."""
    return (3 + inputs(batch, height * width, dtype)).reshape(batch, height, width)


def ends(height: int, width: int, neighbors: int) -> tuple[int, int, int, float]:
    """Neighbors, source, target and least weight."""
    n = height * width
    return neighbors, n // 5, n - 1, 0.5


def check_hard_shortest_path() -> Iterator[str]:
    """The same paths cell by cell: costs are the same bits, and ties have a rule."""
    for dtype, (height, width, neighbors) in itertools.product(DTYPES, [*GRIDS, HUGE_GRID]):
        rows = 9 if height < 100 else 2
        smooth = grids(rows, height, width, dtype)
        smooth[rows // 2, 0, 0] = float("nan")
        wide = 10 ** (smooth - 3)
        walls = torch.where(smooth > 3, 1e6, 1e-3).to(dtype)
        for kind, weights in (("smooth", smooth), ("ties", smooth.round()), ("wide", wide)):
            [expected], [got] = both("hard_shortest_path", weights, *ends(height, width, neighbors))
            if not torch.equal(expected.nan_to_num(-1), got.nan_to_num(-1)):
                raise Mismatch(f"hard_shortest_path: {kind} {height} x {width} {dtype}")
            yield "hard shortest path"
        [expected], [got] = both("hard_shortest_path", walls, neighbors, 0, 0, 0.0)
        assert_close("source is target", expected, got, 0.0)
        [expected], [got] = both("hard_shortest_path", walls, *ends(height, width, neighbors))
        if not torch.equal(expected, got):
            raise Mismatch(f"hard_shortest_path: walls {height} x {width} {dtype}")


def check_shortest_path() -> Iterator[str]:
    """Means and gradients from the same samples.

    Where the CPU has no fused multiply-add its noise differs in the last digits, and in float32 a
    sample in which two paths cost nearly the same may take the other one.
    """
    cases = itertools.product(LAWS, SAMPLERS, DTYPES, [*GRIDS, HUGE_GRID])
    for law, sampler, dtype, (height, width, neighbors) in cases:
        few = height * width > 200
        if few and (law, sampler) not in (("logistic", "mc"), ("gumbel", "sobol")):
            continue
        n, batch, antithetic = height * width, 1 if few else 3, width % 2 == 0
        s = points(sampler, n, 5 if few else 101) * (2 if antithetic else 1)
        x = grids(batch, height, width, dtype)
        if batch > 1:
            x[1, -1, 0] = float("inf")
        scale = torch.linspace(0.2, 0.4, n, dtype=dtype).expand(batch, n).contiguous()
        drawing = (x, scale, *noise(sampler, n), law, sampler, antithetic, s)
        arguments = (*drawing, *ends(height, width, neighbors))
        what = f"shortest path: {law} {sampler} {dtype} {height} x {width} {s=}"
        [expected], [got] = both("shortest_path", *arguments)
        assert_close(what, expected, got, 3 / s if dtype == torch.float32 else 1e-12)
        yield "shortest path"
        same = torch.equal(expected.nan_to_num(), got.nan_to_num())
        grad = grids(batch, height, width, dtype) - 3
        center = (grad * expected).nan_to_num().flatten(1).sum(1)
        for scale_gradient in (False, True):
            options = (1 / s, 0.01 if antithetic else 0.0, scale_gradient)
            expected_gradients, gradients = both(
                "shortest_path_backward", grad, center, *arguments, *options
            )
            for e, g in zip(expected_gradients, gradients, strict=True):
                if same:
                    assert_close(f"{what}, backward", e, g, 50 * tolerance(dtype))
            yield "shortest path backward"


def check_many_paths() -> Iterator[str]:
    """Sizes at which sums are cut into chunks, and empty ones."""
    for batch, height, width, s in [(1, 6, 7, 9001), (700, 3, 3, 37), (0, 4, 4, 8), (2, 0, 4, 8)]:
        x = grids(batch, height, width, torch.float64)
        n = height * width
        scale = torch.full((1, 1), 0.3, dtype=x.dtype)
        drawing = (x, scale, *noise("mc", n), "logistic", "mc", False, s)
        arguments = (*drawing, 8, 0, max(0, n - 1), 1e-3)
        [expected], [got] = both("shortest_path", *arguments)
        assert_close(f"many paths: {batch=} {s=}", expected, got, 1e-12)
        center = torch.zeros(batch, dtype=x.dtype)
        expected_gradients, gradients = both(
            "shortest_path_backward", x, center, *arguments, 1 / s, 0.0, True
        )
        for e, g in zip(expected_gradients, gradients, strict=True):
            assert_close(f"many paths, backward: {batch=} {s=}", e, g, 1e-11)
        yield "many paths"


CHECKS: list[Callable[[], Iterator[str]]] = [
    check_words,
    check_evaluate_law,
    check_perturb,
    check_reduce,
    check_sort,
    check_many_chunks,
    check_large_values,
    check_render,
    check_empty,
    check_too_many_elements,
    check_cuda_graph,
    check_hard_shortest_path,
    check_shortest_path,
    check_many_paths,
]


def compare() -> dict[str, Any]:
    load_libraries()
    result: dict[str, Any] = {"passed": True, "cases": {}, "mismatches": []}
    for check in CHECKS:
        try:
            for case in check():
                result["cases"][case] = result["cases"].get(case, 0) + 1
        except Exception as error:
            result["passed"] = False
            result["mismatches"].append(f"{check.__name__}: {type(error).__name__}: {error}"[:800])
    return result


# sanitize: a small call of every kernel under compute-sanitizer


def drive() -> None:
    """Every kernel once, at sizes that leave blocks and tiles partly filled."""
    load_libraries()
    for sampler, dtype in itertools.product(["mc", "rqmc_latin", "sobol"], DTYPES):
        for n in (1, 5, 8, 9, 33, 300):
            s, batch = 70, 3
            x, scale = inputs(batch, n, dtype), torch.ones(batch, n, dtype=dtype)
            options = ("logistic", sampler, False, s)
            arguments = on_device((x, scale, *noise(sampler, n)))
            # What differs between samplers is the drawing: of them one thing is enough.
            for outcome in OUTCOMES if sampler == "mc" else ["argsort"]:
                output, first, last = OUTCOMES[outcome](n)
                sorting = (*options, outcome != "argsort", output, first, last)
                TESTED.sort(*arguments, *sorting, "mean", 1.0, 0.0, "none")
                shape = (batch, *outcome_shape(output, first, last, n))
                grad, center = on_device((torch.ones(shape), torch.zeros(batch)))
                upstream = (grad.to(dtype), center.to(dtype))
                for scale_gradient in (False, True) if outcome == "argsort" else (True,):
                    TESTED.sort_backward(*upstream, *arguments, *sorting, 1.0, 0.0, scale_gradient)
            rows = batch * s - 3
            TESTED.words(*arguments[2:], sampler, False, s, n, 5, rows)
            TESTED.perturb(*arguments, *options, 5, rows)
            matrix = torch.ones(batch, n, n, dtype=dtype, device=DEVICE)
            TESTED.perturb(arguments[0], matrix, *arguments[2:], *options, 5, rows)
            for m, moment in [(1, "none"), (40, "diagonal"), (2, "outer" if n < 40 else "none")]:
                values, pivot = inputs(rows - 5, m, dtype), inputs(batch, m, dtype)
                TESTED.reduce(
                    *on_device((values, pivot)), *arguments[2:], *options, n, 0.5, moment, 5, rows
                )
        for height, width, neighbors in [(1, 1, 8), (5, 4, 4), (12, 12, 8), (40, 41, 8), HUGE_GRID]:
            n, s = height * width, 9 if height < 40 else 2
            x = grids(2, height, width, dtype)
            scale, center = torch.ones(2, n, dtype=dtype), torch.zeros(2, dtype=dtype)
            x, scale, center, *drawing = on_device((x, scale, center, *noise(sampler, n)))
            path = ends(height, width, neighbors)
            options = (*drawing, "logistic", sampler, False, s, *path)
            TESTED.hard_shortest_path(x, *path)
            TESTED.shortest_path(x, scale, *options)
            TESTED.shortest_path_backward(x, center, x, scale, *options, 1.0, 0.0, True)
        for (_, vertices, faces), output in itertools.product(
            meshes(dtype), ["silhouette", "depth", "lambert"]
        ):
            size = 300 if output == "lambert" else 33
            pose = torch.tensor([[3.0, 20.0, 40.0, 25.0], [0.3, 95.0, 3.0, 80.0]], dtype=dtype)
            scene = on_device((pose, vertices, faces))
            TESTED.hard_render(*scene, size, output)
            scale = torch.ones(1, 4, dtype=dtype, device=DEVICE)
            options = (scale, *on_device(noise(sampler, 4)), "logistic", sampler, False, 6, size)
            mean, _, _ = TESTED.render(*scene, *options, output, "mean", 1.0, 0.0, "none")
            center = mean[:, 0, 0].contiguous()
            TESTED.render_backward(mean, center, *scene, *options, output, 1.0, 0.0, True)
        for function in ("icdf", "cdf", "log_prob", "score"):
            TESTED.evaluate_law(inputs(1, 77, dtype).to(DEVICE), "gaussian", function)
    torch.cuda.synchronize()


def sanitize() -> dict[str, Any]:
    found = shutil.which("compute-sanitizer")
    candidates = (
        [Path(found)] if found else sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))
    )
    if not candidates:
        return {"passed": True, "skipped": "compute-sanitizer was not found"}
    result: dict[str, Any] = {"passed": True}
    for tool in ("memcheck", "racecheck"):
        command = [
            str(candidates[0]),
            "--tool",
            tool,
            "--error-exitcode",
            "9",
            "--kernel-name-exclude",
            "regex:at::",
            sys.executable,
            __file__,
            "--drive",
        ]
        # Without its own cache of memory torch asks the driver for each tensor, and what lies
        # beyond a tensor's end is nobody's.
        result[tool] = run(command, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
        result["passed"] &= result[tool]["passed"]
    return result


# bench


def milliseconds(call: Callable[[], object], seconds: float = 0.3) -> dict[str, float]:
    """Of one call, by events around each of many."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    stop = time.perf_counter() + seconds
    while len(times) < 10 or (time.perf_counter() < stop and len(times) < 2000):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        call()
        events[1].record()
        events[1].synchronize()
        times.append(events[0].elapsed_time(events[1]))
    times.sort()
    return {"min": times[0], "median": times[len(times) // 2], "calls": len(times)}


def graphed(call: Callable[[], object], seconds: float = 0.3) -> dict[str, float]:
    """Of one call in a CUDA graph of many, so that launches cost the host nothing."""
    inner = 10
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(inner):
            call()
    times = milliseconds(graph.replay, seconds)
    return {
        "min": times["min"] / inner,
        "median": times["median"] / inner,
        "calls": times["calls"] * inner,
    }


def bench() -> dict[str, Any]:
    load_libraries()
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from eager import EagerSmoothing, permutation_matrices

    rows: list[dict[str, Any]] = []

    def record(what: str, call: Callable[[], object], graph: bool = True) -> None:
        rows.append({"what": what, "plain": milliseconds(call)})
        if graph:
            rows[-1]["graph"] = graphed(call)

    torch.set_default_device("cuda")
    torch.manual_seed(0)
    seed = torch.tensor([1])
    scale = torch.ones(1, 1)
    tables = {"mc": torch.empty(0, 32, dtype=torch.int32), "sobol": directions(1024).cuda()}
    for outcome, law, sampler, b, n, s in [
        ("argsort", "logistic", "mc", 100, 5, 32768),
        ("argsort", "logistic", "mc", 100, 5, 1024),
        ("argsort", "logistic", "sobol", 100, 5, 32768),
        ("argsort", "gaussian", "mc", 100, 5, 32768),
        ("argsort", "wigner_semicircle", "mc", 100, 5, 32768),
        ("argsort", "logistic", "mc", 100, 3, 32768),
        ("argsort", "logistic", "mc", 100, 8, 32768),
        ("argsort", "logistic", "mc", 100, 16, 4096),
        ("argsort", "logistic", "mc", 16, 100, 4096),
        ("argsort", "logistic", "mc", 2, 1024, 1024),
        ("rank", "logistic", "mc", 100, 5, 32768),
        ("rank", "logistic", "sobol", 16, 100, 4096),
        ("rank", "logistic", "mc", 2, 1024, 1024),
        ("sort", "logistic", "mc", 100, 5, 32768),
        ("sort", "logistic", "mc", 16, 100, 4096),
        ("median", "logistic", "mc", 2, 1024, 1024),
        ("argmax", "gumbel", "mc", 100, 5, 32768),
        ("argmax", "gumbel", "mc", 16, 100, 4096),
        ("argmax", "gumbel", "mc", 2, 1024, 1024),
        ("topk", "logistic", "mc", 16, 100, 4096),
    ]:
        output, first, last = OUTCOMES[outcome](n)
        x, grad = torch.randn(b, n), torch.randn(b, *outcome_shape(output, first, last, n))
        options = (law, sampler, False, s, outcome in ("argmax", "topk"), output, first, last)
        noise_tensors = (scale, seed, tables[sampler][:n])

        def forward() -> Tensor:
            arguments = (*options, "mean", 1 / s, 0.0, "none")
            return TESTED.sort(x, *noise_tensors, *arguments)[0]

        def backward(center: Tensor) -> None:
            TESTED.sort_backward(grad, center, x, *noise_tensors, *options, 1 / s, 0.0, False)

        def forward_and_backward() -> None:
            backward((forward() * grad).flatten(1).sum(1))

        zero = torch.zeros(b)
        size = f"{law} {sampler} b={b} n={n} s={s}"
        record(f"{outcome} forward, {size}", forward)
        record(f"{outcome} backward, {size}", lambda: backward(zero))
        record(f"{outcome} forward + backward, {size}", forward_and_backward)
        rows[-1]["million sorts / s"] = b * s / rows[-1]["graph"]["min"] / 1e3
        if (outcome, n) == ("argsort", 5) and s == 32768 and (law, sampler) == ("logistic", "mc"):
            rows[-1]["goal / microseconds"] = GOAL
        if outcome == "argsort" and (law, sampler) == ("logistic", "mc") and b * s * n * n < 2e8:
            variable = x.clone().requires_grad_()

            def eager() -> None:
                matrix = EagerSmoothing.apply(variable, permutation_matrices, 1.0, s)
                torch.autograd.grad(matrix, variable, grad)

            record(f"eager forward + backward, {size}", eager, graph=False)
            ratio = rows[-1]["plain"]["min"]
            for row in rows:
                if row["what"] == f"argsort forward + backward, {size}":
                    row["eager / fused"] = ratio / row["plain"]["min"]

    for b, size, sampler, s in [
        (70, 12, "mc", 1000),
        (70, 12, "sobol", 1000),
        (70, 12, "mc", 10000),
        (10, 24, "mc", 1000),
        (10, 30, "mc", 1000),
        (2, 96, "mc", 128),
    ]:
        x, grad = 1 + 8 * torch.rand(b, size, size), torch.randn(b, size, size)
        table = directions(size * size).cuda() if sampler == "sobol" else tables["mc"]
        of_paths = (scale, seed, table, "logistic", sampler, False, s, *ends(size, size, 8))

        def paths() -> Tensor:
            return TESTED.shortest_path(x, *of_paths)

        def paths_and_back() -> None:
            center = (paths() * grad).flatten(1).sum(1)
            TESTED.shortest_path_backward(grad, center, x, *of_paths, 1 / s, 0.0, False)

        what = f"logistic {sampler} b={b} {size} x {size} s={s}"
        for name, call in (("forward", paths), ("forward + backward", paths_and_back)):
            record(f"shortest path {name}, {what}", call)
            rows[-1]["million paths / s"] = b * s / rows[-1]["graph"]["min"] / 1e3
    with torch.device("cpu"):
        mesh = tuple(t.cuda() for t in torus(35))
    spread = torch.tensor([[0.1, 5.0, 5.0, 0.25]])
    for output, size, b, s in [
        ("silhouette", 64, 768, 256),
        ("silhouette", 64, 1, 16384),
        ("lambert", 64, 64, 256),
        ("silhouette", 512, 16, 256),
        ("lambert", 256, 16, 256),
    ]:
        poses = torch.tensor([[3.0, 30.0, 40.0, 20.0]]).repeat(b, 1)
        options = (spread, seed, tables["mc"], "logistic", "mc", False, s, size, output)
        upstream, zero = torch.randn(b, size, size), torch.zeros(b)

        def both_passes() -> None:
            TESTED.render(poses, *mesh, *options, "none", 1 / s, 0.0, "none")
            TESTED.render_backward(upstream, zero, poses, *mesh, *options, 1 / s, 0.0, False)

        record(
            f"{output} forward + backward, 2450 triangles, {size=} {b=} {s=}",
            both_passes,
            graph=False,
        )
        rows[-1]["million images / s"] = b * s / rows[-1]["plain"]["min"] / 1e3

    for b, n, m, s in [
        (100, 5, 25, 1024),
        (100, 5, 1, 32768),
        (100, 100, 1, 1024),
        (16, 144, 144, 1024),
    ]:
        x, values, pivot = torch.randn(b, n), torch.randn(b * s, m), torch.zeros(b, m)
        options = ("logistic", "mc", False, s)
        record(
            f"perturb, b={b} n={n} s={s}",
            lambda: TESTED.perturb(x, scale, seed, tables["mc"], *options, 0, b * s),
        )
        record(
            f"reduce, b={b} n={n} m={m} s={s}",
            lambda: TESTED.reduce(
                values,
                pivot,
                seed,
                tables["mc"],
                *options,
                n,
                0.0,
                "none",
                0,
                b * s,
            ),
        )
        record(f"torch.randn, b={b} n={n} s={s}", lambda: torch.randn(b * s, n))
    return {"passed": True, "rows": rows}


# The parts, one after the other


PARTS = {"build": build, "test": test, "compare": compare, "sanitize": sanitize, "bench": bench}


def run_part(part: str, output: Path, seconds: float) -> dict[str, Any]:
    """In a process of its own; what is left of a part that fails is its output."""
    result_file = output / f".{part}.json"
    result_file.unlink(missing_ok=True)
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--run-part", part, "--output", str(output)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=seconds)
        reason = f"ended with status {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with what it started: compilers, the sanitizer
        text, _ = process.communicate()
        reason = f"stopped after {seconds:.0f} s"
    if result_file.exists():
        result = json.loads(result_file.read_text())
        result_file.unlink()
    else:
        result = {"passed": False, "reason": reason, "output": text[-6000:]}
    result["seconds"] = round(time.perf_counter() - begin, 1)
    return result


def describe(results: dict[str, Any]) -> str:
    lines = [f"{key}: {value}" for key, value in results["about"].items()]
    for part, result in results["parts"].items():
        verdict = "passed" if result["passed"] else "FAILED"
        lines += ["", f"{part}: {verdict} in {result['seconds']} s"]
        for key, value in result.items():
            if key in ("passed", "seconds", "status", "rows"):
                continue
            if isinstance(value, dict) and "output" in value:
                lines.append(
                    f"  {key}: {'passed' if value['passed'] else 'FAILED'}, {value['seconds']} s"
                )
                value = value["output"][-1500:]
            lines += [f"  {key}: " + str(value).strip().replace("\n", "\n    ")]
        for row in result.get("rows", []):
            times = [
                f"{kind} {row[kind]['min'] * 1e3:.1f} us (median {row[kind]['median'] * 1e3:.1f})"
                for kind in ("plain", "graph")
                if kind in row
            ]
            others = [f"{k}: {v:.4g}" for k, v in row.items() if isinstance(v, float)]
            lines.append(f"  {row['what']}: " + ", ".join(times + others))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated; default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "gpu")
    parser.add_argument("--run-part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive()
        return 0
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.run_part:
        result = PARTS[options.run_part]()
        (options.output / f".{options.run_part}.json").write_text(json.dumps(result))
        return 0
    parts = options.parts.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if parts != ["build"] and not torch.cuda.is_available():
        print("There is no GPU that torch can use here: only --parts build can run.")
        return 2
    results: dict[str, Any] = {"about": about(), "parts": {}}
    deadline = time.perf_counter() + TOTAL_BUDGET
    for part in parts:
        # A build alone may take its time: machines without a GPU often have few cores.
        left = max(1.0, deadline - time.perf_counter())
        seconds = 1800 if parts == ["build"] else min(BUDGETS[part], left)
        print(f"{part} ...", flush=True)
        results["parts"][part] = run_part(part, options.output, seconds)
        # Written after each part: what is done is not lost if this process is stopped.
        (options.output / "gpu_check.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.output / "gpu_check.txt").write_text(describe(results))
    print(describe(results))
    return 0 if all(result["passed"] for result in results["parts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
