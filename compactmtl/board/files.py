"""Files on a board: read in one piece, written whole or not at all."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.board.errors import AbsentError, DamagedError, UnwritableError


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        AbsentError: There is no such file, or it is not readable.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise AbsentError(f"no such file: `{path}`", hint="check the path") from error
    except OSError as error:
        raise AbsentError(f"cannot read `{path}`: {error.strerror or error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        AbsentError: There is no such file, or it is not readable.
        DamagedError: It holds no JSON object.
    """
    try:
        document = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"`{path}` is not a JSON document: {error}") from error
    if not isinstance(document, dict):
        raise DamagedError(f"`{path}` holds a {type(document).__name__}, expected an object")
    return document


def to_json(document: Mapping[str, Any]) -> bytes:
    """Return a document as the JSON that compactmtl writes."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files: each to a temporary one, then all renamed, in order.

    On any failure before the first rename, Ctrl-C included, what stood there is unchanged.

    Raises:
        UnwritableError: A file cannot be written.
    """
    temporaries: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            _write_beside(path, content, temporaries)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def _write_beside(path: Path, content: bytes, temporaries: dict[Path, Path]) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporaries[path] = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporaries[path].chmod(0o666 & ~umask)  # mkstemp's 0600 would hide it from colleagues
    except OSError as error:
        raise UnwritableError(
            f"cannot write `{path}`: {error.strerror or error}; earlier files are unchanged",
            hint="check the folder's permissions and the space left",
        ) from error
