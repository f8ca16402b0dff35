"""End the process in words when a runtime hangs.

A call that hangs inside a runtime cannot be interrupted from Python: Ctrl-C waits for it, too. So a
thread looks now and then how long the present call has been running, says what hangs, undoes what
must not stay (locked clocks), and leaves the process. Nothing is half-written: records are written
at the end, in one piece. A runtime that hangs while it keeps Python's lock holds this thread up,
too; the runtimes here give the lock away while they compute.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from compactmtl.board.errors import AskedError, RunError
from compactmtl.board.undo import undo_all

LOOKS = 4
"""How often it looks within the limit, and at least once a second."""


class Limit(Protocol):
    """Is told which call runs."""

    def begin(self, name: str) -> None:
        """Note that a call of a candidate begins."""

    def end(self) -> None:
        """Note that it returned."""


class Unlimited:
    """Lets calls take any time."""

    def begin(self, name: str) -> None:
        """Note nothing."""

    def end(self) -> None:
        """Note nothing."""


class TimeLimit:
    """The longest that loading a candidate, or one call of it, may take; a context.

    Args:
        seconds: The limit.
        leave: Ends the process; another one in tests.

    Raises:
        AskedError: The limit is not positive.
    """

    def __init__(self, seconds: float, *, leave: Callable[[int], object] = os._exit) -> None:
        if not 0 < seconds < float("inf"):
            raise AskedError(f"time limit (={seconds:g}) must be a number of seconds above 0")
        self.seconds = seconds
        self._leave = leave
        self._running: tuple[str, float] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="time limit", daemon=True)

    def begin(self, name: str) -> None:
        """Note that a call of a candidate begins."""
        self._running = name, time.monotonic()

    def end(self) -> None:
        """Note that it returned."""
        self._running = None

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Hold the block to the limit."""
        self.begin(name)
        try:
            yield
        finally:
            self.end()

    def __enter__(self) -> "TimeLimit":
        """Start looking."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(min(1.0, self.seconds / LOOKS)):
            running = self._running
            if running is not None and time.monotonic() - running[1] > self.seconds:
                self._end(running[0])
                return

    def _end(self, name: str) -> None:
        try:
            undo_all()
        finally:
            sys.stderr.write(
                f"error: `{name}` hangs: it did not return within {self.seconds:g} s; nothing was "
                "written\nhint: leave it out, or give it longer with --time-limit\n"
            )
            sys.stderr.flush()
            self._leave(RunError.exit_code)
