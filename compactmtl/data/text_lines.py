"""Reading the lines of a list that belongs to a data set."""

from pathlib import Path

from compactmtl.data.presence import ABOVE
from compactmtl.errors import CorruptFileError, MissingFileError
from compactmtl.files import read_error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, without empty ones at its end.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
        CorruptFileError: It is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise MissingFileError(f"no such file: `{path}`", hint=ABOVE) from error
    except OSError as error:
        raise read_error(path, error) from error
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"`{path}` is no text file: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
