"""The inputs that lie beside a compact model, to check and time its artefacts with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.errors import CorruptFileError, UnsafeFileError
from compactmtl.files import read_error

INPUTS = "inputs.npz"
_AGAIN = "run `compactmtl compress` again; it writes this file"

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Stored:
    """Samples to run an artefact with.

    Attributes:
        arrays: Input name to samples, first dimension the batch.
        source: Where they come from, one phrase.
    """

    arrays: Arrays
    source: str

    @property
    def num_samples(self) -> int:
        """Samples that every input has."""
        return min(len(array) for array in self.arrays.values())


def read_inputs(path: Path, *, hint: str = _AGAIN) -> Stored:
    """Read ``inputs.npz``: one array per input, and where the samples come from as ``source``.

    Args:
        path: The file.
        hint: What to do where it is damaged.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        UnsafeFileError: An array would run code while it loads.
        CorruptFileError: It is no ``.npz`` file of plain arrays, or it holds no sample.
    """
    try:
        # Opened here: numpy leaves the file open where it finds it is no archive.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise read_error(path, error) from error
    except Exception as error:  # damaged bytes make zipfile, zlib and numpy raise nearly anything
        reason = " ".join(str(error).split())
        if "Object arrays" in reason:
            raise UnsafeFileError(
                f"`{path}` holds pickled objects, which run code while they load", hint=hint
            ) from error
        raise CorruptFileError(
            f"`{path}` is not an intact file of arrays (.npz): {reason}", hint=hint
        ) from error
    source = str(content.pop("source", "of unknown origin"))
    if not content or any(array.ndim == 0 or not len(array) for array in content.values()):
        raise CorruptFileError(f"`{path}` holds no sample of an input", hint=hint)
    return Stored(arrays=content, source=source)
