"""Run another artefact in a loop beside a measurement, in a process of its own.

The process is ``python -m compactmtl.board.bench.alongside FILE``. It writes one line of JSON when
its first inference is done, loops until its standard input ends (so it ends with whoever started
it, however that ends), and writes one more line with what it did.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactmtl.board.bench.inputs import make_inputs
from compactmtl.board.errors import BoardError, RunError
from compactmtl.board.sessions import open_session

GRACE_S = 30.0
"""How long a call that was begun may take to end."""


@dataclass
class Competitor:
    """The other artefact.

    Attributes:
        runtime: Name and version of its runtime.
        num_calls: How often it ran; 0 while it still runs.
        seconds: In how long.
    """

    runtime: str
    num_calls: int = 0
    seconds: float = 0.0


@contextmanager
def alongside(
    path: Path, *, threads: int, batch: int, size: tuple[int, int] | None, ready_s: float = 300.0
) -> Iterator[Competitor]:
    """Keep an artefact running while the block runs.

    Args:
        path: An artefact.
        threads: Threads of its runtime.
        batch: Batch size of its inputs.
        size: Height and width of its inputs, where the artefact leaves them free.
        ready_s: How long loading and the first inference may take.

    Raises:
        RunError: It cannot be run, or it ended before the block did: what was measured was not
            measured beside it.
    """
    asked = [str(path), "--threads", str(threads), "--batch", str(batch)]
    if size is not None:
        asked += ["--size", *map(str, size)]
    with subprocess.Popen(
        [sys.executable, "-m", "compactmtl.board.bench.alongside", *asked],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # The child finds this package where its parent did: a folder, a wheel, a zip application.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        try:
            first = _line(process, path, seconds=ready_s)
            competitor = Competitor(runtime=first["runtime"])
            yield competitor
            if process.poll() is not None:
                raise RunError(
                    f"`{path}` was to run alongside, but ended early (exit {process.returncode})"
                )
            assert process.stdin is not None
            process.stdin.close()
            last = _line(process, path, seconds=GRACE_S)
            competitor.num_calls, competitor.seconds = last["num_calls"], last["seconds"]
        finally:
            process.kill()


def _line(process: "subprocess.Popen[str]", path: Path, *, seconds: float) -> dict[str, Any]:
    """Return the process's next line; it is killed where none comes in time."""
    assert process.stdout is not None
    late = threading.Timer(seconds, process.kill)
    late.start()
    try:
        text = process.stdout.readline()
    finally:
        late.cancel()
    document: dict[str, Any] = json.loads(text) if text else {}
    if not text or "error" in document:
        why = document.get("error", f"it ended, or said nothing for {seconds:g} s")
        raise RunError(f"`{path}` cannot run alongside: {why}", hint=document.get("hint", ""))
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the process."""
    parser = argparse.ArgumentParser(prog="python -m compactmtl.board.bench.alongside")
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=2, default=None)
    asked = parser.parse_args(arguments)
    try:
        session = open_session(asked.file, threads=asked.threads)
        inputs, _ = make_inputs(session.inputs, None, batch=asked.batch, size=asked.size)
        call = session.bind(inputs)
        call()
        _say(runtime=session.runtime)
        _say(**_loop(call))
    except BoardError as error:
        _say(error=error.message, hint=error.hint)
        return error.exit_code
    return 0


def _loop(call: Callable[[], object]) -> dict[str, float]:
    ended = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    num_calls, started = 0, time.perf_counter()
    while not num_calls or not ended.is_set():
        call()
        num_calls += 1
    return {"num_calls": num_calls, "seconds": time.perf_counter() - started}


def _say(**document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
