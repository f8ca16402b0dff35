"""Run commands on a host through the `ssh` program; no passwords pass through our hands."""

import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from compactmtl.errors import MissingExtraError, NotPossibleHereError, UsageError

COMMAND_VARIABLE = "COMPACTMTL_SSH"
"""Another program or further options in place of ``ssh``, as in ``ssh -F config``."""
CONNECT_SECONDS = 10
SILENT_SECONDS = 45
"""After which a host that answers nothing, not even ssh's own question, is given up."""
UNREACHABLE = 255
"""Exit code by which ssh says that its own part failed, not the command."""


class RemoteCommandError(Exception):
    """A command on the host failed.

    Attributes:
        code: Its exit code.
        stderr: What it said, as lines.
    """

    def __init__(self, code: int, stderr: list[str]) -> None:
        super().__init__(f"exit code {code}: {' '.join(stderr[-1:])}")
        self.code = code
        self.stderr = stderr


class Host:
    """A host as the user would type it after ``ssh``: ``user@board`` or a name of their config.

    Raises:
        UsageError: It is no host name.
    """

    def __init__(self, address: str) -> None:
        # A leading dash would be an option of ssh; blanks, a command.
        if not address or address.startswith("-") or any(c.isspace() for c in address):
            raise UsageError(f"--host {address!r} is no host", hint="write --host user@board")
        self.address = address

    def line(self, command: Sequence[str]) -> list[str]:
        """Return what runs a command on the host when it is run here."""
        return [*_ssh(), *_options(), self.address, "--", shlex.join(command)]

    def run(
        self,
        command: Sequence[str],
        *,
        send: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> bytes:
        """Run a command and return its standard output.

        Args:
            command: Program and arguments; quoted for the host's shell.
            send: A file that becomes the command's standard input.
            on_line: Called with each line of its standard error as it comes, in another thread.

        Raises:
            MissingExtraError: There is no ssh on this machine.
            NotPossibleHereError: The host does not answer, refuses the login, or went away.
            RemoteCommandError: The command failed.
        """
        line = self.line(command)
        try:
            with ExitStack() as stack:
                stdin = stack.enter_context(send.open("rb")) if send else subprocess.DEVNULL
                code, out, said = _run(line, stdin, on_line)
        except FileNotFoundError as error:
            raise MissingExtraError(
                f"`{line[0]}` is not installed", hint="install an ssh client (openssh-client)"
            ) from error
        if code == UNREACHABLE:
            reason = said[-1] if said else "no reason given"
            raise NotPossibleHereError(
                f"`{self.address}` does not answer: {reason}",
                hint=f"does this work: ssh {self.address} true",
            )
        if code:
            raise RemoteCommandError(code, said)
        return out


def _run(
    line: Sequence[str], stdin: IO[bytes] | int, on_line: Callable[[str], None] | None
) -> tuple[int, bytes, list[str]]:
    """Return exit code, standard output, and the lines of standard error."""
    said: list[str] = []
    with subprocess.Popen(
        line, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        stdout, stderr = child.stdout, child.stderr
        assert stdout is not None  # asked for above
        assert stderr is not None

        def listen() -> None:
            for raw in stderr:
                text = raw.decode(errors="replace").rstrip()
                if text:
                    said.append(text)
                    if on_line is not None:
                        on_line(text)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            out = stdout.read()
            listener.join()
            return child.wait(), out, said
        except BaseException:  # Ctrl-C too must not leave ssh behind
            child.kill()
            raise


def _options() -> list[str]:
    """Give up on a host that does not connect, or that went silent."""
    chosen = {
        "ConnectTimeout": CONNECT_SECONDS,
        "ServerAliveInterval": SILENT_SECONDS // 3,
        "ServerAliveCountMax": 3,
    }
    return [word for name, value in chosen.items() for word in ("-o", f"{name}={value}")]


def _ssh() -> list[str]:
    return shlex.split(os.environ.get(COMMAND_VARIABLE, "")) or ["ssh"]
