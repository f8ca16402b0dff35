"""A loaded artefact as the library sees it: the board's session, with the library's errors."""

from pathlib import Path

from compactmtl.board import sessions
from compactmtl.export.board_errors import translated
from compactmtl.export.stored import Array, Arrays


class TranslatedSession:
    """Calls a session of the board and raises what it raises as the library's errors."""

    def __init__(self, session: sessions.Session) -> None:
        self.inner = session
        self.inputs = session.inputs
        self.runtime = session.runtime

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Run once; returns the outputs by name.

        Raises:
            UsageError: An input is missing, or of a shape the artefact does not take.
            BenchError: The runtime fails.
        """
        with translated():
            return self.inner(inputs)


def open_session(path: Path, *, threads: int) -> TranslatedSession:
    """Load an artefact in its runtime.

    Raises:
        UsageError: Nothing here runs files of this suffix.
        MissingFileError: There is no such file.
        CorruptFileError: The runtime cannot read it.
        MissingExtraError: The runtime is not installed.
        NotPossibleHereError: There is no GPU to run an engine on.
    """
    with translated():
        return TranslatedSession(sessions.open_session(path, threads=threads))
