"""What must be undone by who leaves the process without leaving its blocks: locked clocks, for one.

A runtime that hangs, or computes for minutes, cannot be interrupted from Python; then a thread ends
the process, and the blocks of the main thread are never left.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_pending: list[Callable[[], None]] = []


@contextmanager
def to_undo(undo: Callable[[], None]) -> Iterator[None]:
    """Have ``undo`` called if the process is left within the block; leaving the block does not."""
    _pending.append(undo)
    try:
        yield
    finally:
        _pending.remove(undo)


def undo_all() -> None:
    """Undo everything that is pending, the latest first."""
    for undo in reversed(_pending):
        undo()
