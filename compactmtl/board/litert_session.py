"""Run LiteRT files (``.tflite``) on the CPU."""

import importlib
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.errors import AbsentError, DamagedError, MissingPackageError, RunError
from compactmtl.board.stated import in_order, stated_names
from compactmtl.board.tensors import Array, InputInfo

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every file."""


class LiteRtSession:
    """A model in LiteRT; see ``compactmtl.board.sessions.Session``.

    LiteRT's signatures call inputs ``args_0``, ... and outputs ``output_0``, ...; the names are
    those of the sidecar where there is one.

    Raises:
        AbsentError: There is no such file.
        DamagedError: LiteRT cannot load it.
        MissingPackageError: LiteRT is not installed.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self.name = str(path)
        _check_file(path)
        litert = _import_litert()
        started = time.perf_counter_ns()
        try:
            # A large file stays on the disk until it is used: not its content, its name.
            self._interpreter = litert.Interpreter(str(path), num_threads=threads)
            self._runner = self._interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            raise DamagedError(f"LiteRT cannot load `{path}`: {_line(error)}") from error
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        details = self._runner.get_input_details()
        self._takes = [f"args_{index}" for index in range(len(details))]
        num = len(self._runner.get_output_details())
        self._gives = [f"output_{index}" for index in range(num)]
        names, self._outputs = stated_names(path, (self._takes, self._gives))
        self.inputs = tuple(
            InputInfo(
                name,
                tuple(int(size) for size in details[own]["shape"]),
                np.dtype(details[own]["dtype"]).name,
            )
            for name, own in zip(names, self._takes, strict=True)
        )
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "copies in and out"
        self.runtime = f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            AskedError: An input is missing, or of another shape.
            RunError: LiteRT fails.
        """
        return self._run(in_order(inputs, self.inputs))

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call for timing, copies in and out included; see ``Session``."""
        arrays = in_order(inputs, self.inputs)
        return lambda: self._run(arrays)

    def _run(self, arrays: list[Array]) -> dict[str, Array]:
        try:
            found = self._runner(**dict(zip(self._takes, arrays, strict=True)))
        except (RuntimeError, ValueError) as error:
            raise RunError(f"LiteRT cannot run `{self.name}`: {_line(error)}") from error
        return {name: found[own] for name, own in zip(self._outputs, self._gives, strict=True)}


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as handle:
            head = handle.read(8)
    except OSError as error:
        raise AbsentError(f"cannot read `{path}`: {error.strerror or error}") from error
    if head[4:] != IDENTIFIER:
        raise DamagedError(f"`{path}` is no LiteRT file: it does not say {IDENTIFIER.decode()}")


def _import_litert() -> Any:
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise MissingPackageError("LiteRT is not installed", hint="pip install ai-edge-litert")
    return importlib.import_module("ai_edge_litert.interpreter")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
