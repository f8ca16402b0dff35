"""Where the user's data sets lie."""

import os
from pathlib import Path

from compactmtl.errors import DataError

VARIABLE = "COMPACTMTL_DATA"


def data_folder(override: str | Path | None) -> Path:
    """Return the folder of data sets: ``override``, else the environment's ``COMPACTMTL_DATA``.

    Raises:
        DataError: Neither names an existing folder.
    """
    named = override or os.environ.get(VARIABLE)
    if not named:
        raise DataError(
            "no folder of data sets was named",
            hint=f"give --data FOLDER, `root` in the recipe's data.args, or set {VARIABLE}",
        )
    folder = Path(named).expanduser()
    if not folder.is_dir():
        source = "as given" if override else f"from {VARIABLE}"
        raise DataError(
            f"the folder of data sets `{folder}` ({source}) is not a folder",
            hint=f"give --data FOLDER, or set {VARIABLE}",
        )
    return folder
