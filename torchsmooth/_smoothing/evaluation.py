"""One call: f's outputs at the perturbed points, and what becomes of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._torch_internals import has_tangent, requires_grad, unwrapped
from ..statistics import Mean
from .executor import IN_FLIGHT, Workers
from .noise import Noise
from .outputs import Outputs, structure
from .process_group import Ranks
from .samples import Samples
from .sums import Sums
from .user_function import call


if TYPE_CHECKING:
    from .smoothed import Smoothed

# Gives rows [start, stop): points [rows, n], and the batch element that each belongs to.
Rows = Callable[[int, int], tuple[Tensor, Tensor]]
# Takes f's outputs [rows, M] for the rows [start, stop).
Take = Callable[[Tensor, int, int], None]

# A chunk's tensors are to stay near this many bytes: points and outputs, and as much again three
# times for what f makes on its way.
_CHUNK_BYTES = 64 * 2**20
_COPIES = 4
# Before the first call nobody knows how large f's outputs are.
_PROBE_ROWS = 256


class Evaluation:
    """One call of a smoothed function."""

    # Known after the first call of f:
    outputs: Outputs
    kept: Samples | Sums

    def __init__(
        self,
        smoothed: Smoothed,
        event: tuple[int, ...],
        args: tuple[Any, ...],
        dtype: torch.dtype,
        device: torch.device,
        ranks: Ranks | None,
    ):
        self.smoothed = smoothed
        self.event = event
        self.args = args
        self.dtype = dtype
        self.calls = 0
        self.ranks = ranks
        self.workers: Workers | None = None
        if smoothed.executor is not None:
            self.workers = Workers(smoothed.executor, smoothed.f, smoothed.vectorized, device)

    def run(
        self,
        x: Tensor,  # [B, n]
        scale: Tensor,
        noise: Noise,
        moment: str,
        wanted: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The value [B, R], and three tensors that `ScoreRule` makes derivatives of."""
        statistic = self.smoothed.statistic
        kind, factor, pair_weight = self.smoothed._estimator
        unperturbed = self._unperturbed(x) if kind == "fx" else None
        # Between the passes the smaller one is kept: all outputs, or the accumulated Jacobian; the
        # outputs too where they have derivatives of their own, of which the Jacobian would be cut.
        jacobian = noise.n + {"none": 0, "diagonal": noise.n, "outer": noise.n**2}[moment]
        keeps = not isinstance(statistic, Mean) or (wanted and noise.num_samples <= jacobian)

        def take(chunk: Tensor, start: int, stop: int) -> None:
            if not hasattr(self, "kept"):
                self.kept = (
                    Samples(statistic, x.shape[0], noise.num_samples)
                    if keeps or (wanted and _has_derivatives(chunk))
                    else Sums(noise, x.shape[0], unperturbed, pair_weight, moment, wanted)
                )
            self.kept.add(chunk, start, stop)

        self._perturbed(x, scale, noise, take, (moment, wanted, noise.seed))
        kept = self.kept

        # Whatever f makes of it: NaN for the value and the gradient of an example with NaN or inf.
        finite = x.isfinite().all(1, keepdim=True)
        value = kept.value(self.ranks)
        bad = torch.where(finite, 0.0, torch.nan).to(value.dtype)
        value = value + bad
        if unperturbed is not None:  # the statistic of samples that are all f(x)
            baseline = statistic.value(unperturbed.unsqueeze(1).expand(-1, statistic.k, -1)) + bad
        elif kind == "none":
            baseline = bad.expand_as(value)
        else:
            baseline = value.detach()
        return value, *kept.payload(value.detach(), baseline, factor, self.ranks)

    def samples(self, x: Tensor, scale: Tensor, noise: Noise) -> Tensor:
        """f's outputs [B, s, M]."""
        kept = Samples(Mean(), x.shape[0], noise.num_samples)
        self._perturbed(x, scale, noise, kept.add, (noise.seed,))
        kept.value(self.ranks)
        return kept.samples.detach()

    def _perturbed(self, x: Tensor, scale: Tensor, noise: Noise, take: Take, call: tuple) -> None:
        s = noise.num_samples

        def rows(start: int, stop: int) -> tuple[Tensor, Tensor]:
            points = noise.perturb(x, scale, start, stop)
            return points, torch.arange(start, stop, device=x.device) // s

        self._evaluate(rows, x, x.shape[0] * s, take, call)

    def _unperturbed(self, x: Tensor) -> Tensor:  # [B, n] -> [B, M]
        outputs: list[Tensor] = []

        def rows(start: int, stop: int) -> tuple[Tensor, Tensor]:
            # A copy: f may write into it as it may into perturbed points, and x is the user's.
            return x[start:stop].clone(), torch.arange(start, stop, device=x.device)

        def take(chunk: Tensor, start: int, stop: int) -> None:
            outputs.append(chunk.detach())

        self._evaluate(rows, x, x.shape[0], take, ())
        values = torch.cat(outputs)
        return values if self.ranks is None else self.ranks.gather(values, x.shape[0])

    def _evaluate(self, rows: Rows, x: Tensor, total: int, take: Take, call: tuple) -> None:
        """Calls f on all rows; on those of this rank, if there are others."""
        if self.ranks is None:
            self._evaluate_rows(rows, 0, total, take)
            return
        start, stop = self.ranks.share(total)

        def take_without_graph(chunk: Tensor, start: int, stop: int) -> None:
            if chunk.requires_grad:
                raise ValueError(
                    "f must return tensors without a graph with process_group, where their "
                    "gradient in f's own arguments and parameters would be that of one rank's "
                    "samples, got one that requires grad; detach what f returns"
                )
            take(chunk, start, stop)

        def evaluate() -> None:
            if start < stop or not total:
                self._evaluate_rows(rows, start, stop, take_without_graph)

        templates = self.ranks.together(
            evaluate, lambda: self.outputs.template() if self.calls else None, x, call
        )
        self.outputs = Outputs.common(templates, self.dtype)
        if start == stop and total:
            take(x.new_empty(0, sum(self.outputs.sizes), dtype=self.outputs.dtype), 0, 0)

    def _evaluate_rows(self, rows: Rows, start: int, stop: int, take: Take) -> None:
        """Calls f on the rows [start, stop) in chunks, which are taken in their order.

        If there are none it is called once all the same: that tells the shapes of its outputs.
        """
        total, first = stop - start, True
        while start < stop or first:
            first = False
            size = self._chunk_rows(total)
            end = min(start + size, stop)
            if self.workers is None:
                take(self._as_chunk(*self._call(*self._inputs(*rows(start, end)))), start, end)
            else:
                if self._size_is_final:
                    end = stop
                self._evaluate_by_workers(self.workers, rows, start, end, size, take)
            start = end

    def _evaluate_by_workers(
        self, workers: Workers, rows: Rows, start: int, stop: int, size: int, take: Take
    ) -> None:
        """The same chunks as without workers, each cut into calls that run at the same time."""
        step = size
        if self.smoothed.chunk_size is None or not self.smoothed.vectorized:
            step = max(1, -(-min(size, stop - start) // IN_FLIGHT))
        begins = range(start, max(stop, start + 1), size)

        def cuts(begin: int) -> list[tuple[int, int]]:
            end = min(begin + size, stop)
            return [(a, min(a + step, end)) for a in range(begin, max(end, begin + 1), step)]

        tasks = (self._inputs(*rows(a, b)) for begin in begins for a, b in cuts(begin))
        with contextlib.closing(workers.in_order(tasks)) as results:
            for begin in begins:
                parts = [self._as_chunk(*next(results)) for _ in cuts(begin)]
                take(torch.cat(parts), begin, min(begin + size, stop))

    @property
    def _size_is_final(self) -> bool:
        return self.smoothed.chunk_size is not None or self.calls > 0

    def _chunk_rows(self, total: int) -> int:
        if self.smoothed.chunk_size is not None:
            return self.smoothed.chunk_size
        if isinstance(total, torch.SymInt):  # exported for any number of examples: one chunk
            return total
        if not self.calls:
            return min(_PROBE_ROWS, max(total, 1))
        row = self.outputs.dtype.itemsize * (math.prod(self.event) + sum(self.outputs.sizes))
        return max(1, _CHUNK_BYTES // max(1, _COPIES * row))

    def _inputs(self, points: Tensor, element: Tensor) -> tuple[Tensor, list[Any]]:
        """What f is called with for points [rows, n] that belong to these batch elements."""
        args = [
            arg.index_select(0, element) if isinstance(arg, Tensor) else arg for arg in self.args
        ]
        points = points.reshape(points.shape[0], *self.event).to(self.dtype)
        # f need not know of torch.func.
        return points if torch.compiler.is_compiling() else unwrapped(points), args

    def _call(self, inputs: Tensor, args: list[Any]) -> tuple[list[Tensor], Any]:
        return call(self.smoothed.f, inputs, args, self.smoothed.vectorized)

    def _as_chunk(self, leaves: list[Tensor], spec: Any) -> Tensor:
        """f's outputs as [rows, M], when they are seen to be like those of the first call."""
        if self.calls:
            count = leaves[0].shape[0]
            self.outputs.check(leaves, spec, f"a chunk of {count} perturbed points")
        else:
            self.outputs = Outputs(leaves, spec, self.dtype)
            if self.smoothed.statistic.joint and not spec.is_leaf():
                raise ValueError(
                    f"f must return one tensor with statistic={self.smoothed.statistic}, got "
                    f"{structure(spec)}; flatten its parts and concatenate them, or smooth them "
                    "one by one"
                )
        self.calls += 1
        return self.outputs.pack(leaves)


def _has_derivatives(outputs: Tensor) -> bool:
    """Whether f's outputs depend on parameters or arguments that someone differentiates in."""
    return requires_grad(outputs) or has_tangent(outputs)
