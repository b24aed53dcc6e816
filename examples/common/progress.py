"""The progress bar of a training loop."""

import sys
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm


_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_LINES_OF_A_LOG = 10


class Progress:
    """A bar over the steps, followed by the current numbers.

    The numbers come from a callable that is called at most twice a second: reading a loss from a
    GPU makes the program wait for it, which must not happen in every step.
    """

    def __init__(self, total: int, *, start: int, shown: bool) -> None:
        self._bar = tqdm(
            total=total,
            initial=start,
            disable=not shown,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LINES_OF_A_LOG,
        )
        self._next_look = 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self, numbers: Callable[[], dict[str, float]]) -> None:
        if not self._bar.disable and time.monotonic() >= self._next_look:
            self._bar.set_postfix(
                {name: f"{value:.3f}" for name, value in numbers().items()}, refresh=False
            )
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        self._bar.update()
