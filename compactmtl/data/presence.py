"""Make sure that the files of a split are there, before anything is read."""

from collections.abc import Sequence
from pathlib import Path

from compactmtl.errors import MissingFileError
from compactmtl.files import read_error

ABOVE = (
    "--data and COMPACTMTL_DATA name the folder above the data set's own; `compactmtl data check "
    "DIR` says what a folder is and what is missing"
)
"""What helps where a data set's folder is not found."""


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder that lacks any of these files; lists it once.

    Raises:
        MissingFileError: The folder or a file is not there; names the first, and counts.
    """
    try:
        there = {path.name for path in folder.iterdir()}
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no such folder: `{folder}`",
            hint=ABOVE,
        ) from error
    except OSError as error:
        raise read_error(folder, error) from error
    absent = [name for name in names if name not in there]
    if absent:
        more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise MissingFileError(
            f"no such file: `{folder / absent[0]}`{more}; {len(names)} are needed there",
            hint="fetch or unpack the data set again",
        )
