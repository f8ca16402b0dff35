"""Run ONNX files in ONNX Runtime: the one place where it is told how."""

import importlib
import importlib.util
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.cudart import Cuda
from compactmtl.board.errors import (
    AskedError,
    BoardError,
    DamagedError,
    MissingPackageError,
    NotHereError,
    RunError,
)
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.onnx_gpu import GpuCall, with_options
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
CPU = "cpu"
PROVIDERS = {
    CPU: ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
"""What we call them to what ONNX Runtime does, each with those that take over what it has not.
All but the first were never run on hardware."""
NO_GRAPH = re.compile("use the (graph capture|CUDA graph) feature", re.IGNORECASE)
"""Of what ONNX Runtime says when a session is made that cannot be recorded."""
NO_START = "does not start on this machine"
GPU_HINT = "check the GPU's driver, CUDA and cuDNN against ONNX Runtime's requirements"


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
        cuda_graph: Record the first call on a GPU as a CUDA graph; the sizes of its inputs stay.

    Raises:
        AbsentError: There is no such file.
        AskedError: A CUDA graph is asked for on the CPU.
        DamagedError: ONNX Runtime cannot load it.
        MissingPackageError: ONNX Runtime is not installed.
        NotHereError: It has not the provider, or that does not start.
        RunError: It cannot be recorded as a CUDA graph.
        UnsafeError: The file reaches outside its folder.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int,
        name: str | None = None,
        provider: str = "cpu",
        cuda_graph: bool = False,
    ) -> None:
        self.name = str(model) if name is None else name
        if isinstance(model, Path):
            read_onnx(model)  # nothing hostile reaches the runtime's parser
        ort = import_onnxruntime()
        wanted = _check_provider(ort, provider)
        if cuda_graph and provider == CPU:
            raise AskedError("a CUDA graph needs a GPU", hint="give --provider cuda, or tensorrt")
        self._ort, self._threads, self._graph = ort, threads, cuda_graph
        self._source = str(model) if isinstance(model, Path) else model
        self._cuda = None if provider == CPU else Cuda()
        self._events = (self._cuda.event(), self._cuda.event()) if self._cuda else (0, 0)
        asked = wanted if self._cuda is None else with_options(wanted, self._cuda, graph=cuda_graph)
        started = time.perf_counter_ns()
        self._session = self._load(asked)
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        if self._session.get_providers()[0] != wanted[0]:  # it may leave one out without an error
            raise NotHereError(f"ONNX Runtime's {wanted[0]} {NO_START}", hint=GPU_HINT)
        self.inputs = tuple(_describe(value) for value in self._session.get_inputs())
        self.output_names = [output.name for output in self._session.get_outputs()]
        self.runtime = f"onnxruntime {ort.__version__}"
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "new arrays for the outputs"
        self._recorded: GpuCall | None = None
        if self._cuda is not None:
            self.runtime += f" ({provider}, CUDA graph)" if cuda_graph else f" ({provider})"
            self.device = "cuda"
            self.includes = "copies of inputs to the GPU and of outputs back; never run on hardware"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            AskedError: It is recorded as a CUDA graph for other shapes.
            RunError: ONNX Runtime refuses the inputs, or fails.
        """
        return dict(zip(self.output_names, map(np.asarray, self._call(inputs)()), strict=True))

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call for timing; see ``Session``.

        Raises:
            AskedError: It is recorded as a CUDA graph for other shapes.
            RunError: ONNX Runtime refuses the inputs.
        """
        return self._call(inputs, timed=True)

    def _call(self, inputs: Mapping[str, Array], *, timed: bool = False) -> Callable[[], list[Any]]:
        fixed = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        if self._cuda is None:
            return lambda: self._guarded(self._session.run, self.output_names, fixed)
        call = self._on_gpu(self._cuda, fixed)
        if timed:
            self.device_clock = call.device_ms
        return lambda: self._guarded(call, fixed)

    def _on_gpu(self, cuda: Cuda, arrays: Mapping[str, Array]) -> GpuCall:
        """Return what runs on arrays of these shapes: as a graph, the one that was recorded."""
        if self._recorded is not None:
            shapes = {name: array.shape for name, array in arrays.items()}
            if shapes != self._recorded.shapes:
                raise AskedError(
                    f"`{self.name}` is recorded as a CUDA graph for {self._recorded.shapes}, got "
                    f"{shapes}",
                    hint="leave out --cuda-graph",
                )
            return self._recorded
        outputs: dict[str, Array | None] = dict.fromkeys(self.output_names)
        if self._graph:  # its outputs stay in one place; how large they are, the CPU tells
            on_cpu = self._load([*PROVIDERS[CPU]])
            found = self._guarded(on_cpu.run, self.output_names, dict(arrays))
            outputs = dict(zip(self.output_names, found, strict=True))
        make = partial(GpuCall, cuda=cuda, events=self._events, arrays=arrays, outputs=outputs)
        call: GpuCall = self._guarded(make, self._ort, self._session)
        self._recorded = call if self._graph else None
        return call

    def _load(self, providers: list[Any]) -> Any:
        options = session_options(self._threads)
        try:
            return self._ort.InferenceSession(
                self._source, options, providers=providers, enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            said = _line(error)
            if self._graph and NO_GRAPH.search(said):
                raise RunError(
                    f"ONNX Runtime cannot record `{self.name}` as a CUDA graph: {said}",
                    hint="leave out --cuda-graph; it takes a network without If, Loop and Scan, "
                    "all of whose nodes run in the one provider",
                ) from error
            if self._cuda is not None and isinstance(error, ValueError | RuntimeError):
                raise NotHereError(f"ONNX Runtime {NO_START}: {said}", hint=GPU_HINT) from error
            raise DamagedError(
                f"ONNX Runtime cannot load `{self.name}`: {said}",
                hint="expected an ONNX file as `compactmtl export` writes it",
            ) from error

    def _guarded(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except BoardError:
            raise
        except Exception as error:  # as above
            raise RunError(
                f"ONNX Runtime cannot run `{self.name}`: {_line(error)}",
                hint="it is to be recorded as a CUDA graph: try without --cuda-graph"
                if self._graph
                else "",
            ) from error


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
