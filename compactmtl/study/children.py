"""The processes that a study starts, which end when it is interrupted."""

import subprocess
from collections.abc import Sequence
from threading import Lock
from typing import Any

from compactmtl.errors import TrainingError


class Children:
    """Processes that are waited for by several threads and stopped by one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def check(self) -> None:
        """Find that the study goes on.

        Raises:
            TrainingError: It was stopped.
        """
        with self._lock:
            if self._stopped:
                raise TrainingError("the study was stopped")

    def run(self, command: Sequence[str], **options: Any) -> int:
        """Run a command to its end and return its exit code; ``options`` are those of ``Popen``.

        Raises:
            TrainingError: The study was stopped.
        """
        with self._lock:
            if self._stopped:
                raise TrainingError("the study was stopped")
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
            self._running.add(child)
        try:
            return child.wait()
        finally:
            if child.poll() is None:  # this thread was interrupted, as Ray does
                child.terminate()
                child.wait()
            with self._lock:
                self._running.discard(child)

    def stop(self) -> None:
        """Ask all of them to end, as a polite kill does; none starts any more.

        Where the keyboard interrupted the study, the terminal has told them already.
        """
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.terminate()
