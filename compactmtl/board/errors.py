"""What goes wrong on a board: one line each, with the exit codes of ``compactmtl``.

::

    BoardError               exit 1
    ├── MissedError               1   a paced run missed more frames than were accepted
    ├── AskedError                2   the call itself is wrong
    ├── NotHereError              2   this machine cannot do it
    ├── UnsafeError               3   the file reaches outside its folder
    ├── MissingPackageError       4   the runtime is not installed
    ├── AbsentError              10   a file is not there, or not readable
    ├── DamagedError             11   a file is truncated, damaged, of another format or version
    ├── NotFiniteError           13   an artefact yields NaN or Inf
    ├── UnwritableError          14   a file cannot be written
    ├── DiffersError             19   an artefact computes something else than it should
    ├── BuildError               20   the runtime refuses the network
    └── RunError                 21   an artefact cannot be run

The rest of compactmtl has a tree of its own; ``compactmtl.export.board_errors`` is where they meet.
"""

from typing import ClassVar


class BoardError(Exception):
    """Root of the tree.

    Args:
        message: What went wrong, where, what was got and what was expected. One line.
        hint: What the user can do about it. One line, or empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MissedError(BoardError):
    """A paced run missed more frames than were accepted."""


class AskedError(BoardError):
    """The call itself is wrong."""

    exit_code = 2


class NotHereError(BoardError):
    """This machine cannot do it."""

    exit_code = 2


class UnsafeError(BoardError):
    """The file reaches outside its folder."""

    exit_code = 3


class MissingPackageError(BoardError):
    """The runtime is not installed, or not one that can be used."""

    exit_code = 4


class AbsentError(BoardError):
    """A file is not there, or is not readable."""

    exit_code = 10


class DamagedError(BoardError):
    """A file is truncated, damaged, or of another format or version."""

    exit_code = 11


class NotFiniteError(BoardError):
    """An artefact yields NaN or Inf."""

    exit_code = 13


class UnwritableError(BoardError):
    """A file could not be written; what stood there before is unchanged."""

    exit_code = 14


class BuildError(BoardError):
    """The runtime refuses the network."""

    exit_code = 20


class DiffersError(BoardError):
    """An artefact computes something else than it should."""

    exit_code = 19


class RunError(BoardError):
    """An artefact cannot be run."""

    exit_code = 21
