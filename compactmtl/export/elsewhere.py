"""An artefact that another process runs: another Python on this machine, or one on a board."""

import json
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress

from compactmtl.board.errors import BoardError
from compactmtl.board.own_times import OwnTimes
from compactmtl.board.stream import BIND, RUN, TIME, pack, receive, send, unpack
from compactmtl.board.tensors import Array, InputInfo
from compactmtl.errors import BenchError, CompactMTLError, CorruptFileError
from compactmtl.export.board_errors import translated

MAX_SECONDS = 1800
"""Longest that loading may take, and one call."""
LEAVE_SECONDS = 10
"""Time for the process to end by itself once its input has ended."""
Failed = Callable[[int, list[str]], CompactMTLError]
"""Makes an error of a process's exit code and of what it said, as lines."""


class Elsewhere:
    """A session in another process, which ends with this object; see ``board.sessions.Session``.

    Timed calls are timed there. An error ends the process, and so the session.

    Args:
        command: What runs ``python -m compactmtl.board stream FILE`` there.
        place: Where that is, as in ``on user@board``; may be empty.
        failed: Makes an error of how the process ended.
        cleanup: Called when it has ended.

    Raises:
        CompactMTLError: The file cannot be loaded there, or nothing answers.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        place: str,
        failed: Failed,
        cleanup: Callable[[], object] | None = None,
    ) -> None:
        self._failed = failed
        resources = ExitStack()
        self.close = weakref.finalize(self, resources.close)
        if cleanup is not None:
            resources.callback(cleanup)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe nobody reads would fill up
        resources.callback(self._said.close)
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
        )
        resources.callback(_end, self._process)
        content = self._exchange()
        try:
            hello = json.loads(content)
            self.runtime = f"{hello['runtime']} {place}".strip()
            self.includes = f"{hello['includes']}; in a process of its own, which times itself"
            self.load_ms = float(hello["load_ms"])
            self.device = str(hello["device"])
            self.inputs = tuple(
                InputInfo(str(each["name"]), tuple(each["shape"]), str(each["dtype"]))
                for each in hello["inputs"]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(f"what answers {place} is not compactmtl.board") from error
        self.device_clock: Callable[[], float] | None = None

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; returns the outputs by name.

        Raises:
            CompactMTLError: What the runtime says there; or the process is gone, or hangs.
        """
        with translated():
            return unpack(self._exchange(RUN, pack(inputs)))

    def bind(self, inputs: Mapping[str, Array]) -> OwnTimes:
        """Return a call for timing; there is one at a time; see ``Session``."""
        return OwnTimes(lambda: self._times(TIME), self._times(BIND, pack(inputs)))

    def _times(self, *contents: bytes) -> tuple[int, int]:
        found = json.loads(self._exchange(*contents))
        return found.get("wall_ns", 0), found.get("cpu_ns", 0)

    def _exchange(self, *contents: bytes) -> bytes:
        """Send messages, if any, and return the answer."""
        if not self.close.alive:
            raise BenchError("the process of the runtime has ended")
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        watch = threading.Timer(MAX_SECONDS, stop)
        watch.start()
        broken: BoardError | None = None
        answer = None
        try:
            for content in contents:
                send(sink, content)
            answer = receive(source)
        except BrokenPipeError:
            pass  # the process is gone; below it says why
        except BoardError as error:
            broken = error
        finally:
            watch.cancel()
        if answer is not None:
            return answer
        _end(self._process)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").splitlines()
        code = self._process.returncode
        self.close()
        if late.is_set():
            raise BenchError(f"no answer within {MAX_SECONDS} s from the process of the runtime")
        if broken is not None and code == 0:
            with translated():
                raise broken
        raise self._failed(code, said)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process: its input ends, which tells it to; else it is killed."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it is gone already
        process.stdin.close()
    try:
        process.wait(LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
