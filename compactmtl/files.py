"""Files that are never half-written, and their fingerprints."""

import errno
import hashlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compactmtl.errors import CorruptFileError, DiskFullError, MissingFileError, WriteError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def write_error(path: Path, error: OSError) -> WriteError:
    """Turn the system's refusal to write into one line that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"disk full while writing `{path}`; earlier files are unchanged",
            hint="free some space, or write to another folder",
        )
    reason = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "a file stands where a folder is needed"
    return WriteError(
        f"cannot write `{path}`: {reason}; earlier files are unchanged",
        hint="check the folder's permissions, or write to another folder",
    )


def read_error(path: Path, error: OSError) -> MissingFileError:
    """Turn the system's refusal to read into one line."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MissingFileError(f"no such file: `{path}`", hint="check the path")
    if isinstance(error, IsADirectoryError):
        return MissingFileError(f"`{path}` is a folder, expected a file", hint="name a file in it")
    return MissingFileError(
        f"cannot read `{path}`: {error.strerror or error}", hint="check the file's permissions"
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


@contextmanager
def write_together(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; move what is in it beside ``path`` when the block succeeds.

    For an artefact of several files, or one that is a folder: all of it or nothing, Ctrl-C
    included. Only a power cut or a kill between two renames can mix old and new files, which the
    fingerprints in the sidecar then show.

    Raises:
        WriteError: The folder is not writable, or the disk is full (``DiskFullError``).
    """
    folder = make_folder(path.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{path.name}.") as name:
            new, old = make_folder(Path(name) / "new"), make_folder(Path(name) / "old")
            yield new
            for file in new.rglob("*"):
                if file.is_file():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())
            with uninterrupted():
                for entry in sorted(new.iterdir()):
                    if (folder / entry.name).is_dir():  # no rename replaces a folder
                        (folder / entry.name).rename(old / entry.name)
                    entry.replace(folder / entry.name)
    except WriteError as error:  # it names the temporary folder, which is gone
        if isinstance(error.__cause__, OSError):
            raise write_error(path, error.__cause__) from error
        raise
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while the block runs; only the main thread can.

    For steps of which either all or none must happen, such as swapping several files.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    earlier = {
        number: signal.signal(number, lambda number, _frame: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for which, handler in earlier.items():
            signal.signal(which, handler)
        for number in held[:1]:
            signal.raise_signal(number)


def write_bytes(path: Path, content: "ReadableBuffer") -> None:
    """Write a file atomically.

    Make the content in memory: many a library's own writer turns a full disk into an error that
    does not say so.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


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
        MissingFileError: There is no such file, or it is not readable.
        CorruptFileError: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise read_error(path, error) from error
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"`{path}` is not a JSON document: {error}") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits.

    Raises:
        MissingFileError: There is no such file, or it is not readable.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise read_error(path, error) from error


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the list of its files and theirs.

    The list is what ``sha256sum`` prints for the files, sorted by name.

    Raises:
        MissingFileError: It is not there, or not readable.
    """
    if not path.is_dir():
        return sha256(path)
    files = sorted(inner for inner in path.rglob("*") if inner.is_file())
    lines = (f"{sha256(inner)}  {inner.relative_to(path).as_posix()}\n" for inner in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
