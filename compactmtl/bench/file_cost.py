"""What one file costs, counted without timing it."""

from dataclasses import dataclass
from pathlib import Path

from compactmtl.bench.complexity import Complexity
from compactmtl.bench.cost import count, why_not_run
from compactmtl.board.bench.inputs import make_inputs
from compactmtl.board.stored import stored_beside
from compactmtl.errors import UsageError
from compactmtl.export.board_errors import translated
from compactmtl.export.safe_onnx import open_onnx
from compactmtl.export.session import open_session


@dataclass(frozen=True)
class FileCost:
    """The cost of a file at these shapes, by input name."""

    complexity: Complexity
    shapes: dict[str, tuple[int, ...]]


def file_cost(path: Path, *, batch: int = 1, size: tuple[int, int] | None = None) -> FileCost:
    """Count the cost of an ONNX file or an IR; an ONNX file is run once for its sizes.

    Args:
        path: The file.
        batch: Batch size.
        size: Height and width; None: fixed in the file, else those of the ``inputs.npz`` beside it.

    Raises:
        UsageError: It is no such file, or its size is not known.
        CorruptFileError: The file is damaged.
        RefusedError: It needs operators that are not ONNX's own.
        BenchError: It does not run.
    """
    if why := why_not_run(path):
        raise UsageError(
            f"nothing counts `{path}`: {why}", hint="give an ONNX file, or an IR of OpenVINO"
        )
    if path.suffix == ".onnx":
        open_onnx(path)
    with translated():
        stored = stored_beside([path])
        infos = open_session(path, threads=1).inputs
        inputs, _ = make_inputs(infos, stored, batch=batch, size=size)
    shapes = {name: tuple(array.shape) for name, array in inputs.items()}
    return FileCost(complexity=count(path, inputs), shapes=shapes)
