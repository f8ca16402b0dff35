"""ONNX Runtime on the CPU."""

import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnxruntime as ort

from compactmtl.bench.complexity import count_onnx
from compactmtl.bench.runners.base import Cost, InputInfo, Loaded, Runner
from compactmtl.board.onnx_file import read_onnx
from compactmtl.errors import BenchError, CorruptFileError
from compactmtl.export.board_errors import translated
from compactmtl.export.stored import Array, Arrays

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


class OnnxRuntimeRunner(Runner):
    """Loads with all graph optimisations and without spinning.

    Spinning threads wait by burning CPU time, which would count as work in the process's CPU time
    and slow down whatever is measured next.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)

    def cost(self, path: Path, inputs: Arrays) -> Cost:
        """Count the ONNX graph; see ``Runner.cost``."""
        counted = count_onnx(path, inputs)
        return Cost(counted.macs, counted.num_params, counted.uncounted)

    def load(self, path: Path, *, threads: int) -> Loaded:
        """Load an ONNX file; see ``Runner.load``."""
        with translated():
            read_onnx(path)  # nothing hostile reaches the runtime's parser
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what fails is raised, and said once
        started = time.perf_counter_ns()
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            raise CorruptFileError(
                f"ONNX Runtime cannot load `{path}`: {' '.join(str(error).split())}",
                hint="expected an ONNX file as `compactmtl export` writes it",
            ) from error
        load_ms = (time.perf_counter_ns() - started) / 1e6
        names = [output.name for output in session.get_outputs()]

        def run(inputs: Arrays) -> dict[str, Array]:
            try:
                values = session.run(names, inputs)
            except Exception as error:  # as above
                raise BenchError(
                    f"ONNX Runtime cannot run `{path}`: {' '.join(str(error).split())}"
                ) from error
            return dict(zip(names, (np.asarray(value) for value in values), strict=True))

        return Loaded(
            inputs=tuple(_describe(value) for value in session.get_inputs()),
            run=run,
            load_ms=load_ms,
            runtime=f"onnxruntime {ort.__version__}",
        )


def _describe(value: ort.NodeArg) -> InputInfo:
    if value.type not in DTYPES:
        raise BenchError(f"input `{value.name}` is {value.type}, which the bench cannot fill")
    # A dimension without a name arrives as None.
    shape = tuple(size if isinstance(size, int) else str(size or "?") for size in value.shape)
    return InputInfo(name=value.name, shape=shape, dtype=DTYPES[value.type])
