"""Run ExecuTorch programs (``.pte``) on the CPU."""

import importlib
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compactmtl.board.errors import AbsentError, DamagedError, MissingPackageError, RunError
from compactmtl.board.stated import in_order, stated_names
from compactmtl.board.tensors import Array, InputInfo

IDENTIFIER = b"ET"
"""What bytes 4 to 8 of every program begin with."""
METHOD = "forward"
DTYPES = {0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32"}
"""ExecuTorch's numbers of types, which are those of torch."""


class ExecuTorchSession:
    """A program in ExecuTorch; see ``compactmtl.board.sessions.Session``.

    Its inputs and outputs have no names of their own: they are those of the sidecar, else
    ``input_0``, ... and ``output_0``, .... Its Python has no setting for the number of threads.

    Raises:
        AbsentError: There is no such file.
        DamagedError: ExecuTorch cannot load it.
        MissingPackageError: ExecuTorch is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        _check_file(path)
        runtime, self._torch = _import_executorch()
        started = time.perf_counter_ns()
        try:
            self._program = runtime.Runtime.get().load_program(str(path))
            self._method = self._program.load_method(METHOD)
            about = self._method.metadata
            taken = [about.input_tensor_meta(index) for index in range(about.num_inputs())]
        except (RuntimeError, ValueError) as error:
            raise DamagedError(f"ExecuTorch cannot load `{path}`: {_line(error)}") from error
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        own = [f"input_{index}" for index in range(len(taken))]
        gives = [f"output_{index}" for index in range(about.num_outputs())]
        names, self._outputs = stated_names(path, (own, gives))
        self.inputs = tuple(
            InputInfo(name, tuple(map(int, meta.sizes())), DTYPES[int(meta.dtype())])
            for name, meta in zip(names, taken, strict=True)
        )
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "new tensors for the outputs"
        version = importlib.metadata.version("executorch")
        self.runtime = f"executorch {version} (threads of its own choice)"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see ``Session``.

        Raises:
            AskedError: An input is missing, or of another shape.
            RunError: ExecuTorch fails.
        """
        values = self._run(in_order(inputs, self.inputs))
        return {n: v.numpy().copy() for n, v in zip(self._outputs, values, strict=True)}

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call for timing; see ``Session``."""
        arrays = in_order(inputs, self.inputs)
        return lambda: self._run(arrays)

    def _run(self, arrays: list[Array]) -> list[Any]:
        try:
            return list(self._method.execute([self._torch.from_numpy(a) for a in arrays]))
        except (RuntimeError, ValueError) as error:
            raise RunError(f"ExecuTorch cannot run `{self.name}`: {_line(error)}") from error


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as handle:
            head = handle.read(8)
    except OSError as error:
        raise AbsentError(f"cannot read `{path}`: {error.strerror or error}") from error
    if head[4:6] != IDENTIFIER:
        raise DamagedError(f"`{path}` is no ExecuTorch program: it does not say ET")


def _import_executorch() -> tuple[Any, Any]:
    if importlib.util.find_spec("executorch") is None:
        raise MissingPackageError("ExecuTorch is not installed", hint="pip install executorch")
    return importlib.import_module("executorch.runtime"), importlib.import_module("torch")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
