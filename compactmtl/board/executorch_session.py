"""Run ExecuTorch's ``.pte`` files on the CPU. Its Python runtime needs torch for its tensors."""

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

PACKAGE = "executorch"


class ExecuTorchSession:
    """A program in ExecuTorch; see ``compactmtl.board.sessions.Session``.

    Its Python runtime has no setting for threads: XNNPACK takes as many as there are cores.

    Raises:
        MissingPackageError: ExecuTorch is not installed.
        AbsentError: The file or its sidecar is not there.
        DamagedError: ExecuTorch cannot load it.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec(PACKAGE) is None:
            raise MissingPackageError(f"{PACKAGE} is not installed", hint=f"pip install {PACKAGE}")
        self.inputs, self.output_names = read_interface(path)
        self._torch: Any = importlib.import_module("torch")
        runtime: Any = importlib.import_module("executorch.runtime")
        started = time.perf_counter_ns()
        try:
            self._program = runtime.Runtime.get().load_program(str(path))
            self._method = self._program.load_method("forward")
        except (RuntimeError, ValueError, OSError) as error:
            raise DamagedError(f"ExecuTorch cannot load `{path}`: {_line(error)}") from error
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        self._path = path
        self.runtime = f"executorch {metadata.version(PACKAGE)} (threads of its own choice)"
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "no copies of outputs"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            AskedError: An input is missing.
            RunError: ExecuTorch refuses the inputs.
        """
        outputs = self.bind(inputs)()
        return {
            name: value.numpy().copy()
            for name, value in zip(self.output_names, outputs, strict=True)
        }

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], Any]:
        """Return a call for timing; see ``Session``."""
        for info in self.inputs:
            if info.name not in inputs:
                raise AskedError(f"input `{info.name}` is missing; got {', '.join(inputs)}")
        fixed = [
            self._torch.from_numpy(np.ascontiguousarray(inputs[info.name])) for info in self.inputs
        ]

        def call() -> Any:
            try:
                return self._method.execute(fixed)
            except (RuntimeError, ValueError) as error:
                raise RunError(f"ExecuTorch cannot run `{self._path}`: {_line(error)}") from error

        return call


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
