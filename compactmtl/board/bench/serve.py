"""Run an artefact for another process that says when: ``python -m compactmtl.board serve FILE``.

Some runtimes live in a Python of their own. To be timed in turns with the others, they wait here
for a line on stdin, time the call themselves, and answer with the figures, so the pipe is in no
time. Commands, one per line, each answered by one line of JSON:

    run IN.npz OUT.npz      run once on these arrays, store the outputs
    bind IN.npz             from now on, time on these
    time                    run once
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from compactmtl.board.errors import BoardError
from compactmtl.board.sessions import Session, open_session
from compactmtl.board.stored import read_arrays

DIE_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG``."""


def serve(path: Path, *, threads: int) -> None:
    """Load an artefact, say what it is, and obey until stdin ends."""
    if sys.platform == "linux":  # a call that hangs would outlive the one who asked for it
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    # Runtimes print; what they say goes to stderr, and the answers alone to stdout.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        session = open_session(path, threads=threads)
    except BoardError as error:
        _answer(answers, _refusal(error))
        return
    _answer(
        answers,
        {
            "inputs": [asdict(info) for info in session.inputs],
            "runtime": session.runtime,
            "includes": session.includes,
            "load_ms": session.load_ms,
        },
    )
    call: Callable[[], object] | None = None
    for line in sys.stdin:
        command, *places = json.loads(line)
        try:
            if command == "bind":
                call = session.bind(read_arrays(Path(places[0]), hint=""))
                found: dict[str, Any] = {}
            elif command == "run":
                found = _run(session, *map(Path, places))
            else:
                assert call is not None, "bind comes first"
                found = _timed(call)
        except BoardError as error:
            found = _refusal(error)
        _answer(answers, found)


def _run(session: Session, source: Path, target: Path) -> dict[str, Any]:
    inputs = read_arrays(source, hint="")
    outputs: dict[str, Any] = {}
    figures = _timed(lambda: outputs.update(session(inputs)))
    np.savez(target, **outputs)
    return figures


def _timed(call: Callable[[], object]) -> dict[str, int]:
    wall_start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
    call()
    cpu_end, wall_end = time.process_time_ns(), time.perf_counter_ns()
    return {"wall_ns": wall_end - wall_start, "cpu_ns": cpu_end - cpu_start}


def _refusal(error: BoardError) -> dict[str, Any]:
    return {"error": error.message, "hint": error.hint, "code": error.exit_code}


def _answer(stream: TextIO, document: dict[str, Any]) -> None:
    stream.write(json.dumps(document) + "\n")
    stream.flush()
