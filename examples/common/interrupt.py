"""Ctrl-C and kill as a request that the loop handles when its state is complete."""

import signal
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """Within `with Interrupt() as interrupt:`, SIGINT and SIGTERM set `interrupt.requested`.

    The second signal of a kind acts as before, so that an impatient Ctrl-C still works.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, self._previous[number])
