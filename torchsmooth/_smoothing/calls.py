"""The calls of f in one evaluation: chunk after chunk, in this thread, by workers, or on ranks."""

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._torch_internals import has_values, unwrapped, values_are_readable
from .accumulator import AbstractAccumulator
from .executor import IN_FLIGHT, Workers
from .noise import Noise
from .options import SmoothingOptions
from .outputs import Outputs, structure
from .process_group import Ranks
from .user_function import call_f


# A chunk's tensors are to stay near this many bytes: points and outputs, and as much again three
# times for what f makes on its way.
_CHUNK_BYTES = 64 * 2**20
_COPIES = 4
# Before the first call nobody knows how large f's outputs are.
_PROBE_ROWS = 256


class Points(NamedTuple):
    """Where f is evaluated: around x, or at x itself if there is no noise."""

    x: Tensor  # [B, n]
    scale: Tensor
    noise: Noise | None

    @property
    def per_element(self) -> int:
        return 1 if self.noise is None else self.noise.source.num_samples

    def rows(self, start: int, stop: int) -> Tensor:  # [stop - start, n]
        if self.noise is None:
            # A copy: f may write into it as it may into perturbed points, and x is the user's.
            return self.x[start:stop].clone()
        return self.noise.perturb(self.x, self.scale, start, stop)


class Calls:
    """All of them together tell one structure, one shape and one type of f's outputs."""

    def __init__(
        self,
        f: Callable[..., Any],
        options: SmoothingOptions,
        args: tuple[Any, ...],
        event: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        ranks: Ranks | None,
        unchecked: bool,  # whether f is still to be asked if it mixes its rows
    ):
        self.f = f
        self.options = options
        self.args = args
        self.event = event
        self.dtype = dtype
        self.ranks = ranks
        self.unchecked = unchecked
        self.nans = 0  # points for which f returned NaN
        self.undefined_at: list[Any] = []  # the first of them
        self.outputs: Outputs | None = None
        self.workers: Workers | None = None
        if options.executor is not None:
            self.workers = Workers(options.executor, f, options.convention, device)

    def evaluate(
        self, points: Points, accumulator: AbstractAccumulator, *agreed: Any
    ) -> AbstractAccumulator:
        """Calls f at all points; at those of this rank, if there are others.

        Returns the accumulator that has the outputs. What is `agreed` must be the same on all
        ranks.
        """
        total = points.x.shape[0] * points.per_element
        if self.ranks is None:
            return self._rows(points, 0, total, accumulator)
        start, stop = self.ranks.share(total)
        with self.ranks.together(points.x, agreed) as report:
            if start < stop or not total:
                accumulator = self._rows(points, start, stop, accumulator)
            report.outputs = None if self.outputs is None else self.outputs.template()
        self.outputs = Outputs.common(report.all_outputs, self.dtype)
        if start == stop and total:
            empty = points.x.new_empty(0, sum(self.outputs.sizes), dtype=self.outputs.dtype)
            accumulator = accumulator.add(empty, 0, 0)
        return accumulator

    def _rows(
        self, points: Points, start: int, stop: int, accumulator: AbstractAccumulator
    ) -> AbstractAccumulator:
        """Calls f on the rows [start, stop) in chunks, which are taken in their order.

        If there are none it is called once all the same: that tells the shapes of its outputs.
        """
        total, first = stop - start, True
        while start < stop or first:
            first = False
            size = self._chunk_rows(total)
            end = min(start + size, stop)
            if self.workers is None:
                inputs = self._inputs(points, start, end)
                chunk = self._as_chunk(*call_f(self.f, *inputs, self.options.convention))
                accumulator = self._add(accumulator, chunk, points, start, end)
            else:
                if self._size_is_final:
                    end = stop
                accumulator = self._rows_by_workers(
                    self.workers, points, start, end, size, accumulator
                )
            start = end
        return accumulator

    def _rows_by_workers(
        self,
        workers: Workers,
        points: Points,
        start: int,
        stop: int,
        size: int,
        accumulator: AbstractAccumulator,
    ) -> AbstractAccumulator:
        """The same chunks as without workers, each cut into calls that run at the same time."""
        step = size
        if self.options.chunk_size is None or not self.options.convention.vectorized:
            step = max(1, -(-min(size, stop - start) // IN_FLIGHT))
        begins = range(start, max(stop, start + 1), size)

        def cuts(begin: int) -> list[tuple[int, int]]:
            end = min(begin + size, stop)
            return [(a, min(a + step, end)) for a in range(begin, max(end, begin + 1), step)]

        tasks = (self._inputs(points, a, b) for begin in begins for a, b in cuts(begin))
        with contextlib.closing(workers.in_order(tasks)) as results:
            for begin in begins:
                parts = [self._as_chunk(*workers.outputs(next(results))) for _ in cuts(begin)]
                end = min(begin + size, stop)
                accumulator = self._add(accumulator, torch.cat(parts), points, begin, end)
        return accumulator

    def _add(
        self,
        accumulator: AbstractAccumulator,
        chunk: Tensor,
        points: Points,
        start: int,
        stop: int,
    ) -> AbstractAccumulator:
        self._look_for_nan(chunk.detach(), points, start, stop)
        if not (self.unchecked and stop - start > 1):
            return accumulator.add(chunk, start, stop)
        # Copied, because f may return its own buffer.
        together, size = chunk.detach()[[0, -1]], chunk.detach().abs()
        size = size.nan_to_num(0, 0, 0).amax(0)
        accumulator = accumulator.add(chunk, start, stop)
        self._check_rows(points, (start, stop - 1), together, size)
        return accumulator

    def _look_for_nan(self, chunk: Tensor, points: Points, start: int, stop: int) -> None:
        policy = self.options.nan_policy
        if policy == "omit" or not (
            has_values(chunk) if policy == "raise" else values_are_readable(chunk)
        ):
            return
        if not bool(chunk.sum().isnan()):  # for which one pass is enough
            return
        rows = points.rows(start, stop)
        undefined = chunk.isnan().any(1) & rows.isfinite().all(1)
        count = int(undefined.sum())
        if count == 0:
            return
        if not self.nans:
            self.undefined_at = rows[undefined][0].reshape(self.event).tolist()
        self.nans += count
        if policy == "raise":
            raise ValueError(
                f"f must not return NaN with nan_policy='raise', got it for {count} of "
                f"{stop - start} perturbed points, among them {self.undefined_at}; define f there, "
                "or pass nan_policy='omit'"
            )

    def _check_rows(
        self, points: Points, rows: tuple[int, int], together: Tensor, size: Tensor
    ) -> None:
        """Refuses an f whose outputs for a point depend on the others in its chunk.

        An f that is random is none of them, nor one with a step that rounding has met: rows are
        rounded otherwise by themselves.
        """
        assert self.outputs is not None  # of the chunk
        tolerance = self.outputs.resolution**0.5 * size

        def differ(a: Tensor, b: Tensor) -> bool:
            same = (a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= tolerance)
            return not bool(same.all())

        device = points.x.device
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            alone = self._row_alone(points, rows[0])
            mixed = (
                differ(alone, together[0])
                and not differ(alone, self._row_alone(points, rows[0]))
                and differ(self._row_alone(points, rows[1]), together[1])
            )
        if mixed:
            raise ValueError(
                "f must treat each of its points [m, *event] by itself, got other outputs for a "
                "point alone than for the same point in a chunk; pass vectorized=False if f is "
                "written for one point, or check=False if this is meant"
            )
        self.unchecked = False

    def _row_alone(self, points: Points, row: int) -> Tensor:  # [M]
        inputs = self._inputs(points, row, row + 1)
        try:
            if self.workers is None:
                outputs = call_f(self.f, *inputs, self.options.convention)
            else:
                with contextlib.closing(self.workers.in_order([inputs])) as results:
                    outputs = self.workers.outputs(next(results))
            return self._as_chunk(*outputs)[0].clone()
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(
                    "f was called with one point alone, to see whether it mixes its points; "
                    "check=False leaves that out"
                )
            raise

    @property
    def _size_is_final(self) -> bool:
        return self.options.chunk_size is not None or self.outputs is not None

    def _chunk_rows(self, total: int) -> int:
        if self.options.chunk_size is not None:
            return self.options.chunk_size
        # Compiled or exported for any number of examples: one chunk, for one graph.
        if torch.compiler.is_compiling() or isinstance(total, torch.SymInt):
            return total
        if self.outputs is None:
            return min(_PROBE_ROWS, max(total, 1))
        row = self.outputs.dtype.itemsize * (math.prod(self.event) + sum(self.outputs.sizes))
        return max(1, _CHUNK_BYTES // max(1, _COPIES * row))

    def _inputs(self, points: Points, start: int, stop: int) -> tuple[Tensor, list[Any]]:
        """The arguments of f for these rows."""
        rows = points.rows(start, stop)
        args = list(self.args)
        if any(isinstance(arg, Tensor) for arg in args):
            element = torch.arange(start, stop, device=rows.device) // points.per_element
            args = [
                arg.index_select(0, element) if isinstance(arg, Tensor) else arg for arg in args
            ]
        rows = rows.reshape(rows.shape[0], *self.event).to(self.dtype)
        # f need not know of torch.func.
        return rows if torch.compiler.is_compiling() else unwrapped(rows), args

    def _as_chunk(self, leaves: list[Tensor], spec: Any) -> Tensor:
        """f's outputs as [rows, M], when they are seen to be like those of the first call."""
        if self.outputs is None:
            self.outputs = Outputs(leaves, spec, self.dtype)
            if self.options.statistic.joint and not spec.is_leaf():
                raise ValueError(
                    f"f must return one tensor with statistic={self.options.statistic}, got "
                    f"{structure(spec)}; flatten its parts and concatenate them, or smooth them "
                    "one by one"
                )
        else:
            count = leaves[0].shape[0]
            self.outputs.check(leaves, spec, f"a chunk of {count} perturbed points")
        chunk = self.outputs.pack(leaves)
        if self.ranks is not None and chunk.requires_grad:
            raise ValueError(
                "f must return tensors without a graph with process_group, where their gradient in "
                "f's own arguments and parameters would be that of one rank's samples, got one "
                "that requires grad; detach what f returns"
            )
        return chunk
