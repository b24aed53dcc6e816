"""A training step as one CUDA graph: recorded once, then replayed with a single launch."""

from collections.abc import Callable

import torch
from torch import Tensor


_WARM_UP_STEPS = 3  # libraries allocate and choose their kernels in the first calls


class CudaGraph:
    """Calls `step`, and after a few calls replays its GPU work without calling it again.

    `step` takes no arguments: values that differ from call to call (the seed) must be in tensors
    that the caller fills in place. The warm-up calls are training steps like all others, so there
    is nothing to undo after them; they run on a side stream, as capturing requires.
    """

    def __init__(self, step: Callable[[], Tensor], device: str) -> None:
        self._step = step
        self._device = torch.cuda.device(device)
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()
        self._calls = 0
        self._result: Tensor

    def __call__(self) -> Tensor:
        self._calls += 1
        with self._device:
            if self._calls <= _WARM_UP_STEPS:
                return self._warm_up()
            if self._calls == _WARM_UP_STEPS + 1:
                with torch.cuda.graph(self._graph):  # records without running
                    self._result = self._step()
            self._graph.replay()
            return self._result

    def _warm_up(self) -> Tensor:
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self._step()
        current.wait_stream(self._stream)
        return result
