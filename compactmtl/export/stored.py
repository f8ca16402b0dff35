"""The inputs that lie beside a compact model, read with the library's errors."""

from collections.abc import Mapping
from pathlib import Path

from compactmtl.board import stored
from compactmtl.board.stored import INPUTS, Stored
from compactmtl.board.tensors import Array
from compactmtl.export.board_errors import translated

__all__ = ["INPUTS", "Array", "Arrays", "Stored", "read_inputs"]

Arrays = Mapping[str, Array]


def read_inputs(
    path: Path, *, hint: str = "run `compactmtl compress` again; it writes this file"
) -> Stored:
    """Read ``inputs.npz``: one array per input, and where the samples come from as ``source``.

    Args:
        path: The file.
        hint: What to do where it is missing or damaged.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        UnsafeFileError: An array would run code while it loads.
        CorruptFileError: It is no ``.npz`` file of plain arrays, or it holds no sample.
    """
    with translated():
        return stored.read_inputs(path, hint=hint)
