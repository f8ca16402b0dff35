"""The inputs that lie beside a compact model, to check and time its artefacts with."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.errors import CorruptFileError

INPUTS = "inputs.npz"

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


def read_inputs(path: Path) -> Stored:
    """Read ``inputs.npz``: one array per input, and where the samples come from as ``source``.

    Raises:
        CorruptFileError: It is no ``.npz`` file of plain arrays.
    """
    try:
        # Opened here: numpy leaves the file open where it finds it is no archive.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise CorruptFileError(f"`{path}` is not a file of arrays: {error}") from error
    source = str(content.pop("source", "of unknown origin"))
    if not content:
        raise CorruptFileError(f"`{path}` holds no input")
    return Stored(arrays=content, source=source)
