"""What is to be measured, not loaded yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compactmtl.board.sessions import Session, open_session, parts


@dataclass(frozen=True)
class Item:
    """Something to measure.

    Attributes:
        path: Its file.
        open: Loads it.
        parts: Further files that belong to it.
    """

    path: Path
    open: Callable[[], Session]
    parts: tuple[Path, ...] = ()


def items_of(files: Mapping[str, Path], *, threads: int) -> dict[str, Item]:
    """Return files by name as what is to be measured.

    Args:
        files: Name to file.
        threads: Threads of each runtime on a CPU.
    """
    return {
        name: Item(path, partial(open_session, path, threads=threads), parts(path))
        for name, path in files.items()
    }
