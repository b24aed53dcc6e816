"""Samples shared out over the ranks of a process group: two processes that talk over gloo.

All cases run in one start of the processes; each test looks at what both ranks said about one.
"""

import datetime
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

import torchsmooth as ts


pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        not (distributed.is_available() and distributed.is_gloo_available()),
        reason="torch was built without gloo",
    ),
]

RANKS = 2
SECONDS = 90


def steps(y: Tensor) -> Tensor:
    return (y > 0).to(y.dtype).cumsum(-1)


def parts(y: Tensor) -> dict[str, Any]:
    return {"steps": steps(y), "total": (y.sum(-1) > 0,)}


class Broken(Exception):
    pass


# --- cases: each runs on both ranks ----------------------------------------------------------


def estimate(
    group: Any, f: Callable[..., Any] = steps, batch: int = 3, **options: Any
) -> dict[str, Any]:
    """Value and gradients, and how often f was called for them."""
    count = 0

    def counted(y: Tensor, *args: Any) -> Any:
        nonlocal count
        count += len(y)
        return f(y, *args)

    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, 4, generator=generator, dtype=torch.float64).requires_grad_()
    scale = torch.full((4,), 0.7, dtype=torch.float64).requires_grad_()
    options = {"num_samples": 37, "sampler": "mc", "seed": 0, **options}
    value = ts.smooth(counted, ts.Gumbel(scale), process_group=group, check=False, **options)(x)
    evaluated = count
    leaves = [value] if isinstance(value, Tensor) else [value["steps"], value["total"][0]]
    total = sum(leaf.cumsum(-1).square().sum() for leaf in leaves)
    gradients = torch.autograd.grad(total, (x, scale))
    assert count == evaluated
    return {"results": [leaf.detach() for leaf in leaves] + list(gradients), "count": count}


def random_seed(group: Any) -> dict[str, Any]:
    """The ranks' own generators differ; that of the first one counts."""
    rank = distributed.get_rank()
    torch.manual_seed(7 + rank)
    both = [estimate(group, seed=None)["results"] for _ in range(2)]
    return {"results": both[0], "second": both[1]}


def with_workers(group: Any) -> dict[str, Any]:
    with ThreadPoolExecutor(2) as executor:
        return estimate(group, executor=executor, chunk_size=5)


def alone(group: Any) -> dict[str, Any]:
    """A group of one rank."""
    groups = [distributed.new_group([rank]) for rank in range(RANKS)]
    return estimate(groups[distributed.get_rank()])


def layer(group: Any) -> dict[str, Any]:
    module = ts.nn.Smooth(steps, num_samples=16, seed=0, process_group=group)
    x = torch.linspace(-1, 1, 8).reshape(2, 4)
    return {"results": [module(x)]}


def failure(group: Any, action: Callable[[Any], Any]) -> dict[str, Any]:
    try:
        action(group)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    else:
        text = "nothing"
    # The group works as before.
    return {"text": text, **estimate(group)}


def raising_on(rank: int, group: Any) -> None:
    def f(y: Tensor) -> Tensor:
        if distributed.get_rank() == rank:
            raise Broken("as it was")
        return steps(y)

    estimate(group, f)


def another_x(group: Any) -> None:
    x = torch.full((2, 3), float(distributed.get_rank()))
    ts.smooth(steps, ts.Gumbel(), num_samples=8, seed=0, process_group=group)(x)


def another_shape_of_x(group: Any) -> None:
    x = torch.zeros(2 + distributed.get_rank(), 3)
    ts.smooth(steps, ts.Gumbel(), num_samples=8, seed=0, process_group=group)(x)


def another_seed(group: Any) -> None:
    estimate(group, seed=distributed.get_rank())


def another_output(group: Any) -> None:
    estimate(group, lambda y: steps(y)[:, distributed.get_rank() :])


def differentiable(group: Any) -> None:
    weight = torch.ones(4, dtype=torch.float64, requires_grad=True)
    estimate(group, lambda y: steps(y) * weight)


ESTIMATES: dict[str, dict[str, Any]] = {
    "mean": {},
    "sobol": {"sampler": "sobol", "num_samples": 64},
    "chunks": {"chunk_size": 5},
    "one element": {"batch": 1},
    "f(x)": {"covariate": "fx"},
    "no covariate": {"covariate": "none"},
    "pairs": {"antithetic": True, "num_samples": 38},
    "kept": {"num_samples": 3},
    "kept, f(x)": {"num_samples": 3, "covariate": "fx"},
    "structure": {"f": parts},
    "median": {"statistic": ts.Median(3)},
    "median, f(x)": {"statistic": ts.Median(3), "covariate": "fx"},
    "covariance": {"statistic": ts.Covariance()},
    "an idle rank": {"batch": 1, "num_samples": 1, "covariate": "none"},
    "an idle rank, f(x)": {"batch": 1, "num_samples": 1, "covariate": "fx"},
    "no element": {"batch": 0},
}

FAILURES: dict[str, tuple[Callable[[Any], Any], tuple[str, str]]] = {
    "rank 0": (
        functools.partial(raising_on, 0),
        ("Broken: as it was", "RuntimeError: f raised an exception on rank 0 of process_group"),
    ),
    "rank 1": (
        functools.partial(raising_on, 1),
        ("RuntimeError: f raised an exception on rank 1 of process_group", "Broken: as it was"),
    ),
    "another x": (another_x, ("ValueError: x, seed and what requires grad must be the same",) * 2),
    "another shape of x": (another_shape_of_x, ("ValueError: x, seed and what",) * 2),
    "another seed": (another_seed, ("ValueError: x, seed and what requires grad",) * 2),
    "another output": (another_output, ("ValueError: f must return the same shape",) * 2),
    "differentiable": (differentiable, ("ValueError: f must return tensors without a graph",) * 2),
}

CASES: dict[str, Callable[[Any], dict[str, Any]]] = {
    **{name: functools.partial(estimate, **options) for name, options in ESTIMATES.items()},
    **{
        f"failure: {name}": functools.partial(failure, action=action)
        for name, (action, _) in FAILURES.items()
    },
    "random seed": random_seed,
    "workers": with_workers,
    "alone": alone,
    "layer": layer,
}


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=SECONDS / 3),
    )
    said = {name: case(distributed.group.WORLD) for name, case in CASES.items()}
    torch.save(said, f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank said about each case."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = multiprocessing.spawn(run_rank, (str(folder),), nprocs=RANKS, join=False)
    end = time.monotonic() + SECONDS
    try:
        while not processes.join(timeout=max(0.0, end - time.monotonic())):
            assert time.monotonic() < end, "the ranks hang"
    finally:
        for process in processes.processes:
            process.kill()
    return [torch.load(Path(folder, f"{rank}.pt")) for rank in range(RANKS)]


# --- what they said --------------------------------------------------------------------------


def assert_equal_ranks(said: list[dict[str, Any]], case: str) -> list[Tensor]:
    first, *others = (rank[case]["results"] for rank in said)
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=0)
    return first


@pytest.mark.parametrize("case", ESTIMATES)
def test_equals_one_process(case: str, said: list[dict[str, Any]]) -> None:
    """And f was called once per sample, by all ranks together."""
    expected = estimate(None, **ESTIMATES[case])
    results = assert_equal_ranks(said, case)
    torch.testing.assert_close(results, expected["results"], rtol=1e-12, atol=1e-12)
    counts = [rank[case]["count"] for rank in said]
    assert sum(counts) == expected["count"]
    assert max(counts) - min(counts) <= 2


def test_first_ranks_seed_counts(said: list[dict[str, Any]]) -> None:
    first = assert_equal_ranks(said, "random seed")
    torch.manual_seed(7)
    both = [estimate(None, seed=None)["results"] for _ in range(2)]
    torch.testing.assert_close(first, both[0], rtol=1e-12, atol=1e-12)
    for rank in said:
        torch.testing.assert_close(rank["random seed"]["second"], both[1], rtol=1e-12, atol=1e-12)


def test_workers_of_each_rank(said: list[dict[str, Any]]) -> None:
    expected = estimate(None)["results"]
    torch.testing.assert_close(
        assert_equal_ranks(said, "workers"), expected, rtol=1e-12, atol=1e-12
    )


def test_group_of_one(said: list[dict[str, Any]]) -> None:
    expected = estimate(None)
    torch.testing.assert_close(assert_equal_ranks(said, "alone"), expected["results"])
    assert all(rank["alone"]["count"] == expected["count"] for rank in said)


def test_layer(said: list[dict[str, Any]]) -> None:
    module = ts.nn.Smooth(steps, num_samples=16, seed=0)
    expected = module(torch.linspace(-1, 1, 8).reshape(2, 4))
    torch.testing.assert_close(assert_equal_ranks(said, "layer"), [expected])


@pytest.mark.parametrize("case", FAILURES)
def test_all_ranks_fail_together(case: str, said: list[dict[str, Any]]) -> None:
    """No rank waits for the others, and the group works afterwards."""
    for rank, expected in zip(said, FAILURES[case][1], strict=True):
        assert rank[f"failure: {case}"]["text"].startswith(expected)
    results = assert_equal_ranks(said, f"failure: {case}")
    torch.testing.assert_close(results, estimate(None)["results"], rtol=1e-12, atol=1e-12)
