"""A bench on a Jetson: the same measurement, watched."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from compactmtl.board.errors import NotHereError
from compactmtl.board.jetson.describe import describe
from compactmtl.board.jetson.detect import why_not
from compactmtl.board.jetson.lock_clocks import locked_clocks
from compactmtl.board.jetson.recording import write_recording
from compactmtl.board.jetson.watch import Watch, look, watching


def check_jetson() -> None:
    """Check that this is a Jetson.

    Raises:
        NotHereError: It is not; the message says what was asked and what it said.
    """
    jetson = look()
    if not jetson.is_jetson:
        raise NotHereError(
            f"this is no Jetson: {why_not(jetson)}",
            hint="run it on the board, or give --host user@board",
        )


def measure_watched(
    run: Callable[[Watch], dict[str, Any]],
    *,
    lock_clocks: bool = False,
    record_to: Path | None = None,
) -> dict[str, Any]:
    """Watch the board, idle and then measuring, and put what was seen under ``device``.

    Args:
        run: The measurement; returns a bench record as JSON data.
        lock_clocks: Set all clocks to their maximum meanwhile; needs root.
        record_to: Where everything that was seen is written, to be replayed.

    Raises:
        NotHereError: This is no Jetson, or its clocks cannot be locked.
        UnwritableError: The recording cannot be written.
    """
    check_jetson()
    with ExitStack() as stack:
        if lock_clocks:
            stack.enter_context(locked_clocks())
        watch = stack.enter_context(watching())
        watch.idle()
        document = run(watch)
        stack.close()  # readings are complete, and clocks restored, before anything is written
    recording = watch.recording
    document = {**document, "device": {"jetson": describe(recording)}}
    if record_to is not None:
        recording.document = document
        write_recording(record_to, recording)
    return document
