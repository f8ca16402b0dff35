"""Where the board's errors become the library's: ``compactmtl.board`` uses nothing of the rest."""

from collections.abc import Iterator
from contextlib import contextmanager

from compactmtl.board import errors as board
from compactmtl.errors import (
    BenchError,
    CompactMTLError,
    CorruptFileError,
    ExportError,
    MissedError,
    MissingExtraError,
    MissingFileError,
    NonFiniteError,
    NotPossibleHereError,
    UnsafeFileError,
    UsageError,
    VerificationError,
    WriteError,
)

TWINS: dict[type[board.BoardError], type[CompactMTLError]] = {
    board.MissedError: MissedError,
    board.AskedError: UsageError,
    board.NotHereError: NotPossibleHereError,
    board.UnsafeError: UnsafeFileError,
    board.MissingPackageError: MissingExtraError,
    board.AbsentError: MissingFileError,
    board.DamagedError: CorruptFileError,
    board.NotFiniteError: NonFiniteError,
    board.UnwritableError: WriteError,
    board.DiffersError: VerificationError,
    board.BuildError: ExportError,
    board.RunError: BenchError,
}
"""A board's error and the library's with the same exit code."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the board package raises in the block as the library's own errors.

    Raises:
        CompactMTLError: With the same message, hint and exit code.
    """
    try:
        yield
    except board.BoardError as error:
        twin = next(mine for theirs, mine in TWINS.items() if isinstance(error, theirs))
        raise twin(error.message, hint=error.hint) from error
