"""The inputs that lie beside a compact model, to check and time its artefacts with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from compactmtl.board.errors import AbsentError, DamagedError, UnsafeError
from compactmtl.board.tensors import Array

INPUTS = "inputs.npz"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive starts, and how one of no members."""


@dataclass(frozen=True)
class Stored:
    """Samples to run an artefact with.

    Attributes:
        arrays: Input name to samples, first dimension the batch.
        source: Where they come from, one phrase.
    """

    arrays: Mapping[str, Array]
    source: str

    @property
    def num_samples(self) -> int:
        """Samples that every input has."""
        return min(len(array) for array in self.arrays.values())


def read_arrays(path: Path, *, hint: str) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` file.

    Args:
        path: The file.
        hint: What to do where it is missing or damaged.

    Raises:
        AbsentError: There is no such file, or it is not readable.
        UnsafeError: An array would run code while it loads.
        DamagedError: It is no ``.npz`` file of plain arrays.
    """
    try:
        # Opened here: numpy leaves the file open where it finds it is no archive.
        with path.open("rb") as handle:
            _check_archive(handle)
            with np.load(handle, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        raise AbsentError(f"no such file: `{path}`", hint=hint) from error
    except OSError as error:
        raise AbsentError(f"cannot read `{path}`: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes make zipfile, zlib and numpy raise nearly anything
        reason = " ".join(str(error).split())
        if "Object arrays" in reason:
            raise UnsafeError(
                f"`{path}` holds pickled objects, which run code while they load", hint=hint
            ) from error
        raise DamagedError(
            f"`{path}` is not an intact file of arrays (.npz): {reason}", hint=hint
        ) from error


def _check_archive(handle: BinaryIO) -> None:
    """Numpy takes anything else for a pickle, and advises to load it all the same."""
    start = handle.read(4)
    handle.seek(0)
    if start not in ZIP:
        raise ValueError(f"it starts with {start!r}, expected an archive: {ZIP[0]!r}")


def read_inputs(path: Path, *, hint: str = "`compactmtl compress` writes it") -> Stored:
    """Read ``inputs.npz``: one array per input, and where the samples come from as ``source``.

    Raises:
        AbsentError: There is no such file, or it is not readable.
        UnsafeError: An array would run code while it loads.
        DamagedError: It is no ``.npz`` file of plain arrays, or it holds no sample.
    """
    content = read_arrays(path, hint=hint)
    source = str(content.pop("source", "of unknown origin"))
    if not content or any(array.ndim == 0 or not len(array) for array in content.values()):
        raise DamagedError(f"`{path}` holds no sample of an input", hint=hint)
    return Stored(arrays=content, source=source)


def stored_beside(files: Sequence[Path]) -> Stored | None:
    """Return the samples in the folder that all files lie in; None without any.

    Raises:
        BoardError: The file of samples is damaged.
    """
    folders = {path.parent for path in files}
    path = next(iter(folders)) / INPUTS
    return read_inputs(path) if len(folders) == 1 and path.is_file() else None
