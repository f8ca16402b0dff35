"""Clocks at their maximum while something is measured, and back afterwards: ``--lock-clocks``.

The one place that changes a setting of the board, and only where the user asks for it. NVIDIA's
``jetson_clocks`` stores the clocks, sets them and restores them; it needs root.
"""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from compactmtl.board.errors import NotHereError
from compactmtl.board.undo import to_undo

COMMAND = "jetson_clocks"
SECONDS = 60
SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""What else than Ctrl-C ends a program politely: ``kill``, and a connection that drops."""


@contextmanager
def locked_clocks() -> Iterator[None]:
    """Lock the clocks in the block; whatever ends it, or the process, they are restored.

    Raises:
        NotHereError: There is no ``jetson_clocks``, or it refuses; nothing was changed then.
    """
    with tempfile.TemporaryDirectory(prefix="compactmtl-clocks.") as folder:
        stored = str(Path(folder) / "clocks.conf")
        _run("--store", stored)
        before = {each: signal.signal(each, _interrupt) for each in SIGNALS}
        try:
            _run()
            with to_undo(lambda: _run("--restore", stored)):
                yield
        finally:
            # A second signal must not cut the restoring short.
            for each in (*SIGNALS, signal.SIGINT):
                before.setdefault(each, signal.getsignal(each))
                signal.signal(each, signal.SIG_IGN)
            try:
                _run("--restore", stored)
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in SIGNALS:  # a second one must not cut short what is undone
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(*arguments: str) -> None:
    command = [COMMAND, *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C in the terminal must not reach a restore
        )
    except FileNotFoundError as error:
        raise NotHereError(
            f"--lock-clocks needs `{COMMAND}`, which is not here", hint="only a Jetson has it"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise NotHereError(f"`{' '.join(command)}` did not end within {SECONDS} s") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:300]
        raise NotHereError(
            f"`{' '.join(command)}` failed with exit code {done.returncode}: {said}",
            hint="it needs root: run the bench with sudo",
        )
