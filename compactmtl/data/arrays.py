"""Reading single .npy files, with what can go wrong said in one line."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from compactmtl.errors import CorruptFileError, MissingFileError


def read_array(
    path: Path, channels: int | None, content: BinaryIO | None = None
) -> npt.NDArray[np.float32]:
    """Return an array (H, W), or (H, W, channels), as float32; nothing in it is executed.

    Args:
        path: The file.
        channels: Size of the last axis; 0: there is none; None: either will do, of any size.
        content: Its content, where it is no file of its own.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is no array of numbers, or of another shape.
    """
    try:
        array: npt.NDArray[Any] = np.load(content or path, allow_pickle=False)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no such file: `{path}`", hint="`compactmtl data check DIR` lists what is missing"
        ) from error
    except (ValueError, EOFError, OSError) as error:
        raise CorruptFileError(f"`{path}` is no array of numbers: {error}") from error
    expected = "(H, W)" if not channels else f"(H, W, {channels})"
    fits = array.ndim == (3 if channels else 2) and (not channels or array.shape[2] == channels)
    if not (array.ndim in (2, 3) if channels is None else fits):
        raise CorruptFileError(f"`{path}` has shape {array.shape}, expected {expected}")
    return array.astype(np.float32)
