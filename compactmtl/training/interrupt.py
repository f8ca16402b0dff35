"""Let SIGTERM and SIGUSR1 end a run where it can be gone on with."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from compactmtl.errors import StoppedError

NAMES = ("SIGTERM", "SIGUSR1")
"""What schedulers send before they kill; Windows has the first alone."""


class StopRequest:
    """Whether such a signal came.

    Until ``waits`` is set there is nothing to save, and a signal ends the block at once.

    Args:
        early: What such an end means, behind "stopped by SIGTERM".
    """

    def __init__(self, early: str = " before the first step; nothing was written") -> None:
        self._early = early
        self.name = ""
        """The first signal that came, "" if none did."""
        self.waits = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Take in a signal.

        Raises:
            StoppedError: Nothing waits to be saved.
        """
        self.name = self.name or signal.Signals(number).name
        if not self.waits:
            raise StoppedError(
                f"stopped by {self.name}{self._early}", hint="the same command goes on"
            )


@contextmanager
def stop_on_signal(request: StopRequest) -> Iterator[StopRequest]:
    """Note SIGTERM and SIGUSR1 while the block runs; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    previous = {number: signal.signal(number, request.receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
