"""Run commands on a host through the `ssh` program; no passwords pass through our hands."""

import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from compactmtl.errors import MissingExtraError, NotPossibleHereError, UsageError

COMMAND_VARIABLE = "COMPACTMTL_SSH"
"""Another program or further options in place of ``ssh``, as in ``ssh -F config``."""
CONNECT_SECONDS = 10
SILENT_SECONDS = 45
"""After which a host that answers nothing, not even ssh's own question, is given up."""
BEAT_SECONDS = 10
"""Between two bytes that say that this side is still there."""
UNREACHABLE = 255
"""Exit code by which ssh says that its own part failed, not the command."""

OnLine = Callable[[str], object]
"""Takes a line; returns True where that is news alone, and no reason of a failure."""


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
        on_line: OnLine | None = None,
        beats: bool = False,
    ) -> bytes:
        """Run a command and return its standard output.

        Args:
            command: Program and arguments; quoted for the host's shell.
            send: A file that becomes the command's standard input.
            on_line: Called with each line of its standard error as it comes, in another thread.
            beats: Keep its standard input open and send a byte now and then, in place of a file.

        Raises:
            MissingExtraError: There is no ssh on this machine.
            NotPossibleHereError: The host does not answer, refuses the login, or went away.
            RemoteCommandError: The command failed.
        """
        line = self.line(command)
        try:
            with ExitStack() as stack:
                stdin = stack.enter_context(send.open("rb")) if send else subprocess.DEVNULL
                code, out, said, news = _run(line, subprocess.PIPE if beats else stdin, on_line)
        except FileNotFoundError as error:
            raise MissingExtraError(
                f"`{line[0]}` is not installed", hint="install an ssh client (openssh-client)"
            ) from error
        if code == UNREACHABLE:
            reason = said[-1] if said else "no reason given"
            if news or out:
                raise NotPossibleHereError(
                    f"the link to `{self.address}` broke: {reason}",
                    hint="what ran there ends within minutes, by itself; then start it again",
                )
            raise NotPossibleHereError(
                f"`{self.address}` does not answer: {reason}",
                hint=f"does this work: ssh {self.address} true",
            )
        if code:
            raise RemoteCommandError(code, said)
        return out


def _run(
    line: Sequence[str], stdin: IO[bytes] | int, on_line: OnLine | None
) -> tuple[int, bytes, list[str], int]:
    """Return exit code, standard output, the lines of standard error, and how many were news."""
    said: list[str] = []
    news = 0
    ended = threading.Event()
    with subprocess.Popen(
        line, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        stdout, stderr = child.stdout, child.stderr
        assert stdout is not None  # asked for above
        assert stderr is not None

        def listen() -> None:
            nonlocal news
            for raw in stderr:
                text = raw.decode(errors="replace").rstrip()
                if text and on_line is not None and on_line(text) is True:
                    news += 1
                elif text:
                    said.append(text)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        if child.stdin is not None:
            threading.Thread(target=_beat, args=(child.stdin, ended), daemon=True).start()
        try:
            out = stdout.read()
            listener.join()
            return child.wait(), out, said, news
        except BaseException:  # Ctrl-C too must not leave ssh behind
            child.kill()
            raise
        finally:
            ended.set()


def _beat(stream: IO[bytes], ended: threading.Event) -> None:
    with suppress(OSError, ValueError):  # the command has ended, and with it the stream
        while not ended.wait(BEAT_SECONDS):
            stream.write(b"\n")
            stream.flush()


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
