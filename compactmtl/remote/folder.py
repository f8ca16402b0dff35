"""A temporary folder on a host: files go there, a command runs in it, files come back."""

import io
import shlex
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from compactmtl.errors import CompactMTLError, CorruptFileError, DiskFullError, NotPossibleHereError
from compactmtl.remote.ssh import Host, OnLine, RemoteCommandError

NO_SPACE = "no space left"
PID = "pid"
"""File in the folder with the number of the process that runs in it."""


class RemoteFolder:
    """A folder that exists on a host; made by ``remote_folder``."""

    def __init__(self, host: Host, path: str) -> None:
        self.host = host
        self.path = path

    def send(self, files: Mapping[str, Path | bytes]) -> None:
        """Copy files into the folder, in one stream.

        Args:
            files: Name in the folder to a file here, or to its content.

        Raises:
            DiskFullError: The host has no room.
            NotPossibleHereError: The host does not answer, or cannot unpack.
        """
        with tempfile.NamedTemporaryFile() as archive:
            with tarfile.open(archive.name, "w") as tar:
                for name, content in files.items():
                    if isinstance(content, Path):
                        tar.add(content, arcname=name, recursive=False)
                    else:
                        entry = tarfile.TarInfo(name)
                        entry.size = len(content)
                        tar.addfile(entry, io.BytesIO(content))
            try:
                self.host.run(["tar", "-xf", "-", "-C", self.path], send=Path(archive.name))
            except RemoteCommandError as error:
                raise self._no_room(error) from error

    def run(self, command: Sequence[str], *, on_line: OnLine | None = None) -> bytes:
        """Run a command in the folder and return its standard output.

        Its process number is kept, so that it can be stopped when this side goes away; and a byte
        comes to its standard input every few seconds, so that it knows that this side is there.

        Args:
            command: Program and arguments.
            on_line: See ``Host.run``.

        Raises:
            RemoteCommandError: The command failed.
            NotPossibleHereError: The host does not answer.
        """
        return self.host.run(self.command(command), on_line=on_line, beats=True)

    def command(self, command: Sequence[str]) -> list[str]:
        """Return what runs a command in the folder when it is run on the host; see ``run``."""
        script = f"cd {shlex.quote(self.path)} && echo $$ > {PID} && exec {shlex.join(command)}"
        return ["sh", "-c", script]

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the content of files in the folder.

        Raises:
            CorruptFileError: What comes back is not these files.
            NotPossibleHereError: A file is not there, or the host does not answer.
        """
        try:
            content = self.host.run(["tar", "-cf", "-", "-C", self.path, "--", *names])
        except RemoteCommandError as error:
            raise NotPossibleHereError(
                f"`{self.host.address}` does not hand over {', '.join(names)}: {error}"
            ) from error
        found: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                for entry in tar:
                    file = tar.extractfile(entry) if entry.isreg() else None
                    if file is not None:
                        found[entry.name] = file.read()
        except tarfile.TarError as error:
            raise CorruptFileError(
                f"what `{self.host.address}` sent is no archive: {error}"
            ) from error
        if set(found) != set(names):
            raise CorruptFileError(
                f"`{self.host.address}` sent {', '.join(sorted(found)) or 'nothing'}, expected "
                f"{', '.join(sorted(names))}"
            )
        return found

    def _no_room(self, error: RemoteCommandError) -> CompactMTLError:
        said = " ".join(error.stderr)
        if NO_SPACE in said.lower():
            return DiskFullError(
                f"`{self.host.address}` has no room for the files",
                hint=f"free some: ssh {self.host.address} df -h /tmp",
            )
        return NotPossibleHereError(f"`{self.host.address}` cannot unpack the files: {said}")


@contextmanager
def remote_folder(host: Host) -> Iterator[RemoteFolder]:
    """Make a folder on a host; afterwards stop what runs in it and remove it, whatever happened.

    Raises:
        NotPossibleHereError: The host does not answer, or makes no folder.
    """
    try:
        path = host.run(["mktemp", "-d", "-t", "compactmtl.XXXXXX"]).decode().strip()
    except RemoteCommandError as error:
        raise NotPossibleHereError(f"`{host.address}` makes no folder: {error}") from error
    if not path.startswith("/"):
        raise NotPossibleHereError(f"`{host.address}` answers {path[:80]!r}, expected a folder")
    quoted = shlex.quote(path)
    try:
        yield RemoteFolder(host, path)
    finally:
        stop = f"test -f {quoted}/{PID} && kill $(cat {quoted}/{PID}) 2>/dev/null; rm -rf {quoted}"
        # A host that went away keeps its folder; that must not hide why it did.
        with suppress(NotPossibleHereError, RemoteCommandError):
            host.run(["sh", "-c", stop])
