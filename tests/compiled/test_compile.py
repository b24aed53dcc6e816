"""torch.compile traces both roads whole, and computes what eager mode computes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor

import torchsmooth as ts


# Warnings of the compiler are about itself.
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Counter:
    """A backend that counts the graphs it is given."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def argsort(x: Tensor, scale: Tensor, seed: Tensor) -> Tensor:
    return ts.functional.argsort(x, ts.Logistic(scale), num_samples=16, seed=seed)


def smoothed(x: Tensor, scale: Tensor, seed: Tensor) -> Tensor:
    return ts.smooth(lambda y: y.cumsum(-1).sign(), ts.Gumbel(scale), num_samples=16, seed=seed)(x)


def results(
    f: Callable[..., Tensor], elements: int, n: int, seed: int, device: torch.device
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(elements)
    x = torch.randn(elements, n, generator=generator).to(device).requires_grad_()
    scale = torch.linspace(0.5, 1.0, n).to(device).requires_grad_()
    value = f(x, scale, torch.tensor(seed, device=device))
    return (value, *torch.autograd.grad(value.cumsum(-1).sum(), (x, scale)))


@pytest.mark.parametrize(
    "function, n",
    [(argsort, 4), (argsort, 9), (smoothed, 4)],
    ids=["one pass", "two passes", "any callable"],
)
def test_compiled_equals_eager(
    function: Callable[..., Tensor], n: int, device: torch.device
) -> None:
    """Forward and backward, for batches of several sizes from one dynamic graph."""
    compiled = torch.compile(function, fullgraph=True, dynamic=True)
    for elements, seed in ((3, 0), (5, 1), (8, 1)):
        actual = results(compiled, elements, n, seed, device)
        expected = results(function, elements, n, seed, device)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [4, 40])
@pytest.mark.parametrize(
    "function",
    [
        ts.functional.sort,
        ts.functional.rank,
        ts.functional.argmax,
        lambda x, *args, **options: ts.functional.topk(x, 2, *args, **options),
        ts.functional.median,
        lambda x, *args, **options: ts.functional.quantile(x, 0.3, *args, **options),
        lambda x, *args, **options: ts.functional.quantile(x, x.new_ones(2), *args, **options),
    ],
    ids=["sort", "rank", "argmax", "topk", "median", "quantile", "quantiles"],
)
def test_compiled_family_equals_eager(
    function: Callable[..., Tensor], n: int, device: torch.device
) -> None:
    def f(x: Tensor, scale: Tensor, seed: Tensor) -> Tensor:
        return function(x, ts.Logistic(scale), num_samples=16, seed=seed)

    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    actual, expected = (results(g, 3, n, 0, device) for g in (compiled, f))
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", [argsort, smoothed])
def test_other_seeds_and_scales_do_not_recompile(
    function: Callable[..., Tensor], device: torch.device
) -> None:
    counter = Counter()
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    x = torch.randn(3, 4, device=device)
    values = [
        compiled(x, torch.full((4,), scale, device=device), torch.tensor(seed, device=device))
        for seed, scale in ((0, 1.0), (1, 1.0), (2**40, 0.5))
    ]
    assert counter.graphs == 1
    assert not torch.equal(values[0], values[1])


def test_compiled_random_seed_follows_torchs_generator(device: torch.device) -> None:
    compiled = torch.compile(
        lambda x: ts.functional.argsort(x, ts.Gumbel(), num_samples=16),
        fullgraph=True,
        backend="eager",
    )
    x = torch.randn(3, 4, device=device)
    torch.manual_seed(7)
    first, second = compiled(x), compiled(x)
    torch.manual_seed(7)
    assert torch.equal(compiled(x), first)
    assert not torch.equal(first, second)


def rank(x: Tensor, scale: Tensor | float, seed: Tensor) -> Tensor:
    return ts.functional.rank(x, ts.Logistic(scale), num_samples=64, seed=seed)


def many_samples(x: Tensor, scale: Tensor | float, seed: Tensor) -> Tensor:
    return ts.smooth(torch.sign, ts.Gumbel(scale), num_samples=64, seed=seed)(x)


# In each the derivatives come about in one way: that depends on n.
BATCHES = [(elements, 4, 0.5) for elements in (1, 2, 3, 7, 30, 400)]
SCALES = [(3, 4, scale) for scale in (0.1, 0.2, 0.5, 1.5, 2.0)]
EVENTS = [(3, n, 0.5) for n in (2, 3, 5, 17, 29)]


@pytest.mark.parametrize("sizes", [BATCHES, SCALES, EVENTS], ids=["batches", "scales", "events"])
@pytest.mark.parametrize("function", [rank, many_samples])
def test_two_graphs_serve_all_sizes(
    function: Callable[..., Tensor], sizes: list[tuple[int, int, float]]
) -> None:
    """One for the first, and one for all others; with what eager mode computes."""
    counter = Counter()
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for elements, n, scale in sizes:
        x = torch.randn(elements, n, requires_grad=True)
        seed = torch.tensor(elements)
        expected, actual = function(x, scale, seed), compiled(x, scale, seed)
        torch.testing.assert_close(actual, expected)
        torch.testing.assert_close(
            torch.autograd.grad(actual.cumsum(-1).sum(), x),
            torch.autograd.grad(expected.cumsum(-1).sum(), x),
        )
    assert counter.graphs <= 2
