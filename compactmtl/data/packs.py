"""Reading .npz packs: arrays in one file, checked before they are used."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from compactmtl.errors import CorruptFileError, DataError, MissingFileError, UnsafeFileError


class ArraySpec(NamedTuple):
    """What an array of a pack must look like; None in ``shape`` stands for any length."""

    dtype: str
    shape: tuple[int | None, ...]


def read_pack(path: Path, specs: Mapping[str, ArraySpec]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays named in ``specs`` from a .npz file.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        CorruptFileError: It is truncated, damaged, or no .npz file.
        UnsafeFileError: An array would run code while it loads (pickled objects).
        DataError: An array is missing, or has another dtype or shape.
    """
    try:
        with path.open("rb") as handle:  # np.load would leave a broken file open
            archive = np.load(handle, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise CorruptFileError(f"`{path}` is one array, expected an .npz file of several")
            absent = [name for name in specs if name not in archive.files]
            if absent:
                held = ", ".join(archive.files) or "none"
                raise DataError(
                    f"`{path}` has no array `{absent[0]}`, got {held}",
                    hint="see the data set's description for the arrays it must hold",
                )
            arrays = {name: _read_array(archive, name, path) for name in specs}
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no such file: `{path}`",
            hint="--data or COMPACTMTL_DATA must name the folder above it",
        ) from error
    except PermissionError as error:
        raise MissingFileError(f"cannot read `{path}`: {error.strerror}") from error
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, zlib.error) as error:
        raise CorruptFileError(
            f"`{path}` is truncated, damaged or no .npz file: {error}", hint="fetch it again"
        ) from error
    for name, spec in specs.items():
        _check(arrays[name], spec, f"array `{name}` of `{path}`")
    return arrays


def _read_array(archive: NpzFile, name: str, path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UnsafeFileError(
            f"array `{name}` of `{path}` holds pickled objects, which run code while they load",
            hint="save it again as a plain numeric array",
        ) from error
    return array


def _check(array: npt.NDArray[Any], spec: ArraySpec, what: str) -> None:
    if array.dtype != np.dtype(spec.dtype):
        raise DataError(f"{what} is {array.dtype}, expected {spec.dtype}")
    fits = len(array.shape) == len(spec.shape) and all(
        want is None or got == want for got, want in zip(array.shape, spec.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if side is None else str(side) for side in spec.shape)
        raise DataError(f"{what} has shape {array.shape}, expected ({wanted})")


def check_lengths(path: Path, **lengths: int) -> None:
    """Refuse arrays that should be equally long and are not.

    Raises:
        DataError: The lengths differ.
    """
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"`{path}`: arrays of different length: {shown}")
