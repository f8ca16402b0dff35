"""Sessions in another Python, which has a runtime that this one has not."""

import json
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board import errors as board
from compactmtl.board.own_times import OwnTimes
from compactmtl.board.stored import read_arrays
from compactmtl.board.tensors import Array, InputInfo
from compactmtl.remote.application import NAME, make_application


class ServedSession:
    """An artefact loaded by ``compactmtl.board serve`` in another Python; see ``Session``.

    Calls run there, when this process says so, and are timed there.

    Args:
        path: The artefact.
        python: The interpreter that has its runtime and numpy.
        threads: Threads of the runtime.

    Raises:
        BoardError: It cannot be loaded there.
        RunError: The other process died.
    """

    def __init__(self, path: Path, *, python: Path, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="compactmtl-served-")
        application = Path(self._folder.name) / NAME
        application.write_bytes(make_application())
        self._process = subprocess.Popen(
            # Isolated: what lies in this process's path is not for the other Python.
            [python, "-I", application, "serve", path, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._path, self._last = path, (0, 0)
        self._finalizer = weakref.finalize(self, _end, self._process, self._folder)
        found = self._answer()
        self.inputs = tuple(
            InputInfo(each["name"], tuple(each["shape"]), each["dtype"]) for each in found["inputs"]
        )
        self.runtime = str(found["runtime"])
        self.includes = f"{found['includes']}; in a process of its own, which times itself"
        self.load_ms = float(found["load_ms"])
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            BoardError: The runtime refuses the inputs.
        """
        target = Path(self._folder.name) / "outputs.npz"
        self._last = self._ask("run", self._store(inputs), str(target))
        return read_arrays(target, hint="")

    def bind(self, inputs: Mapping[str, Array]) -> OwnTimes:
        """Return a call for timing; there is one at a time; see ``Session``."""
        self._ask("bind", self._store(inputs))
        return OwnTimes(self._time, self._last)

    def _time(self) -> tuple[int, int]:
        self._last = self._ask("time")
        return self._last

    def _store(self, inputs: Mapping[str, Array]) -> str:
        path = Path(self._folder.name) / "inputs.npz"
        arrays: dict[str, Any] = dict(inputs)
        np.savez(path, **arrays)
        return str(path)

    def _ask(self, *command: str) -> tuple[int, int]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer, or that there is none, says why
        found = self._answer()
        return found.get("wall_ns", 0), found.get("cpu_ns", 0)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise board.RunError(f"what runs `{self._path}` died with exit code {code}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            kinds = {kind.exit_code: kind for kind in reversed(board.BoardError.__subclasses__())}
            raise kinds.get(found["code"], board.RunError)(found["error"], hint=found["hint"])
        return found


def _end(process: "subprocess.Popen[str]", folder: "tempfile.TemporaryDirectory[str]") -> None:
    process.kill()
    process.communicate()
    folder.cleanup()
