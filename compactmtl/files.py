"""Files that are never half-written, and their fingerprints."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compactmtl.errors import CorruptFileError, DiskFullError, MissingFileError, WriteError


def write_error(path: Path, error: OSError) -> WriteError:
    """Turn the system's refusal to write into one line that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"disk full while writing `{path}`; earlier files are unchanged",
            hint="free some space, or write to another folder",
        )
    return WriteError(
        f"cannot write `{path}`: {error.strerror or error}; earlier files are unchanged",
        hint="check the folder's permissions, or write to another folder",
    )


def make_folder(path: Path) -> Path:
    """Create a folder with its parents.

    Raises:
        WriteError: The folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it over ``path`` when the block succeeds.

    On any failure, Ctrl-C included, the temporary file is removed and what stood at ``path``
    before is unchanged.

    Raises:
        WriteError: The folder is not writable, or the disk is full (``DiskFullError``).
    """
    make_folder(path.parent)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would hide the file from colleagues
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document atomically, with sorted structure left as given."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"no such file: `{path}`") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"`{path}` is not a JSON document: {error}") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits.

    Raises:
        MissingFileError: There is no such file.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise MissingFileError(f"no such file: `{path}`") from error
