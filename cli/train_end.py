"""What `compactmtl train` says when a run ends before its time."""

import os

from compactmtl.cli.app import INTERRUPTED
from compactmtl.cli.console import console
from compactmtl.errors import StoppedError
from compactmtl.training import RunInfo, launched_processes


def interrupted(info: RunInfo | None) -> int:
    """Say how to go on with an interrupted run; return the exit code."""
    message = "interrupted; nothing was saved, so there is nothing to resume"
    if info is not None and info.is_resumable:
        message = f"interrupted; the last checkpoint is kept, go on with: {_command(info)}"
    console.error(message)
    error = {"type": "Interrupted", "message": message, "hint": "", "exit_code": INTERRUPTED}
    console.result({"error": error, "run": info.folder if info else None})
    return INTERRUPTED


def stopped(error: StoppedError, info: RunInfo | None) -> int:
    """Say how to go on with a run that a signal stopped; return the exit code.

    Of several processes only the first tells its launcher, which would end the others.
    """
    if console.rank:
        return 0
    error.hint = "start it again"
    if info is not None and info.is_resumable:
        error.hint = f"go on with: {_command(info)}"
    raise error


def _command(info: RunInfo) -> str:
    num, here = launched_processes(), os.environ.get("LOCAL_WORLD_SIZE", "1")
    if num == 1:
        return f"compactmtl train --resume {info.folder}"
    nodes = "" if str(num) == here else "--nnodes ... "
    return f"torchrun {nodes}--nproc-per-node {here} -m compactmtl train --resume {info.folder}"
