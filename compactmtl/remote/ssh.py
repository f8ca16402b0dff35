"""Run commands on a host through the `ssh` program; no passwords pass through our hands."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from compactmtl.errors import MissingExtraError, NotPossibleHereError, UsageError

COMMAND_VARIABLE = "COMPACTMTL_SSH"
"""Another program or further options in place of ``ssh``, as in ``ssh -F config``."""
CONNECT_SECONDS = 10
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

    def run(self, command: Sequence[str], *, send: Path | None = None) -> bytes:
        """Run a command and return its standard output.

        Args:
            command: Program and arguments; quoted for the host's shell.
            send: A file that becomes the command's standard input.

        Raises:
            MissingExtraError: There is no ssh on this machine.
            NotPossibleHereError: The host does not answer, or refuses the login.
            RemoteCommandError: The command failed.
        """
        line = [*_ssh(), "-o", f"ConnectTimeout={CONNECT_SECONDS}", self.address, "--"]
        line.append(shlex.join(command))
        try:
            if send is None:
                done = subprocess.run(
                    line, stdin=subprocess.DEVNULL, capture_output=True, check=False
                )
            else:
                with send.open("rb") as content:
                    done = subprocess.run(line, stdin=content, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise MissingExtraError(
                f"`{line[0]}` is not installed", hint="install an ssh client (openssh-client)"
            ) from error
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode == UNREACHABLE:
            reason = said[-1] if said else "no reason given"
            raise NotPossibleHereError(
                f"`{self.address}` does not answer: {reason}",
                hint=f"does this work: ssh {self.address} true",
            )
        if done.returncode:
            raise RemoteCommandError(done.returncode, said)
        return done.stdout


def _ssh() -> list[str]:
    return shlex.split(os.environ.get(COMMAND_VARIABLE, "")) or ["ssh"]
