"""Ops that do more than their results say: every call is repeated, captured in a graph, or made on
another stream, and must give the same bits. They stand in the place of torch.ops.torchsmooth."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


Op = Callable[..., Any]


class WrappedOps:
    """The ops of a namespace, each handed to `around(op, arguments)`."""

    def __init__(self, ops: Any, around: Callable[[Op, tuple], Any]):
        self._ops = ops
        self._around = around

    def __getattr__(self, name: str) -> Op:
        op = getattr(self._ops, name)
        return lambda *arguments: self._around(op, arguments)


def as_list(out: Any) -> list[Tensor]:
    return [out] if isinstance(out, Tensor) else list(out)


def require_equal(what: str, expected: Any, got: Any) -> None:
    for a, b in zip(as_list(expected), as_list(got), strict=True):
        if not (torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())):
            raise AssertionError(f"{what} gave other bits")


def twice(op: Op, arguments: tuple) -> Any:
    """An op is deterministic."""
    out = op(*arguments)
    require_equal("a second call", out, op(*arguments))
    return out


def on_another_stream(op: Op, arguments: tuple) -> Any:
    """An op runs on the current stream, and on no other."""
    expected = op(*arguments)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        # What the op reads is written late, on this stream: an op on another one would not see it.
        late = tuple(torch.empty_like(a) if isinstance(a, Tensor) else a for a in arguments)
        torch.cuda._sleep(2_000_000)
        for source, target in zip(arguments, late, strict=True):
            if isinstance(source, Tensor):
                target.copy_(source)
        got = op(*late)
    torch.cuda.current_stream().wait_stream(stream)
    require_equal("another stream", expected, got)
    return expected


def in_a_graph(op: Op, arguments: tuple) -> Any:
    """A graph that is replayed repeats the result, and reads the seed anew."""
    expected = op(*arguments)
    own = tuple(a.clone() if isinstance(a, Tensor) else a for a in arguments)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        op(*own)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = op(*own)
    graph.replay()
    require_equal("a replayed graph", expected, captured)
    seeds = [a for a in own if isinstance(a, Tensor) and a.dtype == torch.int64 and a.numel() == 1]
    for seed in seeds:
        seed += 1
    graph.replay()
    require_equal("a graph replayed with another seed", op(*own), captured)
    return expected
