"""Run ONNX files in ONNX Runtime: the one place where it is told how."""

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.errors import (
    AskedError,
    DamagedError,
    MissingPackageError,
    NotHereError,
    RunError,
)
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
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
"""What we call them to what ONNX Runtime does, each with those that take over what it has not.
All but the first were never run on hardware."""


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
        provider: One of ``PROVIDERS``.

    Raises:
        AbsentError: There is no such file.
        DamagedError: ONNX Runtime cannot load it.
        MissingPackageError: ONNX Runtime is not installed.
        NotHereError: It has not the provider, or that does not start.
        UnsafeError: The file reaches outside its folder.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int,
        name: str | None = None,
        provider: str = "cpu",
    ) -> None:
        self.name = str(model) if name is None else name
        if isinstance(model, Path):
            read_onnx(model)  # nothing hostile reaches the runtime's parser
        ort = import_onnxruntime()
        wanted = _check_provider(ort, provider)
        options = session_options(threads)
        source = str(model) if isinstance(model, Path) else model
        started = time.perf_counter_ns()
        try:
            self._session = ort.InferenceSession(source, options, providers=wanted)
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise DamagedError(
                f"ONNX Runtime cannot load `{self.name}`: {_line(error)}",
                hint="expected an ONNX file as `compactmtl export` writes it",
            ) from error
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        if self._session.get_providers()[0] != wanted[0]:  # it falls back without an error
            raise NotHereError(
                f"ONNX Runtime's {wanted[0]} does not start on this machine",
                hint="check the GPU's driver, CUDA and cuDNN against ONNX Runtime's requirements",
            )
        self.inputs = tuple(_describe(value) for value in self._session.get_inputs())
        self.output_names = [output.name for output in self._session.get_outputs()]
        self.runtime = f"onnxruntime {ort.__version__}"
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "new arrays for the outputs"
        if provider != "cpu":
            self.runtime += f" ({provider})"
            self.device = "cuda"
            self.includes = "copies of inputs to the GPU and of outputs back"

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


def _check_provider(ort: Any, provider: str) -> list[str]:
    if provider not in PROVIDERS:
        raise AskedError(f"provider {provider!r}: expected one of {', '.join(PROVIDERS)}")
    wanted, offered = list(PROVIDERS[provider]), ort.get_available_providers()
    if wanted[0] not in offered:
        raise NotHereError(
            f"this ONNX Runtime {ort.__version__} has no {wanted[0]}; it has {', '.join(offered)}",
            hint="pip install onnxruntime-gpu in place of onnxruntime; on a Jetson, NVIDIA's build",
        )
    return [name for name in wanted if name in offered]


def _describe(value: Any) -> InputInfo:
    # A dimension without a name arrives as None.
    shape = tuple(size if isinstance(size, int) else str(size or "?") for size in value.shape)
    return InputInfo(value.name, shape, DTYPES.get(value.type, value.type))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
