"""What compiled soft operators store for their backward pass."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import torchsmooth as ts


# Warnings of the compiler are about itself.
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TRANSCENDENTAL = (torch.ops.aten.exp.default, torch.ops.aten.log1p.default)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def transcendental_functions(
    function: Callable[..., Tensor], device: torch.device
) -> tuple[int, int]:
    """How many exponentials and logarithms the compiled forward and backward pass compute."""
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.aot_autograd import make_boxed_func
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    counts: list[int] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        counts.append(sum(node.target in TRANSCENDENTAL for node in graph.graph.nodes))
        return make_boxed_func(graph.forward)

    backend = aot_autograd(
        fw_compiler=count, bw_compiler=count, partition_fn=min_cut_rematerialization_partition
    )
    x = torch.linspace(-3, 3, 8, device=device, requires_grad=True)
    scale = torch.tensor(0.5, device=device, requires_grad=True)
    value = torch.compile(function, fullgraph=True, backend=backend)(x, scale)
    gradients = torch.autograd.grad(value.sum(), (x, scale))
    expected = torch.autograd.grad(function(x, scale).sum(), (x, scale))
    torch.testing.assert_close(gradients, expected)
    forward, backward = counts
    return forward, backward


@pytest.mark.parametrize(
    "operator, forward",
    [(ts.soft.heaviside, 1), (ts.soft.sign, 1), (ts.soft.relu, 2)],
)
def test_cpus_compute_nothing_transcendental_twice(
    operator: Callable[..., Tensor], forward: int, device: torch.device
) -> None:
    """On GPUs memory is what takes time."""

    def function(x: Tensor, scale: Tensor) -> Tensor:
        return operator(x, ts.Logistic(scale))

    backward = 0 if device.type == "cpu" else forward
    assert transcendental_functions(function, device) == (forward, backward)


def test_checkpointing_is_not_overruled(device: torch.device) -> None:
    def function(x: Tensor, scale: Tensor) -> Tensor:
        return checkpoint(
            lambda x, scale: ts.soft.heaviside(x, ts.Logistic(scale)), x, scale, use_reentrant=False
        )

    assert transcendental_functions(function, device) == (1, 1)
