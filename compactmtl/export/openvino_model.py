"""ONNX models read by OpenVINO, which needs no torch."""

import re
from typing import Any

from compactmtl.board.openvino_session import core, reason
from compactmtl.errors import ExportError
from compactmtl.export.board_errors import translated


def read_onnx(content: bytes) -> Any:
    """Convert an ONNX file's content.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ExportError: OpenVINO has no operation for one of the file's.
    """
    with translated():
        engine = core()
    try:
        return engine.read_model(content)
    except RuntimeError as error:
        if unknown := re.search(r"No conversion rule found for operations: (.*)", str(error)):
            names = ", ".join(sorted({op.rpartition("-")[0] for op in unknown[1].split(", ")}))
            raise ExportError(
                f"OpenVINO has no operation for {names}",
                hint="leave out the tasks that need it, or export for `onnx`",
            ) from error
        raise ExportError(f"OpenVINO cannot read the model: {reason(error)}") from error
