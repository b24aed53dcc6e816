"""What bad input gets: the right exception, in one sentence that says which argument is wrong, what
came, and what to do; and results that stay right where the input is only unusual.
"""

import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributions

import torchsmooth as ts
from torchsmooth import samplers


OPS = torch.ops.torchsmooth
X = torch.zeros(2, 3)


def argsort(x: Any = X, distribution: Any = ts.Gaussian(), **options: Any) -> Tensor:
    return ts.functional.argsort(x, distribution, **{"num_samples": 8, **options})


def smooth(
    x: Any = X,
    distribution: Any = ts.Gaussian(),
    *args: Any,
    f: Any = lambda y, *args: y.sign(),
    **options: Any,
) -> Any:
    return ts.smooth(f, distribution, **{"num_samples": 8, **options})(x, *args)


def assert_raises(error: type[Exception], parts: tuple[str, ...], call: Callable[[], Any]) -> None:
    """The message has all parts, in one sentence."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert "\n" not in message and not message.endswith(".")


# --- arguments that all smoothed functions share ---------------------------------------------

SHARED = {
    "x is a list": (
        {"x": [1.0]},
        TypeError,
        ("x must be a torch.Tensor", "got list", "torch.as_tensor(x)"),
    ),
    "x is of integers": (
        {"x": torch.tensor([1, 2])},
        TypeError,
        ("x must be a floating-point tensor", "got torch.int64", "x.float()"),
    ),
    "x is complex": (
        {"x": X.to(torch.complex64)},
        TypeError,
        ("x must be a floating-point tensor", "got torch.complex64", "x.real"),
    ),
    "distribution is a name": (
        {"distribution": "gaussian"},
        TypeError,
        ("distribution must be a distribution of torchsmooth", "got str", "ts.Logistic(scale=0.3)"),
    ),
    "distribution is a class": (
        {"distribution": ts.Gumbel},
        TypeError,
        ("distribution must be", "got the class Gumbel", "ts.Gumbel(scale=0.3)"),
    ),
    "distribution is torch's": (
        {"distribution": distributions.Normal(0.0, 1.0)},
        TypeError,
        ("distribution must be", "got Normal", "ts.FromTorch(law)"),
    ),
    "num_samples is 0": (
        {"num_samples": 0},
        ValueError,
        ("num_samples must be at least 1", "got 0", "pass for example 1024"),
    ),
    "num_samples is negative": (
        {"num_samples": -3},
        ValueError,
        ("num_samples must be at least 1", "got -3", "pass for example 1024"),
    ),
    "num_samples is a float": (
        {"num_samples": 8.0},
        TypeError,
        ("num_samples must be an int", "got 8.0", "pass for example 1024"),
    ),
    "num_samples is a bool": (
        {"num_samples": True},
        TypeError,
        ("num_samples must be an int", "got True", "pass for example 1024"),
    ),
    "num_samples is huge": (
        {"num_samples": 2**31},
        ValueError,
        ("num_samples must be at most 2**30", "got 2147483648", "several seeds"),
    ),
    "leave one out of one": (
        {"num_samples": 1},
        ValueError,
        ("num_samples must be at least 2", "'loo'", "got 1", "use covariate='fx' or 'none'"),
    ),
    "odd and antithetic": (
        {"num_samples": 7, "antithetic": True},
        ValueError,
        ("num_samples must be even", "antithetic=True", "got 7", "pass 8"),
    ),
    "leave one pair out of one": (
        {"num_samples": 2, "antithetic": True},
        ValueError,
        ("num_samples must be at least 4", "antithetic=True", "got 2", "use covariate='fx'"),
    ),
    "cartesian": (
        {"num_samples": 20, "sampler": "rqmc_cartesian"},
        ValueError,
        ("num_samples must be k**n", "n = 3", "got 20", "8 or 27", "'sobol'"),
    ),
    "cartesian and antithetic": (
        {"num_samples": 20, "sampler": "qmc_cartesian", "antithetic": True},
        ValueError,
        ("num_samples must be 2 k**n", "got 20", "16 or 54", "'sobol'"),
    ),
    "sampler is unknown": (
        {"sampler": "halton"},
        ValueError,
        ("sampler must be one of", "'rqmc_latin'", "'sobol'", "got 'halton'"),
    ),
    "sampler is a class": (
        {"sampler": ts.Sobol},
        TypeError,
        ("sampler must be one of", "got <class", "a sampler such as Sobol()"),
    ),
    "antithetic is a word": (
        {"antithetic": "yes"},
        TypeError,
        ("antithetic must be True or False", "got 'yes'", "pass one of the two"),
    ),
    "covariate is unknown": (
        {"covariate": "mean"},
        ValueError,
        ("covariate must be one of 'none', 'fx', 'loo'", "got 'mean'", "pass 'loo'"),
    ),
    "seed is a float": (
        {"seed": 1.5},
        TypeError,
        ("seed must be an int, None, or an int64 tensor", "got 1.5", "pass for example 0"),
    ),
    "seed is a tensor of floats": (
        {"seed": torch.tensor(1.0)},
        TypeError,
        ("seed must be", "got one of torch.float32", ".long()"),
    ),
    "seed is several": (
        {"seed": torch.tensor([1, 2])},
        ValueError,
        ("seed must be", "one element", "got one of shape (2,)", "noise of their own"),
    ),
    "seed has more than 64 bits": (
        {"seed": 2**63},
        ValueError,
        ("seed must fit into 64 signed bits", f"got {2**63}", "modulo 2**63"),
    ),
    "scale does not fit the event": (
        {"distribution": ts.Gaussian(torch.ones(4))},
        ValueError,
        ("scale must broadcast against the event, [3]", "got shape [4]", "reshape it"),
    ),
    "scale does not fit the batch": (
        {"distribution": ts.Gaussian(torch.ones(3, 3))},
        ValueError,
        ("scale must broadcast against batch x event, [2, 3]", "got shape [3, 3]", "reshape it"),
    ),
    "scale is elsewhere": (
        {"distribution": ts.Gaussian(torch.ones(3, device="meta"))},
        ValueError,
        ("scale must be on the device of x, cpu", "got meta", "scale.to(x.device)"),
    ),
    "scale_matrix does not fit the event": (
        {"distribution": ts.Gaussian(scale_matrix=torch.eye(2))},
        ValueError,
        ("scale_matrix must have shape [..., 3, 3]", "got [2, 2]", "pass another matrix"),
    ),
    "scale_matrix does not fit the batch": (
        {"distribution": ts.Gaussian(scale_matrix=torch.eye(3).expand(4, 3, 3))},
        ValueError,
        ("scale_matrix must broadcast", "[2, 3, 3]", "got shape [4, 3, 3]", "reshape it"),
    ),
    "the law's batch does not fit the event": (
        {"distribution": ts.FromTorch(distributions.Normal(torch.zeros(2), torch.ones(2)))},
        ValueError,
        ("distribution must have a batch_shape that fits", "got (2,)", "(3,)", "expand it"),
    ),
}


@pytest.mark.parametrize("case", SHARED)
@pytest.mark.parametrize("function", [argsort, smooth])
def test_shared_arguments(function: Callable[..., Any], case: str) -> None:
    options, error, parts = SHARED[case]
    assert_raises(error, parts, lambda: function(**options))


@pytest.mark.parametrize("function", [ts.hard.argsort, argsort])
@pytest.mark.parametrize(
    "options, error, parts",
    [
        ({"dim": 2}, ValueError, ("dim must be in [-2, 1]", "got 2", "pass for example -1")),
        ({"dim": -3}, ValueError, ("dim must be in [-2, 1]", "got -3", "pass for example -1")),
        ({"dim": 1.0}, TypeError, ("dim must be an int", "got 1.0", "pass for example -1")),
        ({"dim": None}, TypeError, ("dim must be an int", "got None", "pass for example -1")),
        (
            {"x": torch.tensor(1.0)},
            ValueError,
            ("x must have at least one dimension", "scalar", "x.reshape(1)"),
        ),
        ({"descending": "yes"}, TypeError, ("descending must be True or False", "got 'yes'")),
    ],
)
def test_arguments_of_sorting(
    function: Callable[..., Any],
    options: dict[str, Any],
    error: type[Exception],
    parts: tuple[str, ...],
) -> None:
    assert_raises(error, parts, lambda: function(**{"x": X, **options}))


@pytest.mark.parametrize("x", [[1.0], torch.tensor([1, 2])])
def test_exact_algorithms_check_their_input(x: Any) -> None:
    assert_raises(TypeError, ("x must be a",), lambda: ts.hard.argsort(x))


# --- arguments of smooth, and what f returns -------------------------------------------------

SMOOTH = {
    "f is no function": (
        {"f": 3},
        TypeError,
        ("f must be callable", "got int", "@ts.smooth(distribution=..., num_samples=...)"),
    ),
    "f is the distribution": (
        {"f": ts.Gaussian()},
        TypeError,
        ("f must be callable", "got Gaussian", "a decorator names its arguments"),
    ),
    "event_dim is negative": (
        {"event_dim": -1},
        ValueError,
        ("event_dim must be at least 0", "got -1", "pass for example 1"),
    ),
    "event_dim is a float": (
        {"event_dim": 1.5},
        TypeError,
        ("event_dim must be an int", "got 1.5", "pass for example 1"),
    ),
    "x has too few dimensions": (
        {"event_dim": 3},
        ValueError,
        ("x must have at least event_dim=3 dimensions", "got shape [2, 3]", "a smaller event_dim"),
    ),
    "chunk_size is 0": (
        {"chunk_size": 0},
        ValueError,
        ("chunk_size must be at least 1", "got 0", "pass for example"),
    ),
    "chunk_size is a float": (
        {"chunk_size": 1.5},
        TypeError,
        ("chunk_size must be an int", "got 1.5", "pass for example"),
    ),
    "vectorized is a word": (
        {"vectorized": "no"},
        TypeError,
        ("vectorized must be True or False", "got 'no'", "pass one of the two"),
    ),
    "statistic is unknown": (
        {"statistic": "median"},
        ValueError,
        ("statistic must be 'mean', ts.Median(k) or ts.Covariance()", "got 'median'", "pass"),
    ),
    "statistic is a class": (
        {"statistic": ts.Median},
        TypeError,
        ("statistic must be 'mean', ts.Median(k)", "got <class", "pass for example ts.Median(3)"),
    ),
    "statistic is a number": (
        {"statistic": 0.5},
        TypeError,
        ("statistic must be 'mean', ts.Median(k)", "got 0.5", "pass for example ts.Median(3)"),
    ),
    "fewer samples than the median takes": (
        {"statistic": ts.Median(9), "covariate": "none"},
        ValueError,
        ("num_samples must be at least 9", "statistic=Median(k=9)", "got 8", "pass for example"),
    ),
    "no sample without which a median is left": (
        {"statistic": ts.Median(9), "num_samples": 9},
        ValueError,
        ("num_samples must be at least 10", "'loo'", "Median(k=9)", "got 9", "use covariate='fx'"),
    ),
    "no sample without which a covariance is left": (
        {"statistic": ts.Covariance(), "num_samples": 2},
        ValueError,
        ("num_samples must be at least 3", "'loo'", "Covariance()", "got 2", "use covariate='fx'"),
    ),
    "covariance of several tensors": (
        {"statistic": ts.Covariance(), "f": lambda y: {"a": y, "b": y}},
        ValueError,
        ("f must return one tensor", "Covariance()", "{'a': ..., 'b': ...}", "concatenate"),
    ),
    "executor is a number": (
        {"executor": 4},
        TypeError,
        ("executor must be a concurrent.futures.Executor", "got 4", "ThreadPoolExecutor(8)"),
    ),
    "executor is a class": (
        {"executor": ThreadPoolExecutor},
        TypeError,
        ("executor must be", "got <class 'concurrent", "ThreadPoolExecutor(8)"),
    ),
    "process_group is a word": (
        {"process_group": "gloo"},
        TypeError,
        ("process_group must be a group of torch.distributed", "got 'gloo'", "group.WORLD"),
    ),
    "process_group is the list of its ranks": (
        {"process_group": [0, 1]},
        TypeError,
        ("process_group must be", "got [0, 1]", "after init_process_group"),
    ),
    "too few rows": (
        {"f": lambda y: y[:3]},
        ValueError,
        ("f must map [m, *event] to [m, *out]", "[16, 3]", "shape [3, 3]", "vectorized=False"),
    ),
    "one number for all rows": (
        {"f": lambda y: y.sum()},
        ValueError,
        ("f must map", "[16, 3] to [16, ...]", "shape []", "vectorized=False"),
    ),
    "nothing": (
        {"f": lambda y: None},
        TypeError,
        ("f must return tensors", "got NoneType", "convert it"),
    ),
    "a word": ({"f": lambda y: "a"}, TypeError, ("f must return tensors", "got str", "convert it")),
    "words": (
        {"f": lambda y: np.array(["a"] * len(y))},
        TypeError,
        ("f must return tensors", "got ndarray", "convert it"),
    ),
    "an empty structure": (
        {"f": lambda y: ()},
        TypeError,
        ("f must return a tensor", "got ()", "one tensor at least"),
    ),
    "complex numbers": (
        {"f": lambda y: y.to(torch.complex64)},
        TypeError,
        ("f must return real numbers", "got torch.complex64", "torch.view_as_real"),
    ),
    "a tensor elsewhere": (
        {"f": lambda y: y.to("meta")},
        ValueError,
        ("f must return tensors on the device of x, cpu", "got meta", ".to(x.device)"),
    ),
    "nothing to learn the shape from": (
        {"x": torch.zeros(0, 3), "vectorized": False},
        ValueError,
        ("x must not be empty with vectorized=False", "got no event", "pass vectorized=True"),
    ),
}


@pytest.mark.parametrize("case", SMOOTH)
def test_arguments_of_smooth(case: str) -> None:
    options, error, parts = SMOOTH[case]
    assert_raises(error, parts, lambda: smooth(**options))


@pytest.mark.parametrize(
    "k, error, parts",
    [
        (4, ValueError, ("k must be odd", "got 4", "pass for example 5")),
        (0, ValueError, ("k must be at least 1", "got 0", "pass for example 3")),
        (-3, ValueError, ("k must be at least 1", "got -3", "pass for example 3")),
        (3.0, TypeError, ("k must be an int", "got 3.0", "pass for example 3")),
        (True, TypeError, ("k must be an int", "got True", "pass for example 3")),
    ],
)
def test_samples_of_a_median(k: Any, error: type[Exception], parts: tuple[str, ...]) -> None:
    assert_raises(error, parts, lambda: ts.Median(k))


def in_turn(*functions: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Another function in every call."""
    calls = iter(functions)
    return lambda y: next(calls)(y)


@pytest.mark.parametrize(
    "options", [{"chunk_size": 8}, {"chunk_size": 1, "vectorized": False}], ids=["chunks", "single"]
)
def test_outputs_must_not_change_between_calls(options: dict[str, Any]) -> None:
    single = "vectorized" in options

    def ones(*shape: int) -> Callable[[Tensor], Tensor]:
        return lambda y: torch.ones(shape if single else (len(y), *shape))

    assert_raises(
        ValueError,
        ("f must return the same shape in every call", "[m, 3] first", "[m, 4]", "pad"),
        lambda: smooth(f=in_turn(ones(3), ones(4)), **options),
    )
    assert_raises(
        ValueError,
        ("f must return the same shape", "[m] first", "[m, 2]", "a chunk of", "pad"),
        lambda: smooth(f=in_turn(ones(), ones(2)), **options),
    )
    assert_raises(
        ValueError,
        (
            "f must return the same structure",
            "(...,) first",
            "[...]",
            "a chunk of",
            "one structure",
        ),
        lambda: smooth(
            f=in_turn(lambda y: (ones()(y),), lambda y: [ones()(y)]),
            **options,
        ),
    )


def test_outputs_must_not_change_within_a_chunk() -> None:
    options = {"vectorized": False, "chunk_size": 8}
    assert_raises(
        ValueError,
        ("f must return the same shape in every call", "[3] first", "[4] later", "pad"),
        lambda: smooth(f=in_turn(*[lambda y: y] * 7, lambda y: torch.ones(4)), **options),
    )
    assert_raises(
        ValueError,
        ("f must return the same structure", "... first", "{'a': ...} later", "one structure"),
        lambda: smooth(f=in_turn(*[lambda y: y] * 7, lambda y: {"a": y}), **options),
    )


@pytest.mark.parametrize(
    "arg, came", [(torch.ones(3), "[3]"), (torch.tensor(1.0), "[]"), (torch.ones(3, 2), "[3, 2]")]
)
def test_arguments_of_f_must_be_per_example(arg: Tensor, came: str) -> None:
    parts = (
        "args[1] must start with the batch dimensions of x, [2]",
        f"got shape {came}",
        "expand it",
    )
    assert_raises(ValueError, parts, lambda: smooth(X, ts.Gaussian(), torch.ones(2), arg))


# --- distributions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scale, error, came, remedy",
    [
        (0, ValueError, "got 0", "pass a number such as 0.1"),
        (-1.0, ValueError, "got -1.0", "pass a number such as 0.1"),
        (math.nan, ValueError, "got nan", "pass a number such as 0.1"),
        (math.inf, ValueError, "got inf", "pass a number such as 0.1"),
        ("1", TypeError, "got '1'", "pass a float or a tensor"),
        (True, TypeError, "got True", "pass a float or a tensor"),
        (torch.tensor([1.0, -1.0]), ValueError, "shape (2,)", "log_scale.exp()"),
        (torch.tensor(0.0), ValueError, "shape ()", "log_scale.exp()"),
        (torch.tensor(math.nan), ValueError, "shape ()", "log_scale.exp()"),
        (torch.tensor(1), TypeError, "got a torch.int64 tensor", ".float()"),
    ],
)
def test_scale(scale: Any, error: type[Exception], came: str, remedy: str) -> None:
    expected = "scale must be a number or a floating-point tensor, finite and positive"
    assert_raises(error, (expected, came, remedy), lambda: ts.Laplace(scale))


@pytest.mark.parametrize(
    "matrix, error, came, remedy",
    [
        (torch.ones(2, 2), ValueError, "singular", "add a multiple of the identity"),
        (torch.eye(2) * math.nan, ValueError, "NaN or infinite", "check where"),
        (torch.ones(2, 3), ValueError, "shape (2, 3)", "for one scale per dimension use scale="),
        (torch.ones(2), ValueError, "shape (2,)", "for one scale per dimension use scale="),
        (torch.eye(2).long(), TypeError, "torch.int64", ".float()"),
        (2.0, TypeError, "got 2.0", "pass a tensor, or a number as scale="),
    ],
)
def test_scale_matrix(matrix: Any, error: type[Exception], came: str, remedy: str) -> None:
    expected = "scale_matrix must be a finite, invertible floating-point tensor"
    assert_raises(error, (expected, came, remedy), lambda: ts.Laplace(scale_matrix=matrix))


def test_scale_and_scale_matrix() -> None:
    assert_raises(
        ValueError,
        ("scale and scale_matrix exclude each other", "both were given", "multiply the matrix"),
        lambda: ts.Laplace(1.0, scale_matrix=torch.eye(2)),
    )


@pytest.mark.parametrize(
    "law",
    [
        distributions.Uniform(0.0, 1.0),
        distributions.Exponential(1.0),
        distributions.HalfNormal(1.0),
        distributions.HalfCauchy(1.0),
        distributions.Pareto(1.0, 1.0),
        distributions.Poisson(1.0),
    ],
    ids=lambda law: type(law).__name__,
)
def test_laws_without_a_continuous_density(law: distributions.Distribution) -> None:
    parts = (
        "distribution must have a continuous density",
        type(law).__name__,
        "the gradient is undefined",
        "use Triangular or another law",
    )
    assert_raises(ValueError, parts, lambda: ts.FromTorch(law))


# --- the second line of defence --------------------------------------------------------------


def noise_arguments(**changes: Any) -> dict[str, Any]:
    return {
        "x": torch.ones(2, 3),
        "scale": torch.ones(1, 1),
        "seed": torch.tensor(0),
        "directions": ts.Sobol().directions(3, torch.device("cpu")),
        "law": "gaussian",
        "sampler": "sobol",
        "antithetic": False,
        "num_samples": 8,
        "start": 0,
        "stop": 16,
        **changes,
    }


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"law": "uniform"}, "law: no kernel for 'uniform'"),
        ({"sampler": "halton"}, "sampler: no kernel for 'halton'"),
        ({"num_samples": 0, "stop": 0}, "num_samples must be in [1, 2^30], got 0"),
        ({"num_samples": 2**31}, "num_samples must be in [1, 2^30]"),
        ({"num_samples": 2**62}, "num_samples must be in [1, 2^30]"),
        ({"num_samples": 7, "antithetic": True, "stop": 14}, "num_samples must be even"),
        ({"num_samples": 20, "sampler": "qmc_cartesian"}, "needs k^3 points, got 20"),
        ({"seed": torch.tensor(0.0)}, "seed must be an int64 tensor of one element"),
        ({"seed": torch.tensor([0, 1])}, "seed must be an int64 tensor of one element"),
        ({"directions": torch.zeros(2, 32, dtype=torch.int32)}, "directions must be"),
        ({"directions": torch.zeros(3, 32)}, "directions must be"),
        ({"scale": torch.ones(3, 1)}, "scale must be contiguous of shape [1 or 2, 1 or 3]"),
        ({"scale": torch.ones(2, 3).double()}, "scale must have x's dtype"),
        ({"scale": torch.ones(3, 2, 3)}, "scale matrix must be"),
        ({"scale": torch.ones(3, 2).t()}, "scale must be contiguous"),
        ({"x": torch.ones(3, 2).t()}, "x must be contiguous"),
        ({"x": torch.ones(3)}, "x must be [B, n], got 1"),
        ({"x": torch.ones(2, 3).half(), "scale": torch.ones(1, 1).half()}, "float32 or float64"),
        ({"start": -1}, "needs 0 <= start <= stop"),
        ({"start": 5, "stop": 4}, "needs 0 <= start <= stop"),
        ({"stop": 17}, "stop <= B * num_samples"),
    ],
)
def test_ops_check_their_arguments(changes: dict[str, Any], part: str) -> None:
    """Nothing that Python lets through makes a kernel read out of bounds."""
    assert OPS.perturb(**noise_arguments()).shape == (16, 3)
    with pytest.raises(RuntimeError) as caught:
        OPS.perturb(**noise_arguments(**changes))
    assert part in str(caught.value)


def sorting_arguments(**changes: Any) -> dict[str, Any]:
    matrix = {"output": "matrix", "first": 0, "last": 3}
    arguments = {"descending": False, **matrix, "factor": 1.0, "pair_weight": 0.0, **changes}
    return {k: v for k, v in noise_arguments(**arguments).items() if k not in ("start", "stop")}


@pytest.mark.parametrize(
    "op, arguments, part",
    [
        ("sort", sorting_arguments(baseline="median", jacobian="x"), "baseline: no such value"),
        ("sort", sorting_arguments(baseline="fx", jacobian="y"), "jacobian: no such value"),
        (
            "sort",
            sorting_arguments(output="order", baseline="fx", jacobian="x"),
            "output: no such value",
        ),
        (
            "sort",
            sorting_arguments(last=4, baseline="fx", jacobian="x"),
            "positions must lie in [0, 3), got [0, 4)",
        ),
        (
            "sort",
            sorting_arguments(output="ranks", first=1, baseline="fx", jacobian="x"),
            "ranks are there for all positions only",
        ),
        (
            "sort_backward",
            sorting_arguments(
                grad=torch.ones(2, 3, 2), baseline=torch.ones(2), scale_gradient=True
            ),
            "grad must be contiguous and have the shape of the outcome",
        ),
        (
            "sort_backward",
            sorting_arguments(
                grad=torch.ones(2, 3, 3), baseline=torch.ones(3), scale_gradient=True
            ),
            "baseline must be contiguous of shape [B]",
        ),
        ("evaluate_law", {"x": X, "law": "gaussian", "function": "pdf"}, "function: no such value"),
        ("evaluate_law", {"x": X.t(), "law": "gaussian", "function": "cdf"}, "contiguous"),
    ],
)
def test_other_ops_check_their_arguments(op: str, arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        getattr(OPS, op)(**arguments)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"values": torch.ones(15, 2)}, "values must be contiguous of shape [16, 2]"),
        ({"pivot": torch.ones(2, 3)}, "pivot must be contiguous of shape [2, 2]"),
        ({"pivot": torch.ones(2, 2).double()}, "pivot must have the dtype of values"),
        ({"moment": "cubic"}, "moment: no such value"),
        ({"start": 4, "stop": 20}, "reduce: needs 0 <= start <= stop <= B * num_samples"),
        (
            {"num_samples": 0, "stop": 0, "values": torch.ones(0, 2)},
            "num_samples must be in [1, 2^30], got 0",
        ),
        ({"start": -(2**63), "stop": 2**63 - 1}, "reduce: needs 0 <= start <= stop"),
        ({"num_samples": 2**62}, "num_samples must be in [1, 2^30]"),
        ({"n": -1}, "at most 2^32 batch elements and 2^32 - 1 dimensions"),
        ({"n": 2**32}, "at most 2^32 batch elements and 2^32 - 1 dimensions"),
        ({"n": 2**32 - 1, "moment": "outer"}, "reduce: too many sums"),
    ],
)
def test_reduce_checks_its_arguments(changes: dict[str, Any], part: str) -> None:
    arguments = noise_arguments(
        **{
            "values": torch.ones(16, 2),
            "pivot": torch.ones(2, 2),
            "n": 3,
            "pair_weight": 0.0,
            "moment": "diagonal",
            **changes,
        }
    )
    del arguments["x"], arguments["scale"]
    with pytest.raises(RuntimeError) as caught:
        OPS.reduce(**arguments)
    assert part in str(caught.value)


@pytest.mark.processes
def test_unknown_instruction_set() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import torchsmooth as ts; ts.Sobol().uniforms(2, 1)"],
        env={
            **os.environ,
            "TORCHSMOOTH_CPU": "mmx",
            "PYTHONPATH": str(Path(ts.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert "TORCHSMOOTH_CPU must be baseline, avx2 or avx512, got 'mmx'" in result.stderr


# --- unusual, but right ----------------------------------------------------------------------


@pytest.mark.parametrize("function", [argsort, smooth])
def test_unbalanced_sobol_points_warn_once(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "_warned_unbalanced", False)
    with pytest.warns(UserWarning, match="there are 12: results are right.*num_samples=8 or 16"):
        function(num_samples=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(num_samples=12)
        function(num_samples=20)


@pytest.mark.parametrize("function", [argsort, smooth])
def test_numbers_of_numpy_are_numbers(function: Callable[..., Any]) -> None:
    options = {"num_samples": np.int64(8), "seed": np.int64(3)}
    torch.testing.assert_close(function(**options), function(seed=3), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:the noise has a scale of 10 at")
@pytest.mark.parametrize("function", [argsort, smooth])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, 0.0])
@pytest.mark.parametrize("n", [1, 5, 9, 40])
def test_extreme_numbers_end(function: Callable[..., Any], value: float, n: int) -> None:
    """Neither a hang nor a crash, with a gradient, in all elements or in one."""
    for x in (torch.full((2, n), value), torch.randn(2, n)):
        x[0, n // 2] = value
        x.requires_grad_()
        result = function(x, ts.Cauchy(10.0), seed=0)
        assert result.shape[:2] == (2, n)
        result.sum().backward()
        assert x.grad is not None and x.grad.shape == x.shape


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30, 1e38])
def test_extreme_scales(scale: float) -> None:
    """No noise leaves the exact order; nothing but noise leaves all orders equally often."""
    x = torch.tensor([0.3, -1.0, 0.2])
    matrix = argsort(x, ts.Gumbel(scale), num_samples=2**14, seed=0)
    expected = ts.hard.argsort(x) if scale < 1 else torch.full((3, 3), 1 / 3)
    torch.testing.assert_close(matrix, expected, rtol=0, atol=0.01)
