"""Load an artefact in the runtime it was written for, and call it with arrays.

ONNX Runtime and OpenVINO run on the CPU here. Engines run on a GPU; see ``engine.py``.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from compactmtl.board.engine import EngineSession
from compactmtl.board.errors import AskedError, DamagedError, MissingPackageError, RunError
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.openvino_session import OpenVinoSession

Array = npt.NDArray[Any]


class Session(Protocol):
    """A loaded artefact."""

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once, synchronously; returns the outputs by name."""


def open_session(path: Path, *, threads: int = 1) -> Session:
    """Load an artefact.

    Args:
        path: An ``.onnx``, ``.xml`` (OpenVINO) or ``.engine`` file.
        threads: Threads of a runtime on the CPU.

    Raises:
        AskedError: Nothing here runs files of this suffix.
        MissingPackageError: The runtime is not installed.
        NotHereError: There is no GPU to run an engine on.
        DamagedError: The runtime cannot read the file.
        UnsafeError: The file reaches outside its folder.
    """
    if path.suffix == ".onnx":
        return OnnxSession(path, threads)
    if path.suffix == ".xml":
        return OpenVinoSession(path, threads)
    if path.suffix == ".engine":
        return EngineSession(path)
    raise AskedError(
        f"nothing here runs `{path.name}`", hint="expected a file .onnx, .xml or .engine"
    )


class OnnxSession:
    """An ONNX file in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        read_onnx(path)  # nothing hostile reaches the runtime's parser
        ort = _import("onnxruntime", "pip install onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what fails is raised, and said once
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise DamagedError(f"ONNX Runtime cannot load `{path}`: {_line(error)}") from error
        self._names = [output.name for output in self._session.get_outputs()]
        self.runtime = f"onnxruntime {ort.__version__}"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``."""
        try:
            values = self._session.run(self._names, dict(inputs))
        except Exception as error:  # as above
            raise RunError(f"ONNX Runtime cannot run the model: {_line(error)}") from error
        return dict(zip(self._names, values, strict=True))


def _import(name: str, hint: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise MissingPackageError(f"{name} is not installed", hint=hint)
    return importlib.import_module(name)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
