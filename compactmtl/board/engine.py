"""Run a TensorRT or TensorRT-RTX engine, with copies in and out, on the first GPU.

Never run on hardware: no machine with a GPU was at hand. Tests cover the control flow with a fake.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.bindings import load_bindings
from compactmtl.board.cudart import Cuda
from compactmtl.board.driver import num_gpus
from compactmtl.board.engine_call import EngineCall
from compactmtl.board.engine_gpu import check_fits
from compactmtl.board.errors import AskedError, DamagedError, NotHereError
from compactmtl.board.files import read_bytes
from compactmtl.board.header import check_header, parse_header
from compactmtl.board.logger import process_logger
from compactmtl.board.tensors import Array, InputInfo


class EngineSession:
    """An engine and one execution context; see ``compactmtl.board.sessions.Session``.

    Args:
        path: The engine.
        cuda_graph: Whether bound calls launch a recorded CUDA graph, which saves the launches.

    Raises:
        AbsentError: There is no such file.
        DamagedError: It is no engine, or one of another version.
        MissingPackageError: The TensorRT that built it is not installed.
        NotHereError: There is no GPU, or none that it was built for.
    """

    def __init__(self, path: Path, *, cuda_graph: bool = False) -> None:
        plan = read_bytes(path)
        flavour = parse_header(plan, str(path)).flavour
        check_fits(path)
        if not num_gpus():
            raise NotHereError(
                f"`{path.name}` is an engine, and no NVIDIA GPU answers here",
                hint="run this on the machine with the GPU",
            )
        bindings = load_bindings(flavour)
        self._trt = bindings.module
        check_header(path, flavour, self._trt.__version__)
        started = time.perf_counter_ns()
        runtime = self._trt.Runtime(process_logger(bindings))
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise DamagedError(
                f"{bindings.name} refuses `{path.name}`: it was built for another GPU, or is "
                "damaged",
                hint="build it again on this machine",
            )
        self._context = self._engine.create_execution_context()
        self._cuda = Cuda()
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        self._graph = cuda_graph
        self.runtime = bindings.name + (" (CUDA graph)" if cuda_graph else "")
        self.device = "cuda"
        self.device_clock: Callable[[], float] | None = None
        self.includes = (
            "copies of inputs to the GPU and of outputs back, from pageable memory; never run on "
            "hardware"
        )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = self._trt.TensorIOMode.INPUT
        self._inputs = [n for n in names if self._engine.get_tensor_mode(n) == is_input]
        self._outputs = [n for n in names if n not in self._inputs]
        self.inputs = tuple(self._describe(name) for name in self._inputs)

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once, copies included.

        Raises:
            AskedError: An input is missing, or outside the engine's profile.
            RunError: The GPU reports an error.
        """
        call = self._call(self._context, inputs, graph=False)
        try:
            return dict(call())
        finally:
            call.close()

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call for timing, its memory allocated once; see ``Session``.

        Raises:
            AskedError: An input is missing, or outside the engine's profile.
            RunError: The GPU reports an error.
        """
        context = self._engine.create_execution_context()  # others would change its addresses
        call = self._call(context, inputs, graph=self._graph)
        self.device_clock = call.device_ms
        return call

    def _call(self, context: Any, inputs: Mapping[str, Array], *, graph: bool) -> EngineCall:
        for name in self._inputs:
            if name not in inputs:
                raise AskedError(f"input `{name}` is missing; got {', '.join(inputs)}")
        arrays = {
            name: np.ascontiguousarray(inputs[name], dtype=self._dtype(name))
            for name in self._inputs
        }
        outputs = {name: self._dtype(name) for name in self._outputs}
        return EngineCall(context, self._cuda, arrays, outputs, graph=graph)

    def _describe(self, name: str) -> InputInfo:
        sizes = tuple(self._engine.get_tensor_shape(name))
        shape = tuple(size if size >= 0 else f"dim{axis}" for axis, size in enumerate(sizes))
        return InputInfo(name, shape, np.dtype(self._dtype(name)).name)

    def _dtype(self, name: str) -> Any:
        return self._trt.nptype(self._engine.get_tensor_dtype(name))
