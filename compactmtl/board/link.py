"""End with the link to whoever started this process, such as an ssh connection.

A server of ssh does not end what it runs when the connection goes: a bench of ten minutes would go
on for nobody, with the clocks locked. So who starts us over ssh keeps our standard input open and
sends a byte every few seconds. Where it ends, or is silent for a minute (a cable was pulled), this
process interrupts itself as Ctrl-C would, and the folder that was made for it goes away.
"""

import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from compactmtl.board.undo import undo_all

SILENT_S = 60.0
GRACE_S = 120.0
"""How long it may take to end, restoring clocks and all; a build cannot be interrupted."""
INTERRUPTED = 130


class Link:
    """Watches a stream of bytes that says that the other side is still there.

    Args:
        folder: Made for this process; removed when the link is lost.
        stream: File descriptor of the stream.
        silent_s: Longest silence.
        interrupt: Asks the main thread to end; another one in tests.
        leave: Ends the process where that does not help; another one in tests.
        grace_s: When that is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stream: int = 0,
        silent_s: float = SILENT_S,
        interrupt: Callable[[], object] = lambda: os.kill(os.getpid(), signal.SIGTERM),
        leave: Callable[[int], object] = os._exit,
        grace_s: float = GRACE_S,
    ) -> None:
        self.is_lost = False
        self._folder = folder.resolve()
        self._stream, self._silent_s = stream, silent_s
        self._interrupt, self._leave, self._grace_s = interrupt, leave, grace_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="link", daemon=True)

    def __enter__(self) -> "Link":
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop watching; remove the folder where the link was lost."""
        self._ended.set()
        if self.is_lost:
            self._remove()

    def _watch(self) -> None:
        while self._is_alive():
            if self._ended.is_set():
                return
        if self._ended.is_set():
            return
        self.is_lost = True
        _be_silent()
        self._interrupt()
        if not self._ended.wait(self._grace_s):
            try:
                undo_all()
            finally:
                self._remove()
                self._leave(INTERRUPTED)

    def _is_alive(self) -> bool:
        ready, _, _ = select.select([self._stream], [], [], self._silent_s)
        return bool(ready and os.read(self._stream, 4096))

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _be_silent() -> None:
    """Let nobody be told: what is said to a link that is gone would raise on its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
