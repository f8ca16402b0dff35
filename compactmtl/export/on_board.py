"""Our application on another machine: send it with files, call its verbs, read what they answer."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compactmtl.board.files import read_bytes, sha256, to_json
from compactmtl.board.received import SENT
from compactmtl.errors import CompactMTLError, CorruptFileError, NotPossibleHereError
from compactmtl.export.board_errors import as_said, translated
from compactmtl.remote.application import NAME, make_application
from compactmtl.remote.folder import RemoteFolder, remote_folder
from compactmtl.remote.ssh import Host, RemoteCommandError

PYTHON = "python3"
OnLine = Callable[[str], object]


@contextmanager
def on_board(host: Host, files: Mapping[str, Path | bytes]) -> Iterator[RemoteFolder]:
    """Yield a folder on a host with the application and files in it, checked by SHA-256 there.

    The folder goes away afterwards, and what runs in it stops, whatever happened.

    Raises:
        NotPossibleHereError: The host does not answer, or has no Python.
        DiskFullError: It has no room.
        CorruptFileError: A file did not arrive as it was sent.
    """
    with remote_folder(host) as folder:
        folder.send({NAME: make_application()})
        if files:
            send(folder, files)
        yield folder


def send(folder: RemoteFolder, files: Mapping[str, Path | bytes]) -> None:
    """Send files into a folder that has the application, which checks them by SHA-256.

    Raises:
        MissingFileError: A file is not there.
        DiskFullError: The host has no room.
        CorruptFileError: A file did not arrive as it was sent.
    """
    with translated():
        sent = {
            name: sha256(content if isinstance(content, bytes) else read_bytes(content))
            for name, content in files.items()
        }
    folder.send({SENT: to_json(sent), **files})
    call(folder, ["check", SENT])


def call(
    folder: RemoteFolder, arguments: Sequence[str], *, on_line: OnLine | None = None
) -> dict[str, Any]:
    """Call a verb of the application and return the JSON document that it prints.

    Args:
        folder: Where the application lies.
        arguments: The verb and its options.
        on_line: Called with each line of news as it comes, in another thread; true where it was
            news alone.

    Raises:
        CompactMTLError: What the verb says there, with the exit code it had there.
        NotPossibleHereError: The host went away, or cannot run the application.
        CorruptFileError: What it answers is no document.
    """
    command = [PYTHON, NAME, "--linked", folder.path, *arguments, "--json"]
    try:
        answer = folder.run(command, on_line=on_line)
    except RemoteCommandError as error:
        raise as_ours(folder.host, error) from error
    try:
        document = json.loads(answer)
    except ValueError as error:
        raise CorruptFileError(
            f"`{folder.host.address}` answers {answer[:80]!r}, expected a JSON document"
        ) from error
    if not isinstance(document, dict):
        raise CorruptFileError(f"`{folder.host.address}` answers no JSON object")
    return document


def as_ours(host: Host, error: RemoteCommandError) -> CompactMTLError:
    """Return what the application says in one line as our own error."""
    said = as_said(error.code, error.stderr, place=f"on `{host.address}`")
    if said is not None:
        return said
    reason = error.stderr[-1] if error.stderr else "no reason given"
    return NotPossibleHereError(
        f"`{host.address}` cannot run the application (exit code {error.code}): {reason}",
        hint=f"it needs Python 3.10 with numpy: ssh {host.address} {PYTHON} --version",
    )
