"""A model in ONNX Runtime, and what goes wrong with it in one line."""

from collections.abc import Callable

import onnx

from compactmtl.errors import BenchError, CorruptFileError, ExportError
from compactmtl.export.stored import Array, Arrays

Run = Callable[[Arrays], dict[str, Array]]
RunWith = Callable[[bytes, str], Run]
"""Loads a model's bytes in ONNX Runtime; the text is what to call it in an error."""


def load(model: onnx.ModelProto, run_with: RunWith, name: str) -> Run:
    """Load a model; what it then raises is one line.

    Raises:
        ExportError: ONNX Runtime does not take it.
    """
    try:
        loaded = run_with(model.SerializeToString(), name)
    except CorruptFileError as error:
        raise ExportError(f"{error.message}; nothing was written") from error

    def run(inputs: Arrays) -> dict[str, Array]:
        try:
            return loaded(inputs)
        except BenchError as error:
            raise ExportError(error.message) from error

    return run
