"""Models in OpenVINO on the CPU, computing in fp32. Needs no torch: the bench uses it, too."""

import re
from pathlib import Path
from typing import Any

from compactmtl.board.openvino_session import SETTINGS, core
from compactmtl.environment import version
from compactmtl.errors import CorruptFileError, ExportError, MissingFileError
from compactmtl.export.board_errors import translated
from compactmtl.files import read_error

PACKAGE = "openvino"
CHATTER = ("Exception from", "Check '", "FrontEnd API failed", "Model wasn't", "Summary:")
"""How lines of OpenVINO's errors begin that name its own source and not what is wrong."""


def runtime() -> str:
    """Return name, version and precision, as records state them."""
    return f"openvino {str(version(PACKAGE)).partition('-')[0]} (CPU, f32)"


def compile_model(model: Path | bytes, name: str, *, threads: int) -> Any:
    """Read and compile a model for the CPU in fp32.

    Args:
        model: The ``.xml`` file of an IR, its ``.bin`` beside it; or an ONNX file's content.
        name: How errors call it.
        threads: Threads to compute on.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        MissingFileError: A file is not there.
        CorruptFileError: OpenVINO cannot load it.
        ExportError: It holds an operation that OpenVINO has not.
    """
    if isinstance(model, Path):
        _check_files(model, name)
    settings = SETTINGS | {"INFERENCE_NUM_THREADS": threads}
    with translated():
        engine = core()
    source = model if isinstance(model, Path) else read_onnx(model)
    try:
        return engine.compile_model(source, "CPU", settings)
    except RuntimeError as error:
        raise CorruptFileError(f"OpenVINO cannot load `{name}`: {reason(error)}") from error


def _check_files(xml: Path, name: str) -> None:
    try:
        with xml.open("rb") as handle:
            head = handle.read(5)
    except OSError as error:
        raise read_error(xml, error) from error
    if head != b"<?xml":  # OpenVINO would try every format it knows, aloud
        raise CorruptFileError(f"`{name}` is no IR of OpenVINO: it does not begin with <?xml")
    if not xml.with_suffix(".bin").is_file():
        raise MissingFileError(
            f"no such file: `{xml.with_suffix('.bin')}`", hint="it holds the weights of the IR"
        )


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


def reason(error: RuntimeError) -> str:
    """Return the line of an error of OpenVINO that says what is wrong."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(CHATTER)]
    return telling[-1] if telling else " ".join(str(error).split())
