"""Several processes that evaluate a share of the samples each, as ranks of torch.distributed."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


# Of so many numbers of x it is checked that they are the same on all ranks.
_PROBES = 16


def check_process_group(group: Any) -> Any:
    if group is None:
        return None
    if torch.distributed.is_available() and isinstance(group, torch.distributed.ProcessGroup):
        return group
    raise TypeError(
        "process_group must be a group of torch.distributed that this process belongs to, got "
        f"{group!r}; pass torch.distributed.group.WORLD after init_process_group"
    )


class _Report(NamedTuple):
    """The message of a rank to the others when it has called f."""

    same: tuple[Any, ...]  # what must be the same on all ranks
    x: Tensor
    error: str | None
    outputs: Any  # f's outputs at no points, if they are known


class Reports:
    """f's outputs at no points: what this rank knows of them, and then what all do."""

    outputs: Any = None
    all_outputs: Sequence[Any] = ()


class Ranks:
    """The group, from the side of one of its ranks."""

    def __init__(self, group: Any):
        self.group = group
        self.rank = torch.distributed.get_rank(group)
        self.size = torch.distributed.get_world_size(group)

    def same_seed(self, seed: Tensor) -> Tensor:
        """That of the first rank."""
        torch.distributed.broadcast(seed, group=self.group, group_src=0)
        return seed

    def share(self, total: int) -> tuple[int, int]:
        """Which of the rows are evaluated here."""
        return self._begin(total, self.rank), self._begin(total, self.rank + 1)

    def _begin(self, total: int, rank: int) -> int:
        return total * rank // self.size

    @contextlib.contextmanager
    def together(self, x: Tensor, agreed: tuple[Any, ...]) -> Iterator["Reports"]:
        """Keeps the ranks together in here.

        An exception on one rank becomes one on all: no rank waits for what does not come.
        """
        reports, failure = Reports(), None
        try:
            yield reports
        except Exception as error:
            failure = error
        stride = max(1, x.numel() // _PROBES)
        own = _Report(
            (*x.shape, x.dtype, *(int(t) if isinstance(t, Tensor) else t for t in agreed)),
            x.detach().flatten()[::stride][:_PROBES].cpu().double(),
            None if failure is None else f"{type(failure).__name__}: {failure}",
            reports.outputs,
        )
        gathered: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(gathered, own, group=self.group)
        if failure is not None:
            raise failure
        self._check(gathered)
        reports.all_outputs = [other.outputs for other in gathered if other.outputs is not None]

    def _check(self, reports: list[_Report]) -> None:
        for rank, report in enumerate(reports):
            if report.error is not None:
                raise RuntimeError(
                    f"f raised an exception on rank {rank} of process_group: {report.error}"
                )
        first = reports[0]
        # Rounding may differ; another batch is other numbers.
        tolerance = 1e-3 * first.x.nan_to_num(0, 0, 0).abs().sum().item()
        for rank, other in enumerate(reports):
            if other.same != first.same or not torch.allclose(
                other.x, first.x, rtol=0.0, atol=tolerance, equal_nan=True
            ):
                raise ValueError(
                    "x, seed and what requires grad must be the same on all ranks of "
                    f"process_group, which share its samples, got others on rank {rank} than on "
                    "rank 0; broadcast x, or smooth the ranks' own x without process_group"
                )

    def sum(self, t: Tensor) -> Tensor:
        """Of all ranks."""
        t = t.detach().contiguous()
        torch.distributed.all_reduce(t, group=self.group)
        return t

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """The rows [total, M] of all shares."""
        counts = [self._begin(total, r + 1) - self._begin(total, r) for r in range(self.size)]
        padded = rows.new_zeros(max(counts), rows.shape[1])
        padded[: rows.shape[0]] = rows.detach()
        parts = [torch.empty_like(padded) for _ in counts]
        torch.distributed.all_gather(parts, padded, group=self.group)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
