"""Where the board's errors become the library's: ``compactmtl.board`` uses nothing of the rest."""

from collections.abc import Iterator, Sequence
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


def as_said(code: int, lines: Sequence[str], *, place: str) -> CompactMTLError | None:
    """Return the error that ``python -m compactmtl.board`` ended with in another process.

    Args:
        code: Its exit code, which says what kind it is.
        lines: What it wrote to its standard error.
        place: Where it ran, as in ``on user@board``; may be empty.

    Returns:
        The library's error; None where it did not end with one of ours.
    """
    said = {
        key: line.removeprefix(f"{key}: ")
        for line in lines
        for key in ("error", "hint")
        if line.startswith(f"{key}: ")
    }
    if "error" not in said:
        return None
    kinds = {theirs.exit_code: mine for theirs, mine in reversed(TWINS.items())}
    kind = kinds.get(code, ExportError)
    prefix = f"{place}: " if place else ""
    return kind(prefix + said["error"], hint=said.get("hint", ""))
