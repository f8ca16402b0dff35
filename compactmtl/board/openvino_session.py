"""Run OpenVINO's models on the CPU, computing in fp32."""

import functools
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.board.errors import DamagedError, MissingPackageError, RunError

SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""Without the first, OpenVINO computes in bfloat16 wherever the processor can."""

Array = npt.NDArray[Any]


def import_openvino() -> Any:
    """Import OpenVINO.

    Raises:
        MissingPackageError: It is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise MissingPackageError(
            "OpenVINO is not installed", hint='pip install "compactmtl[openvino]"'
        )
    return importlib.import_module("openvino")


@functools.cache
def core() -> Any:
    """Return the one ``openvino.Core`` of this process.

    Each Core that compiles for the CPU gives the thread a stack for signal handlers and frees it
    when it goes; after a second one the next signal, Ctrl-C for one, ends in a segmentation fault
    (seen with 2026.4.1).

    Raises:
        MissingPackageError: OpenVINO is not installed.
    """
    return import_openvino().Core()


def output_names(model: Any) -> list[str]:
    """Return the names of a model's outputs, in order.

    A value can have several names; that of its result node is the output's.
    """
    return [output.node.friendly_name.removesuffix("/sink_port_0") for output in model.outputs]


class OpenVinoSession:
    """A compiled model; see ``compactmtl.board.sessions.Session``.

    Raises:
        MissingPackageError: OpenVINO is not installed.
        DamagedError: OpenVINO cannot load the file.
    """

    def __init__(self, path: Path, threads: int) -> None:
        settings = SETTINGS | {"INFERENCE_NUM_THREADS": threads}
        engine = core()
        try:
            self._model = engine.compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            raise DamagedError(f"OpenVINO cannot load `{path}`: {_line(error)}") from error
        self._names = output_names(self._model)
        self.runtime = f"openvino {import_openvino().__version__.split('-')[0]}"

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; returns the outputs by name.

        Raises:
            RunError: OpenVINO refuses the inputs.
        """
        try:
            values = self._model(dict(inputs))
        except RuntimeError as error:
            raise RunError(f"OpenVINO cannot run the model: {_line(error)}") from error
        return {name: np.array(values[place]) for place, name in enumerate(self._names)}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
