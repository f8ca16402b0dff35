"""Run ONNX files in ONNX Runtime on the CPU: the one place where it is told how."""

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.errors import DamagedError, MissingPackageError, RunError
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.tensors import Array, InputInfo

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}


def import_onnxruntime() -> Any:
    """Import ONNX Runtime.

    Raises:
        MissingPackageError: It is not installed.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingPackageError("onnxruntime is not installed", hint="pip install onnxruntime")
    return importlib.import_module("onnxruntime")


def session_options(threads: int) -> Any:
    """Return the settings of every session of ours: all optimisations, one call after the other.

    Threads do not spin: they would wait by burning CPU time, which would count as work in the
    process's CPU time and slow down whatever is measured next.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what fails is raised, and said once
    return options


class OnnxSession:
    """An ONNX model in ONNX Runtime; see ``compactmtl.board.sessions.Session``.

    Args:
        model: A file, or the content of one that is known to be harmless.
        threads: Threads to compute on.
        name: How errors call the model; None: the path.

    Raises:
        AbsentError: There is no such file.
        DamagedError: ONNX Runtime cannot load it.
        MissingPackageError: ONNX Runtime is not installed.
        UnsafeError: The file reaches outside its folder.
    """

    def __init__(self, model: Path | bytes, *, threads: int, name: str | None = None) -> None:
        self.name = str(model) if name is None else name
        if isinstance(model, Path):
            read_onnx(model)  # nothing hostile reaches the runtime's parser
        ort = import_onnxruntime()
        options = session_options(threads)
        source = str(model) if isinstance(model, Path) else model
        started = time.perf_counter_ns()
        try:
            self._session = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise DamagedError(
                f"ONNX Runtime cannot load `{self.name}`: {_line(error)}",
                hint="expected an ONNX file as `compactmtl export` writes it",
            ) from error
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        self.inputs = tuple(_describe(value) for value in self._session.get_inputs())
        self.output_names = [output.name for output in self._session.get_outputs()]
        self.runtime = f"onnxruntime {ort.__version__}"
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "new arrays for the outputs"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            RunError: ONNX Runtime refuses the inputs, or fails.
        """
        values = self._run(dict(inputs))
        return dict(zip(self.output_names, map(np.asarray, values), strict=True))

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call for timing; see ``Session``."""
        fixed = dict(inputs)
        return lambda: self._run(fixed)

    def _run(self, inputs: dict[str, Array]) -> list[Any]:
        try:
            values: list[Any] = self._session.run(self.output_names, inputs)
        except Exception as error:  # as above
            raise RunError(f"ONNX Runtime cannot run `{self.name}`: {_line(error)}") from error
        return values


def _describe(value: Any) -> InputInfo:
    # A dimension without a name arrives as None.
    shape = tuple(size if isinstance(size, int) else str(size or "?") for size in value.shape)
    return InputInfo(value.name, shape, DTYPES.get(value.type, value.type))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
