"""``tegrastats`` as a child process while something is measured."""

import subprocess
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import IO

PROGRAM = "tegrastats"
INTERVAL_MS = 100
END_SECONDS = 2


@dataclass(frozen=True)
class Reading:
    """A line, and when it came, in seconds of ``time.perf_counter``."""

    at_s: float
    line: str


class Sampler:
    """Collect lines within a ``with`` block; the child is gone when the block is left.

    Attributes:
        readings: What came so far.
        why: Why there are none, or no more; empty where all is well.
    """

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.why = ""
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> "Sampler":
        try:
            self._child = subprocess.Popen(
                [PROGRAM, "--interval", str(INTERVAL_MS)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C ends it through us, after the last line
            )
        except OSError as error:
            self.why = f"`{PROGRAM}` cannot be run: {error.strerror or error}"
            return self
        stream = self._child.stdout
        assert stream is not None  # asked for above
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        child, reader = self._child, self._reader
        if child is None or reader is None:
            return
        ended = child.poll()
        try:
            child.terminate()
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        finally:
            reader.join(END_SECONDS)  # a grandchild may hold the pipe open
            if child.stdout is not None and not reader.is_alive():
                child.stdout.close()
        if ended is not None:
            self.why = f"`{PROGRAM}` ended by itself with exit code {ended}"
        elif not self.readings:
            self.why = f"`{PROGRAM}` printed nothing"

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            if line.strip():
                self.readings.append(Reading(time.perf_counter(), line.strip()))
