"""Run LiteRT's ``.tflite`` files on the CPU, by XNNPACK."""

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.errors import AskedError, DamagedError, MissingPackageError, RunError
from compactmtl.board.interface import read_interface
from compactmtl.board.tensors import Array

MODULE, PACKAGE = "ai_edge_litert", "ai-edge-litert"


class LiteRtSession:
    """A model in LiteRT; see ``compactmtl.board.sessions.Session``.

    LiteRT calls inputs ``args_0``, ... and outputs ``output_0``, ...; the sidecar has their names.

    Raises:
        MissingPackageError: LiteRT is not installed.
        AbsentError: The file or its sidecar is not there.
        DamagedError: LiteRT cannot load it.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        if importlib.util.find_spec(MODULE) is None:
            raise MissingPackageError(f"{PACKAGE} is not installed", hint=f"pip install {PACKAGE}")
        self.inputs, self.output_names = read_interface(path)
        module: Any = importlib.import_module(f"{MODULE}.interpreter")
        started = time.perf_counter_ns()
        try:
            self._interpreter = module.Interpreter(str(path), num_threads=threads)
            self._run = self._interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            raise DamagedError(f"LiteRT cannot load `{path}`: {_line(error)}") from error
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        self._path = path
        self.runtime = f"litert {metadata.version(PACKAGE)}"
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "copies of inputs and outputs"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            AskedError: An input is missing.
            RunError: LiteRT refuses the inputs.
        """
        outputs = self.bind(inputs)()
        return {
            name: np.array(outputs[f"output_{index}"])
            for index, name in enumerate(self.output_names)
        }

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], Any]:
        """Return a call for timing; see ``Session``."""
        for info in self.inputs:
            if info.name not in inputs:
                raise AskedError(f"input `{info.name}` is missing; got {', '.join(inputs)}")
        fixed = {f"args_{index}": inputs[info.name] for index, info in enumerate(self.inputs)}

        def call() -> Any:
            try:
                return self._run(**fixed)
            except (RuntimeError, ValueError) as error:
                raise RunError(f"LiteRT cannot run `{self._path}`: {_line(error)}") from error

        return call


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
