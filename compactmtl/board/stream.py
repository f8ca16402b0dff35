"""A pipe to an artefact: a process loads it once, and runs it when another one says so.

Each message is its length (8 bytes, big-endian), its SHA-256 (32 bytes), and its content. The first
that goes out is a JSON document, which says what the artefact takes and what runs it. What comes in
is a word, and after the first two of them arrays as an ``.npz`` file; each has one answer:

    run     run once on these arrays: the outputs, as an ``.npz`` file
    bind    from now on, time on these arrays: how long the last run took, as JSON
    time    run once: how long it took, as JSON

The clocks are those of this process, so the pipe is in no time. The end of the input ends the
process, and so does an error, which it writes to its standard error.
"""

import hashlib
import io
import json
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from compactmtl.board.errors import DamagedError, UnsafeError
from compactmtl.board.sessions import Session
from compactmtl.board.tensors import Array

RUN, BIND, TIME = b"run", b"bind", b"time"
HEAD = struct.Struct(">Q32s")
MAX_BYTES = 2**33
"""No message of ours is larger; what says it is, is something else."""
PIECE = 2**20
MARK = "="


def serve(session: Session, source: IO[bytes], sink: IO[bytes]) -> int:
    """Say what a session is, then do what each message says; returns how many there were.

    Raises:
        AskedError: An input is missing, or not what the artefact takes.
        DamagedError: What comes in is cut short, changed on the way, or no message of ours.
        RunError: The runtime fails.
    """
    hello = {
        "runtime": session.runtime,
        "device": session.device,
        "includes": session.includes,
        "load_ms": session.load_ms,
        "inputs": [asdict(info) for info in session.inputs],
    }
    send(sink, json.dumps(hello).encode())
    call: Callable[[], object] | None = None
    times: dict[str, int] = {}
    num = 0
    while (word := receive(source)) is not None:
        if word in (RUN, BIND):
            inputs = unpack(receive(source) or b"")
        if word == RUN:
            outputs: dict[str, Array] = {}
            times = _timed(lambda: outputs.update(session(inputs)))  # noqa: B023 - called at once
            send(sink, pack(outputs))
        elif word == BIND:
            call = session.bind(inputs)
            send(sink, json.dumps(times).encode())
        elif word == TIME and call is not None:
            times = _timed(call)
            send(sink, json.dumps(times).encode())
        else:
            raise DamagedError(f"expected a word that says what to do, got {word[:24]!r}")
        num += 1
    return num


def _timed(call: Callable[[], object]) -> dict[str, int]:
    wall_start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
    call()
    cpu_end, wall_end = time.process_time_ns(), time.perf_counter_ns()
    return {"wall_ns": wall_end - wall_start, "cpu_ns": cpu_end - cpu_start}


def send(sink: IO[bytes], content: bytes) -> None:
    """Write one message.

    Raises:
        OSError: Nobody reads it.
    """
    sink.write(HEAD.pack(len(content), hashlib.sha256(content).digest()))
    sink.write(content)
    sink.flush()


def receive(source: IO[bytes]) -> bytes | None:
    """Return the content of the next message; None where there is no more.

    Raises:
        DamagedError: It is cut short, changed on the way, or no message.
    """
    head = _read(source, HEAD.size)
    if not head:
        return None
    if len(head) < HEAD.size:
        raise DamagedError(f"a message was cut short within its first {HEAD.size} bytes")
    length, stated = HEAD.unpack(head)
    if length > MAX_BYTES:
        raise DamagedError(
            f"expected a message, got {head[:24]!r}...",
            hint="a login that prints something gets in the way",
        )
    content = _read(source, length)
    if len(content) < length:
        raise DamagedError(f"a message was cut short: {len(content)} of {length} bytes came")
    if hashlib.sha256(content).digest() != stated:
        raise DamagedError(f"a message of {length} bytes was changed on the way: its SHA-256")
    return content


def pack(arrays: Mapping[str, Array]) -> bytes:
    """Return arrays as the bytes of an ``.npz`` file."""
    buffer = io.BytesIO()
    # The mark keeps names apart from the parameters of `savez`.
    named: dict[str, Any] = {MARK + name: array for name, array in arrays.items()}
    np.savez(buffer, **named)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` file.

    Raises:
        DamagedError: It is none.
        UnsafeError: It holds pickled objects.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name.removeprefix(MARK): arrays[name] for name in arrays.files}
    except Exception as error:  # damaged bytes make zipfile, zlib and numpy raise nearly anything
        if "Object arrays" in str(error):
            raise UnsafeError("a message holds pickled objects, which run code") from error
        raise DamagedError("a message is not an intact file of arrays (.npz)") from error


def _read(source: IO[bytes], size: int) -> bytes:
    """Read so many bytes, or fewer where the source ends; memory grows with what comes."""
    pieces = []
    while size and (piece := source.read(min(size, PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
