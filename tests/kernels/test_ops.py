"""The compiled ops against their schemas, their plain PyTorch twins and scipy.

Words are equal to the twins' bit for bit. What follows from them differs by rounding: errors are
measured in units of the type's eps times the sum of the absolute values of all terms, which bounds
what any order of summation can lose.
"""

import inspect
import itertools
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from laws import FACTS, SCIPY
from torch import Tensor

import torchsmooth as ts
from torchsmooth._kernels import library, reference as reference
from torchsmooth.distributions import LAWS
from torchsmooth.samplers import SAMPLERS


ROOT = Path(__file__).parents[2]
OPS = torch.ops.torchsmooth

# Around what the kernels distinguish: rows of 8 and 16 weights, 24 elements that are ranked by
# counting, 25 that go through the network, blocks of 32 samples.
SIZES = [0, 1, 2, 3, 5, 7, 8, 9, 24, 25, 33, 100]
DTYPES = [torch.float32, torch.float64]
ELEMENTS = 3
SAMPLES = 36  # a block of 32 and a piece; pairs of pairs
SEED = -0x0123456789ABCDEF


def sampling(
    n: int,
    num_samples: int = SAMPLES,
    sampler: str = "mc",
    antithetic: bool = False,
    seed: int = SEED,
) -> dict[str, Any]:
    """The arguments that all ops that draw have in common."""
    return {
        "seed": torch.tensor(seed),
        "directions": SAMPLERS[sampler].directions(n, torch.device("cpu")),
        "sampler": sampler,
        "antithetic": antithetic,
        "num_samples": num_samples,
    }


def scale_of(shape: str, n: int, dtype: torch.dtype) -> Tensor:
    """Scales in [0.5, 1], or invertible matrices."""
    matrix = shape.endswith("nn")
    batch = ELEMENTS if shape.startswith("B") else 1
    if matrix:
        return torch.randn(batch, n, n, dtype=dtype) / max(n, 1) ** 0.5 + torch.eye(n, dtype=dtype)
    return 0.5 + 0.5 * torch.rand(batch, n if shape.endswith("n") else 1, dtype=dtype)


def jacobians(device: torch.device, *wanted: str) -> tuple[str, ...]:
    """Those that the device has: on CUDA the samples are drawn again instead."""
    return wanted if device.type == "cpu" else ("none",)


def on(device: torch.device, arguments: dict[str, Any]) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in arguments.items()}


def run(name: str, device: torch.device, **arguments: Any) -> tuple[Tensor, ...]:
    """The outputs of an op, on the CPU."""
    outputs = getattr(OPS, name)(**on(device, arguments))
    return tuple(t.cpu() for t in (outputs if isinstance(outputs, tuple) else (outputs,)))


def twin(name: str, **arguments: Any) -> tuple[Tensor, ...]:
    outputs = getattr(reference, name)(**arguments)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def assert_within(actual: Tensor, expected: Tensor, terms: Tensor | float, roundings: int) -> None:
    """Equal up to so many roundings of the sum of the absolute values of all terms."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    bound = roundings * torch.finfo(actual.dtype).eps * torch.as_tensor(terms, dtype=torch.float64)
    error = (actual.double() - expected.double()).abs()
    assert (error <= bound).all(), f"{(error / bound).max() * roundings:.1f} roundings"


def draws(law: str, n: int, arguments: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, and the sizes of both weights and of what cancels in them: [ELEMENTS, s, n] each."""
    s = arguments["num_samples"]
    word = reference.words(**arguments, n=n, start=0, stop=ELEMENTS * s)
    noise, score, _ = reference.draw_weights(law, word, torch.float64, 0.0)
    sizes = (noise, 1 + score.abs(), 1 + (score * noise).abs())
    return tuple(t.reshape(ELEMENTS, s, n) for t in sizes)


# --- schemas ---------------------------------------------------------------------------------


def schema_table() -> dict[str, str]:
    """The schemas of csrc/ops/schemas.cpp by the names of the ops."""
    source = (ROOT / "csrc" / "ops" / "schemas.cpp").read_text()
    definitions = re.findall(r'm\.def\(((?:\s*"[^"]*")+)\)', source)
    schemas = ["".join(re.findall(r'"([^"]*)"', definition)) for definition in definitions]
    return {schema.split("(")[0]: schema for schema in schemas}


NAMES = sorted(schema_table())


def test_all_schemas_are_registered() -> None:
    prefix = "torchsmooth::"
    registered = {
        name.removeprefix(prefix)
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith(prefix)
    }
    assert registered == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_schema(name: str) -> None:
    assert str(getattr(OPS, name).default._schema) == f"torchsmooth::{schema_table()[name]}"


@pytest.mark.parametrize("name", NAMES)
def test_kernels(name: str, device: torch.device) -> None:
    kernel = "CPU" if name in library.TWINS_ON_CUDA else device.type.upper()
    for key in (kernel, "Meta", "CompositeExplicitAutograd", "Autograd"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"torchsmooth::{name}", key), key


@pytest.mark.parametrize("name", NAMES)
def test_twin_has_the_arguments_of_the_schema(name: str) -> None:
    arguments = [argument.name for argument in getattr(OPS, name).default._schema.arguments]
    assert list(inspect.signature(getattr(reference, name)).parameters) == arguments


def examples(name: str) -> list[dict[str, Any]]:
    """Arguments for an op, as different as its branches."""
    n, elements, s = 4, ELEMENTS, 8
    x = torch.randn(elements, n)
    rows = {"start": 3, "stop": elements * s - 2}
    count = rows["stop"] - rows["start"]
    sobol = sampling(n, s, "sobol", antithetic=True)
    sorting = {"x": x, "law": "gumbel", "num_samples": s, "descending": False, "factor": 1 / s}
    outcomes = [
        ({"output": "matrix", "first": 1, "last": 3}, (2, n)),
        ({"output": "values", "first": 0, "last": n}, (n,)),
        ({"output": "ranks", "first": 0, "last": n}, (n,)),
    ]
    vector, matrix = scale_of("Bn", n, torch.float32), scale_of("nn", n, torch.float32)
    if name == "words":
        return [
            {**sampling(n, s, "mc"), "n": n, **rows},
            {**sampling(n, 16, "rqmc_cartesian"), "n": n, **rows},
            {**sobol, "n": n, "start": 0, "stop": 0},
        ]
    if name == "perturb":
        return [
            {"x": x, "scale": scale, "law": "gumbel", **sobol, **rows} for scale in (vector, matrix)
        ]
    if name == "reduce":
        return [
            {
                "values": torch.randn(count, 2),
                "pivot": torch.randn(elements, 2),
                "law": "cauchy",
                **sobol,
                "n": n,
                "pair_weight": 0.5,
                "moment": moment,
                **rows,
            }
            for moment in ("none", "diagonal", "outer")
        ]
    if name == "sort":
        return [
            {
                **sorting,
                **sobol,
                **outcome,
                "scale": vector,
                "pair_weight": 0.5,
                "baseline": baseline,
                "jacobian": jacobian,
            }
            for baseline, jacobian in (("none", "none"), ("fx", "x"), ("mean", "x_and_scale"))
            for outcome, _ in outcomes
        ]
    if name == "sort_backward":
        return [
            {
                **sorting,
                **sobol,
                **outcome,
                "scale": vector,
                "pair_weight": 0.5,
                "grad": torch.randn(elements, *shape),
                "baseline": torch.randn(elements),
                "scale_gradient": scale_gradient,
            }
            for scale_gradient in (False, True)
            for outcome, shape in outcomes
        ]
    if name.startswith("order_statistics"):
        row = {"x": x, "scale": vector, "law": "logistic", "descending": True}
        if name == "order_statistics":
            return [{**row, **outcome} for outcome, _ in outcomes]
        return [
            {
                **row,
                **outcome,
                "grad": torch.randn(elements, *shape),
                "scale_gradient": scale_gradient,
            }
            for scale_gradient in (False, True)
            for outcome, shape in outcomes
        ]
    if name.endswith("render") or name == "render_backward":
        mesh = {"vertices": torch.randn(6, 3), "faces": torch.arange(6, dtype=torch.int32)}
        mesh["faces"] = mesh["faces"].reshape(2, 3)
        pose = torch.tensor([[3.0, 10.0, 20.0, 30.0]]).expand(elements, 4) + x
        noise = {**sobol, "law": "gumbel", "scale": vector}
        estimator = {"factor": 1 / s, "pair_weight": 0.5}
        backward = {"grad": torch.randn(elements, 16, 16), "baseline": torch.randn(elements)}
        jacobian = {"silhouette": "none", "depth": "x", "lambert": "x_and_scale"}
        return [
            {
                **mesh,
                "size": 16,
                "output": output,
                **({"pose": pose} if name == "hard_render" else {"x": pose, **noise}),
                **{
                    "hard_render": {},
                    "render": {**estimator, "baseline": "fx", "jacobian": jacobian[output]},
                    "render_backward": {**estimator, **backward, "scale_gradient": scale},
                }[name],
            }
            for output, scale in (("silhouette", False), ("depth", True), ("lambert", True))
        ]
    grids = torch.rand(elements, 2, 2)
    ends = {"source": 1, "target": 3, "min_weight": 1e-3}
    finding = {"x": grids, "scale": vector, **sobol, "law": "gumbel", "neighbors": 4, **ends}
    if name == "hard_shortest_path":
        return [{"weights": grids, "neighbors": neighbors, **ends} for neighbors in (4, 8)]
    if name == "hard_shortest_path_graph":
        graph = {"indptr": torch.tensor([0, 2, 3, 4, 4]), "indices": torch.tensor([1, 2, 3, 3])}
        return [{"weights": torch.rand(elements, 4), **graph, **ends}]
    if name == "shortest_path":
        return [finding, {**finding, "neighbors": 8}]
    if name == "shortest_path_backward":
        return [
            {
                **finding,
                "grad": torch.randn_like(grids),
                "baseline": torch.randn(elements),
                "factor": 1 / s,
                "pair_weight": 0.5,
                "scale_gradient": scale_gradient,
            }
            for scale_gradient in (False, True)
        ]
    assert name == "evaluate_law", f"give examples of the arguments of {name}"
    return [{"x": x, "law": law, "function": "log_prob"} for law in ("gaussian", "triangular")]


@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name: str, device: torch.device) -> None:
    for arguments in examples(name):
        if "jacobian" in arguments:
            (arguments["jacobian"],) = jacobians(device, arguments["jacobian"])
        torch.library.opcheck(getattr(OPS, name).default, (), on(device, arguments))


@pytest.mark.parametrize(
    "name, argument",
    [
        ("perturb", "x"),
        ("perturb", "scale"),
        ("reduce", "values"),
        ("sort", "x"),
        ("sort_backward", "grad"),
        ("hard_shortest_path", "weights"),
        ("hard_shortest_path_graph", "weights"),
        ("shortest_path", "x"),
        ("shortest_path_backward", "grad"),
        ("hard_render", "pose"),
        ("render", "x"),
        ("render_backward", "grad"),
        ("evaluate_law", "x"),
    ],
)
def test_ops_have_no_silent_gradient(name: str, argument: str, device: torch.device) -> None:
    arguments = on(device, examples(name)[-1])
    if "jacobian" in arguments:
        arguments["jacobian"] = "none"
    arguments[argument].requires_grad_()
    outputs = getattr(OPS, name)(**arguments)
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    with pytest.raises(RuntimeError, match=f"torch.ops.torchsmooth.{name} is a building block"):
        first.sum().backward()


@pytest.mark.parametrize("name", NAMES)
def test_ops_refuse_vmap(name: str, device: torch.device) -> None:
    arguments = on(device, examples(name)[0])
    tensor = next(k for k, v in arguments.items() if isinstance(v, Tensor))
    mapped = torch.stack([arguments[tensor]] * 2)
    with pytest.raises(NotImplementedError, match="as a batch dimension instead"):
        torch.vmap(lambda t: getattr(OPS, name)(**{**arguments, tensor: t}))(mapped)


# --- words -----------------------------------------------------------------------------------


@st.composite
def ranges_of_words(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `words`, with ranges that begin and end anywhere."""
    sampler = draw(st.sampled_from(sorted(SAMPLERS)))
    antithetic = draw(st.booleans())
    if sampler.endswith("cartesian"):
        n = draw(st.integers(0, 6))
        points = draw(st.integers(1, {0: 100, 1: 100, 2: 12, 3: 6}.get(n, 3))) ** max(n, 1)
    else:
        n = draw(st.integers(0, 40))
        points = draw(st.integers(1, 150))
    num_samples = 2 * points if antithetic else points
    start = draw(st.integers(0, 4 * num_samples))
    return {
        **sampling(n, num_samples, sampler, antithetic, draw(st.integers(-(2**63), 2**63 - 1))),
        "n": n,
        "start": start,
        "stop": start + draw(st.integers(0, 3 * num_samples)),
    }


@given(arguments=ranges_of_words())
def test_words_are_the_twins(arguments: dict[str, Any], device: torch.device) -> None:
    torch.testing.assert_close(run("words", device, **arguments), twin("words", **arguments))


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_words_of_many_samples_and_far_elements(
    sampler: str, antithetic: bool, device: torch.device
) -> None:
    """The last of 2^30 samples of the last batch elements that 32 bits can number."""
    s = 2**30
    if antithetic and sampler.endswith("cartesian"):
        s = 2 * 22000**2
    n = 2 if sampler.endswith("cartesian") else 5
    last = (2**32 - 1) * s
    arguments = {**sampling(n, s, sampler, antithetic), "n": n}
    for start in (0, s - 7, last - 5, last + s - 10):
        rows = {"start": start, "stop": start + 10}
        torch.testing.assert_close(
            run("words", device, **arguments, **rows), twin("words", **arguments, **rows)
        )


def test_elements_that_32_bits_cannot_number_are_refused() -> None:
    """They would repeat the words of element 0."""
    arguments = {**sampling(3, 4), "n": 3, "start": 2**34 - 4, "stop": 2**34 + 1}
    with pytest.raises(RuntimeError, match="words: needs 0 <= start <= stop <= B"):
        run("words", torch.device("cpu"), **arguments)
    with pytest.raises(ValueError, match="batch elements 0 to 2\\^32 - 1"):
        twin("words", **arguments)
    for impossible in ((2**32 + 1,), (2**40, 2**40), (-1, 2)):
        with pytest.raises(ValueError, match="batch_shape must be of at most 2\\^32 elements"):
            ts.MonteCarlo().uniforms(4, 1, batch_shape=impossible, seed=0)


def test_no_dimensions_take_no_time() -> None:
    arguments = {**sampling(0, 2**30), "n": 0, "start": 0, "stop": 2**62}
    (words,) = run("words", torch.device("cpu"), **arguments)
    assert words.shape == (2**62, 0)


def test_rows_that_overflow_are_refused() -> None:
    x = torch.zeros(4, 1)
    arguments = {**sampling(1, 2**62), "law": "logistic", "scale": torch.ones(1, 1)}
    for name, others in (
        ("perturb", {"x": x}),
        ("reduce", {"values": x, "pivot": x, "n": 1, "pair_weight": 0.0, "moment": "none"}),
    ):
        rest = {k: v for k, v in arguments.items() if name == "perturb" or k != "scale"}
        with pytest.raises(RuntimeError, match=r"num_samples must be in \[1, 2\^30\]"):
            run(name, torch.device("cpu"), **rest, **others, start=0, stop=4)


def matrix_of_a_sort(x: Tensor, jacobian: str) -> dict[str, Any]:
    return {
        "x": x,
        "scale": torch.ones(1, 1),
        **sampling(x.shape[1], 4),
        "law": "logistic",
        "descending": False,
        "output": "matrix",
        "first": 0,
        "last": x.shape[1],
        "baseline": "mean",
        "factor": 1.0,
        "pair_weight": 0.0,
        "jacobian": jacobian,
    }


def test_what_no_memory_holds_is_refused_by_name() -> None:
    """How much, what for, what to lower; nothing of the machine that built the library."""
    with pytest.raises(RuntimeError) as caught:
        run("sort", torch.device("cpu"), **matrix_of_a_sort(torch.zeros(1, 20_000), "x"))
    message = str(caught.value)
    assert "out of memory: the derivatives of the sorted outcome would take 3.2e+04 GB" in message
    assert "pass fewer or shorter rows" in message
    assert "site-packages" not in message and str(Path(torch.__file__).parent) not in message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_a_permutation_matrix_takes_the_memory_of_two() -> None:
    """Its counts and itself: 2 * 256 MB for 8000 elements, and half as much again for the rest."""
    code = """
import resource
import torch
import torchsmooth as ts
x = torch.arange(8000.0)
ts.functional.argsort(x[:10], ts.Logistic(), num_samples=4, seed=0)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 768 * 10**6, -1))
matrix = ts.functional.argsort(x, ts.Logistic(scale=1e-6), num_samples=4, seed=0)
assert torch.equal(matrix.argmax(-1), torch.arange(8000))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_chunks_of_words_are_those_of_the_whole(
    sampler: str, antithetic: bool, device: torch.device
) -> None:
    n, points = 2, 49
    s = 2 * points if antithetic else points
    arguments = {**sampling(n, s, sampler, antithetic), "n": n}
    (whole,) = run("words", device, **arguments, start=0, stop=5 * s)
    for step in (1, 3, 32, 33, s + 1):
        cuts = [*range(0, 5 * s, step), 5 * s]
        chunks = [
            run("words", device, **arguments, start=start, stop=stop)[0]
            for start, stop in itertools.pairwise(cuts)
        ]
        torch.testing.assert_close(torch.cat(chunks), whole, rtol=0, atol=0)


# --- laws ------------------------------------------------------------------------------------


def quantiles(law: str, word: np.ndarray) -> np.ndarray:
    """icdf((word + 1/2) / 2^32), each tail from its own end."""
    lower = (word + 0.5) / 2**32
    upper = (2**32 - 1 - word + 0.5) / 2**32
    return np.where(word < 2**31, SCIPY[law].ppf(lower), SCIPY[law].isf(upper))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
def test_noise_is_the_quantile_of_the_word(
    law: str, dtype: torch.dtype, device: torch.device
) -> None:
    """Of the extremes of two million words, and of some between them."""
    s = 2**21
    arguments = {**sampling(1, s), "start": 0, "stop": s}
    zero, one = torch.zeros(1, 1, dtype=dtype), torch.ones(1, 1, dtype=dtype)
    (word,) = run("words", device, **arguments, n=1)
    (noise,) = run("perturb", device, x=zero, scale=one, law=law, **arguments)
    order = word.squeeze(1).argsort()
    tails, between = torch.cat([order[:50], order[-50:]]), order[:: s // 1000]
    for rows, least in ((between, 1.0), (tails, 0.0)):
        expected = torch.tensor(quantiles(law, word[rows].numpy()))
        assert_within(noise[rows], expected.to(dtype), least + expected.abs(), 16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
def test_functions_of_laws(law: str, dtype: torch.dtype, device: torch.device) -> None:
    eps = torch.finfo(dtype).eps
    p = np.concatenate([10.0 ** np.arange(-9, -1), np.linspace(0.02, 0.48, 24)])
    u = torch.tensor(np.concatenate([p, 1 - p, [0.5]]), dtype=dtype)
    x = torch.tensor(np.concatenate([SCIPY[law].ppf(p), SCIPY[law].isf(p)]), dtype=dtype)
    functions = {
        "icdf": (u[u < 1], SCIPY[law].ppf),
        "cdf": (x, SCIPY[law].cdf),
        "log_prob": (x, SCIPY[law].logpdf),
        "score": (x[x.abs() < 1] if FACTS[law].is_compact else x, FACTS[law].score),
    }
    for function, (argument, expected) in functions.items():
        (actual,) = run("evaluate_law", device, x=argument, law=law, function=function)
        np.testing.assert_allclose(
            actual.double().numpy(),
            expected(argument.double().numpy()),
            rtol=100 * eps,
            atol=16 * eps,
            err_msg=function,
        )


@pytest.mark.parametrize("function", ["icdf", "cdf", "log_prob", "score"])
@pytest.mark.parametrize("law", LAWS)
def test_functions_of_laws_are_the_twins(law: str, function: str, device: torch.device) -> None:
    x = torch.rand(1000, dtype=torch.float64)
    arguments = {"x": x, "law": law, "function": function}
    (actual,), (expected,) = (
        run("evaluate_law", device, **arguments),
        twin("evaluate_law", **arguments),
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


# --- perturb ---------------------------------------------------------------------------------


def perturbing(
    law: str, n: int, dtype: torch.dtype, scale: str = "11", **options: Any
) -> dict[str, Any]:
    return {
        "x": torch.randn(ELEMENTS, n, dtype=dtype),
        "scale": scale_of(scale, n, dtype),
        "law": law,
        **sampling(n, **options),
        "start": 0,
        "stop": ELEMENTS * options.get("num_samples", SAMPLES),
    }


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
def test_perturb(law: str, dtype: torch.dtype, n: int, device: torch.device) -> None:
    arguments = perturbing(law, n, dtype)
    (actual,), (expected,) = run("perturb", device, **arguments), twin("perturb", **arguments)
    assert_within(actual, expected, 1 + expected.double().abs(), 16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", ["11", "1n", "B1", "Bn", "1nn", "Bnn"])
@pytest.mark.parametrize("n", [1, 3, 9])
def test_perturb_scales(n: int, scale: str, dtype: torch.dtype, device: torch.device) -> None:
    arguments = perturbing("cauchy", n, dtype, scale, antithetic=True, sampler="rqmc_latin")
    (actual,), (expected,) = run("perturb", device, **arguments), twin("perturb", **arguments)
    noise, _, _ = draws("cauchy", n, {k: arguments[k] for k in sampling(n)})
    largest = 1 + noise.abs().sum(-1).flatten()[:, None] * arguments["scale"].abs().max()
    assert_within(actual, expected, largest, 16)


@pytest.mark.parametrize("scale", ["Bn", "Bnn"])
def test_chunks_of_perturb_are_those_of_the_whole(scale: str, device: torch.device) -> None:
    arguments = perturbing("logistic", 3, torch.float32, scale, sampler="sobol", num_samples=64)
    (whole,) = run("perturb", device, **arguments)
    for step in (1, 5, 32, 65, 4096):
        cuts = [*range(0, len(whole), step), len(whole)]
        chunks = [
            run("perturb", device, **{**arguments, "start": start, "stop": stop})[0]
            for start, stop in itertools.pairwise(cuts)
        ]
        torch.testing.assert_close(torch.cat(chunks), whole, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_perturb_keeps_bad_numbers_apart(bad: float, device: torch.device) -> None:
    arguments = perturbing("gaussian", 4, torch.float32, "Bn")
    (clean,) = run("perturb", device, **arguments)
    arguments["x"][1, 2] = bad
    (actual,) = run("perturb", device, **arguments)
    clean.view(ELEMENTS, SAMPLES, 4)[1, :, 2] = bad
    torch.testing.assert_close(actual, clean, rtol=0, atol=0, equal_nan=True)


# --- reduce ----------------------------------------------------------------------------------


def reducing(
    law: str,
    n: int,
    dtype: torch.dtype,
    *,
    columns: int = 2,
    pair_weight: float = 0.0,
    moment: str = "diagonal",
    start: int = SAMPLES // 2 + 1,
    stop: int = ELEMENTS * SAMPLES - 3,
    **options: Any,
) -> dict[str, Any]:
    return {
        "values": 10 + torch.randn(stop - start, columns, dtype=dtype),
        "pivot": 10 + torch.randn(ELEMENTS, columns, dtype=dtype),
        "law": law,
        **sampling(n, **options),
        "n": n,
        "pair_weight": pair_weight,
        "moment": moment,
        "start": start,
        "stop": stop,
    }


def assert_reduce_is_the_twins(device: torch.device, arguments: dict[str, Any]) -> None:
    law, n, start, stop = (arguments[k] for k in ("law", "n", "start", "stop"))
    element = torch.arange(start, stop) // SAMPLES
    centered = (arguments["values"] - arguments["pivot"][element]).abs().double()
    centered = torch.cat([centered, torch.ones(len(centered), 1)], 1)
    noise, score, _ = (
        t.flatten(0, 1)[start:stop] for t in draws(law, n, {k: arguments[k] for k in sampling(n)})
    )
    product = 1 + score.unsqueeze(2) * noise.abs().unsqueeze(1)
    if arguments["moment"] == "diagonal":
        product = product.diagonal(dim1=1, dim2=2)
    moments = product.flatten(1) if arguments["moment"] != "none" else product[:, :0, 0]

    def terms(weight: Tensor) -> Tensor:  # [elements, M + 1, weights]
        each = (1 + 2 * arguments["pair_weight"]) * torch.einsum("rm,rk->rmk", centered, weight)
        return each.new_zeros(ELEMENTS, *each.shape[1:]).index_add(0, element, each)

    actual, expected = run("reduce", device, **arguments), twin("reduce", **arguments)
    for a, e, weight in zip(actual, expected, (score, moments), strict=True):
        assert_within(a, e, terms(weight), 16)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS)
def test_reduce(law: str, dtype: torch.dtype, n: int, device: torch.device) -> None:
    assert_reduce_is_the_twins(device, reducing(law, n, dtype))


@pytest.mark.parametrize("moment", ["none", "diagonal", "outer"])
@pytest.mark.parametrize("pair_weight", [0.0, 0.25])
@pytest.mark.parametrize("columns", [0, 1, 15, 16, 40])
def test_reduce_options(
    columns: int, pair_weight: float, moment: str, device: torch.device
) -> None:
    """Few and many columns take different loops; Gumbel noise is not antisymmetric."""
    for n, dtype in itertools.product((1, 4, 9), DTYPES):
        arguments = reducing(
            "gumbel",
            n,
            dtype,
            columns=columns,
            pair_weight=pair_weight,
            moment=moment,
            antithetic=True,
        )
        assert_reduce_is_the_twins(device, arguments)


@pytest.mark.parametrize(
    "start, stop",
    [(0, 0), (0, 1), (SAMPLES, 2 * SAMPLES), (SAMPLES - 1, SAMPLES + 1), (5, 7), (70, 108)],
)
def test_reduce_ranges(start: int, stop: int, device: torch.device) -> None:
    arguments = reducing("logistic", 3, torch.float64, start=start, stop=stop)
    actual, expected = run("reduce", device, **arguments), twin("reduce", **arguments)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e)


def test_reduce_keeps_bad_numbers_apart(device: torch.device) -> None:
    arguments = reducing("logistic", 3, torch.float32, start=0, stop=ELEMENTS * SAMPLES)
    clean = run("reduce", device, **arguments)
    arguments["values"][SAMPLES + 3, 1] = math.nan
    for actual, expected in zip(run("reduce", device, **arguments), clean, strict=True):
        expected[1, 1] = math.nan
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


# --- sorting ---------------------------------------------------------------------------------

# What can be asked of n sorted elements: output, first and last position.
OUTCOMES: dict[str, Callable[[int], tuple[str, int, int]]] = {
    "argsort": lambda n: ("matrix", 0, n),
    "argmax": lambda n: ("matrix", 0, min(n, 1)),
    "topk": lambda n: ("matrix", 0, (n + 1) // 2),
    "rows": lambda n: ("matrix", n // 3, n),
    "sort": lambda n: ("values", 0, n),
    "median": lambda n: ("values", n // 2, min(n, n // 2 + 1)),
    "rank": lambda n: ("ranks", 0, n),
}


def sorting(
    law: str,
    n: int,
    dtype: torch.dtype,
    *,
    outcome: str = "argsort",
    scale: str = "Bn",
    descending: bool = False,
    pair_weight: float = 0.0,
    **options: Any,
) -> dict[str, Any]:
    """The arguments that both sorting ops take."""
    output, first, last = OUTCOMES[outcome](n)
    return {
        "x": torch.randn(ELEMENTS, n, dtype=dtype),
        "scale": scale_of(scale, n, dtype),
        "law": law,
        **sampling(n, **options),
        "descending": descending,
        "output": output,
        "first": first,
        "last": last,
        "factor": 1 / options.get("num_samples", SAMPLES),
        "pair_weight": pair_weight,
    }


def outcome_shape(arguments: dict[str, Any]) -> tuple[int, ...]:
    positions = arguments["last"] - arguments["first"]
    n = arguments["x"].shape[1]
    return (positions, n) if arguments["output"] == "matrix" else (positions,)


def sorting_terms(arguments: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Bounds of the sums [B, 1], [B, n], [B, n] of an outcome and its derivatives.

    What is summed is at most 1 for a matrix, n for ranks, and for values the largest distance of
    two values; values themselves add their own size.
    """
    n, s = arguments["x"].shape[1], arguments["num_samples"]
    noise, score, moment = draws(arguments["law"], n, {k: arguments[k] for k in sampling(n)})
    scale = arguments["scale"].double()
    points = arguments["x"].double().unsqueeze(1) + scale.unsqueeze(1) * noise
    reach = 1 + 2 * points.abs().amax((1, 2)).unsqueeze(1) if n else torch.ones(ELEMENTS, 1)
    size = {"matrix": torch.ones(ELEMENTS, 1), "ranks": 1.0 + n * torch.ones(ELEMENTS, 1)}.get(
        arguments["output"], reach
    )
    by = (1 + 2 * arguments["pair_weight"]) * arguments["factor"] / scale * size
    return s * arguments["factor"] * size, by * score.sum(1), by * moment.sum(1)


def assert_sort_is_the_twins(
    device: torch.device, arguments: dict[str, Any], baseline: str = "mean"
) -> None:
    in_value, in_x, in_scale = sorting_terms(arguments)
    shape = outcome_shape(arguments)
    ones = (1,) * len(shape)
    for jacobian in jacobians(device, "none", "x", "x_and_scale"):
        options = {"baseline": baseline, "jacobian": jacobian}
        actual = run("sort", device, **arguments, **options)
        expected = twin("sort", **arguments, **options)
        assert actual[0].shape == (ELEMENTS, *shape)
        # Counts are integers; only the quotient is rounded.
        exact = arguments["output"] == "matrix"
        assert_within(
            actual[0], expected[0], 1.0 if exact else in_value.view(-1, *ones), 1 if exact else 16
        )
        for a, e, terms in zip(actual[1:], expected[1:], (in_x, in_scale), strict=True):
            if e.ndim == 1:  # not asked for
                assert a.shape == e.shape == (0,)
            else:
                assert_within(a, e, terms.view(ELEMENTS, *ones, -1), 16)


def assert_backward_is_the_twins(device: torch.device, arguments: dict[str, Any]) -> None:
    elements, _ = arguments["x"].shape
    grad = torch.randn(elements, *outcome_shape(arguments)).to(arguments["x"].dtype)
    size = 1 + grad.double().abs().flatten(1).sum(1)
    baseline = torch.rand(elements).to(grad)
    _, *gradient_terms = sorting_terms(arguments)
    for scale_gradient in (False, True):
        options = {"grad": grad, "baseline": baseline, "scale_gradient": scale_gradient}
        actual = run("sort_backward", device, **arguments, **options)
        expected = twin("sort_backward", **arguments, **options)
        for a, e, terms in zip(actual, expected, gradient_terms, strict=True):
            assert_within(a, e, (terms * size[:, None])[:, : e.shape[1]], 16)


# In float32 some of many elements come so close that rounding decides their order: the kernels'
# sorting itself is compared with their own noise below, for all sizes.
@pytest.mark.parametrize(
    "dtype, n",
    [(dtype, n) for dtype in DTYPES for n in SIZES if dtype == torch.float64 or n < 10],
)
@pytest.mark.parametrize("law", LAWS)
def test_argsort(law: str, dtype: torch.dtype, n: int, device: torch.device) -> None:
    arguments = sorting(law, n, dtype)
    assert_sort_is_the_twins(device, arguments)
    assert_backward_is_the_twins(device, arguments)


@pytest.mark.parametrize(
    "dtype, n",
    [(dtype, n) for dtype in DTYPES for n in SIZES if dtype == torch.float64 or n < 10],
)
@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome != "argsort"])
def test_outcomes(outcome: str, dtype: torch.dtype, n: int, device: torch.device) -> None:
    for baseline, descending in itertools.product(("none", "fx", "mean"), (False, True)):
        arguments = sorting("logistic", n, dtype, outcome=outcome, descending=descending)
        assert_sort_is_the_twins(device, arguments, baseline)
        assert_backward_is_the_twins(device, arguments)


# So many that the sums of a task are flushed before its end.
@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 6])
@pytest.mark.parametrize("outcome", ["argsort", "rows", "sort"])
def test_sorts_of_many_samples(outcome: str, n: int, device: torch.device) -> None:
    arguments = sorting("logistic", n, torch.float64, outcome=outcome, num_samples=3 * 4096 + 100)
    assert_sort_is_the_twins(device, arguments)


@pytest.mark.parametrize("scale", ["11", "1n", "B1", "Bn"])
@pytest.mark.parametrize("n", [1, 3, 7, 8, 25])
@pytest.mark.parametrize("outcome", ["argsort", "sort"])
def test_sort_scales(outcome: str, n: int, scale: str, device: torch.device) -> None:
    arguments = sorting("laplace", n, torch.float64, outcome=outcome, scale=scale)
    assert_sort_is_the_twins(device, arguments)
    assert_backward_is_the_twins(device, arguments)


@pytest.mark.parametrize("baseline", ["none", "fx", "mean"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("pair_weight", [0.0, 0.25])
@pytest.mark.parametrize("n", [1, 4, 9, 26])
@pytest.mark.parametrize("outcome", ["argsort", "rank"])
def test_sort_options(
    outcome: str, n: int, pair_weight: float, descending: bool, baseline: str, device: torch.device
) -> None:
    for sampler, antithetic in itertools.product(("mc", "sobol"), (False, True)):
        arguments = sorting(
            "gumbel",
            n,
            torch.float64,
            outcome=outcome,
            descending=descending,
            pair_weight=pair_weight,
            sampler=sampler,
            antithetic=antithetic,
        )
        assert_sort_is_the_twins(device, arguments, baseline)
        assert_backward_is_the_twins(device, arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("n", [*SIZES, 300])
def test_sorts_what_perturb_makes(
    n: int, descending: bool, dtype: torch.dtype, device: torch.device
) -> None:
    """Means over the very same perturbed points, which numpy sorts."""
    arguments = sorting("logistic", n, dtype, descending=descending)
    drawing = {k: arguments[k] for k in ("x", "scale", "law", *sampling(n))}
    (points,) = run("perturb", device, **drawing, start=0, stop=ELEMENTS * SAMPLES)
    sign = -1 if descending else 1
    order = np.argsort(sign * points.numpy(), axis=-1, kind="stable")
    one_hot = np.eye(n)[order]
    expected = {
        "argsort": one_hot,
        "argmax": one_hot[:, : min(n, 1)],
        "sort": sign * np.sort(sign * points.double().numpy(), axis=-1),
        "rank": np.argsort(order, axis=-1) + 1.0,
    }
    for outcome, samples in expected.items():
        output, first, last = OUTCOMES[outcome](n)
        arguments |= {"output": output, "first": first, "last": last}
        (mean, _, _) = run("sort", device, **arguments, baseline="none", jacobian="none")
        wanted = samples.reshape(ELEMENTS, SAMPLES, *samples.shape[1:]).mean(1)
        np.testing.assert_allclose(mean.numpy(), wanted, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_ties_go_to_the_lower_index(
    n: int, descending: bool, dtype: torch.dtype, device: torch.device
) -> None:
    """Noise too small to change the integers, so that equal ones stay equal."""
    x = torch.randint(1, max(2, n // 3), (ELEMENTS, n)).to(dtype)
    order = np.argsort(-x.numpy() if descending else x.numpy(), axis=1, kind="stable")
    expected = {
        "argsort": np.eye(n)[order],
        "argmax": np.eye(n)[order[:, :1]],
        "topk": np.eye(n)[order[:, : (n + 1) // 2]],
        "rank": np.argsort(order, axis=1) + 1,
        "sort": np.take_along_axis(x.numpy(), order, axis=1),
    }
    for outcome, wanted in expected.items():
        arguments = sorting("logistic", n, dtype, outcome=outcome, descending=descending)
        arguments |= {"x": x, "scale": torch.full((1, 1), 1e-30, dtype=dtype)}
        for jacobian in jacobians(device, "none", "x"):
            (mean, *_) = run("sort", device, **arguments, baseline="mean", jacobian=jacobian)
            np.testing.assert_array_equal(mean, wanted)


@pytest.mark.parametrize("outcome", ["sort", "median"])
@pytest.mark.parametrize("n", [3, 9, 40])
def test_large_values_keep_their_digits(outcome: str, n: int, device: torch.device) -> None:
    """Values are counted from the unperturbed ones: x + c has the derivatives of x.

    What the perturbed points themselves lose, 2^-24 of c or 2^-11 of the noise here, remains.
    """
    arguments = sorting("gaussian", n, torch.float32, outcome=outcome, scale="11")
    arguments["x"] = torch.randint(0, 3 * n, (ELEMENTS, n)).float()
    shifted = arguments | {"x": arguments["x"] + 2.0**13}
    options = {"baseline": "mean", "jacobian": "none"}
    (mean, _, _), (far, _, _) = (run("sort", device, **a, **options) for a in (arguments, shifted))
    torch.testing.assert_close(far, mean + 2.0**13, rtol=0, atol=2e-3)
    grad = torch.ones(ELEMENTS, *outcome_shape(arguments))
    _, bound, _ = sorting_terms(arguments)
    gradients = [
        run(
            "sort_backward",
            device,
            **a,
            grad=grad,
            baseline=(grad * value).sum(1),
            scale_gradient=False,
        )[0]
        for a, value in ((arguments, mean), (shifted, far))
    ]
    assert ((gradients[1] - gradients[0]).abs() <= 2e-3 * grad.shape[1] * bound).all()
    if "x" in jacobians(device, "x"):
        (_, in_x, _), (_, far_in_x, _) = (
            run("sort", device, **a, baseline="mean", jacobian="x") for a in (arguments, shifted)
        )
        assert ((far_in_x - in_x).abs() <= 2e-3 * bound.unsqueeze(1)).all()


@pytest.mark.parametrize("outcome", ["argsort", "argmax", "sort", "rank"])
@pytest.mark.parametrize("n", [1, 5, 9, 30])
@pytest.mark.parametrize(
    "argument, bad",
    [
        ("x", math.nan),
        ("x", math.inf),
        ("x", -math.inf),
        ("scale", math.nan),
        ("scale", math.inf),
        ("scale", 0.0),
    ],
)
def test_sort_keeps_bad_numbers_apart(
    argument: str, bad: float, n: int, outcome: str, device: torch.device
) -> None:
    arguments = sorting("logistic", n, torch.float32, outcome=outcome)
    forward = {"baseline": "fx", "jacobian": jacobians(device, "x_and_scale")[0]}
    backward = {
        "grad": torch.randn(ELEMENTS, *outcome_shape(arguments)),
        "baseline": torch.randn(ELEMENTS),
        "scale_gradient": True,
    }

    def outputs() -> tuple[Tensor, ...]:
        return (
            *run("sort", device, **arguments, **forward),
            *run("sort_backward", device, **arguments, **backward),
        )

    clean = outputs()
    arguments[argument][1, n - 1] = bad
    for actual, expected in zip(outputs(), clean, strict=True):
        expected[1] = math.nan
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    for actual, expected in zip(
        outputs(),
        (*twin("sort", **arguments, **forward), *twin("sort_backward", **arguments, **backward)),
        strict=True,
    ):
        assert (actual.isnan() == expected.isnan()).all()


@pytest.mark.parametrize("elements, n", [(0, 3), (0, 0), (2, 0)])
def test_empty(elements: int, n: int, device: torch.device) -> None:
    s = 8
    x, one = torch.ones(elements, n), torch.ones(1, 1)
    common = {"x": x, "scale": one, "law": "gaussian", **sampling(n, s)}
    matrix = {"output": "matrix", "first": 0, "last": n}
    options = {"descending": False, **matrix, "factor": 1.0, "pair_weight": 0.0}
    (points,) = run("perturb", device, **common, start=0, stop=elements * s)
    assert points.shape == (elements * s, n)
    (jacobian,) = jacobians(device, "x_and_scale")
    outputs = run("sort", device, **common, **options, baseline="mean", jacobian=jacobian)
    shapes = [(elements, *(n,) * k) for k in (2, 3, 3)]
    assert [t.shape for t in outputs] == (shapes if jacobian != "none" else [shapes[0], (0,), (0,)])
    outputs = run(
        "sort_backward",
        device,
        **common,
        **options,
        grad=torch.ones(elements, n, n),
        baseline=torch.ones(elements),
        scale_gradient=True,
    )
    assert [t.shape for t in outputs] == [(elements, n)] * 2
    scores, moments = run(
        "reduce",
        device,
        values=torch.ones(elements * s, 2),
        pivot=torch.ones(elements, 2),
        law="gaussian",
        **sampling(n, s),
        n=n,
        pair_weight=0.0,
        moment="outer",
        start=0,
        stop=elements * s,
    )
    assert scores.shape == (elements, 3, n) and moments.shape == (elements, 3, n * n)


# --- the same bits whoever computes them -----------------------------------------------------


def all_outputs(device: torch.device, elements: int, s: int, n: int) -> dict[str, Tensor]:
    """What every op that draws makes of one problem."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(elements, n, generator=generator)
    common = {"law": "gumbel", **sampling(n, s, "sobol", antithetic=True)}
    values = torch.randn(elements * s, 2, generator=generator)
    rows = {"start": 0, "stop": elements * s}
    scaled = {"x": x, "scale": torch.ones(1, 1), **common}
    pivot = torch.zeros(elements, 2)
    outputs = {
        "words": run("words", device, **sampling(n, s, "rqmc_latin"), n=n, **rows),
        "perturb": run("perturb", device, **scaled, **rows),
        "reduce": run(
            "reduce",
            device,
            values=values,
            pivot=pivot,
            **common,
            n=n,
            pair_weight=0.5,
            moment="outer",
            **rows,
        ),
    }
    for outcome, positions in OUTCOMES.items():
        output, first, last = positions(n)
        options = {"descending": False, "output": output, "first": first, "last": last}
        options |= {"factor": 1 / s, "pair_weight": 0.5}
        shape = (last - first, n) if output == "matrix" else (last - first,)
        for jacobian in jacobians(device, "none", "x_and_scale"):
            outputs[f"{outcome} {jacobian}"] = run(
                "sort", device, **scaled, **options, baseline="mean", jacobian=jacobian
            )
        outputs[f"{outcome} backward"] = run(
            "sort_backward",
            device,
            **scaled,
            **options,
            grad=torch.randn(elements, *shape, generator=generator),
            baseline=torch.zeros(elements),
            scale_gradient=True,
        )
    return {f"{name}.{i}": t for name, group in outputs.items() for i, t in enumerate(group)}


@pytest.mark.parametrize(
    "elements, s, n", [(1, 2**17, 3), (1, 2**14 + 2, 9), (3, 20000, 5), (70, 300, 5), (2, 64, 40)]
)
def test_threads_do_not_change_a_bit(
    elements: int, s: int, n: int, threads: Callable[[int], None]
) -> None:
    """Also where one batch element is cut into segments for several threads."""
    cpu = torch.device("cpu")
    threads(1)
    alone = all_outputs(cpu, elements, s, n)
    for count in (2, 3):
        threads(count)
        torch.testing.assert_close(all_outputs(cpu, elements, s, n), alone, rtol=0, atol=0)


def test_two_runs_are_equal(device: torch.device) -> None:
    first, second = (all_outputs(device, 3, 1000, 6) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.processes
@pytest.mark.parametrize("isa", ["baseline", "avx2"])
def test_instruction_sets_agree(isa: str, tmp_path: Path) -> None:
    """Words bit for bit; the rest to the rounding of multiply-adds."""
    script = (
        "import sys, torch, test_ops\n"
        "torch.save(test_ops.all_outputs(torch.device('cpu'), 3, 1000, 6), sys.argv[1])\n"
    )
    path = tmp_path / "outputs.pt"
    folders = (Path(ts.__file__).parents[1], ROOT / "tests" / "kernels", ROOT / "tests")
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={
            **os.environ,
            "TORCHSMOOTH_CPU": isa,
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
        },
        capture_output=True,
        text=True,
    )
    if f"this machine has no {isa}" in result.stderr:
        pytest.skip(f"no {isa} here")
    assert result.returncode == 0, result.stderr
    other, own = torch.load(path), all_outputs(torch.device("cpu"), 3, 1000, 6)
    torch.testing.assert_close(other["words.0"], own["words.0"], rtol=0, atol=0)
    torch.testing.assert_close(other, own, rtol=1e-4, atol=1e-4)
