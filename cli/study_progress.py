"""What `compare`, `sweep` and `reproduce` say while their runs go on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from compactmtl.cli.console import Advance, console
from compactmtl.study.cells import RunCell


@contextmanager
def runs_progress(total: int) -> Iterator[tuple[Advance, Callable[[RunCell], None]]]:
    """Show a bar over runs.

    Yields:
        What counts a run, and what counts one that is finished and says so.
    """
    with console.progress("run", total) as advance:

        def done(cell: RunCell) -> None:
            advance()
            console.info(f"{cell.name}: done")

        yield advance, done


def say_waiting(cell: RunCell) -> None:
    """Say that a run is waited for, which a killed study left behind."""
    console.info(f"{cell.name}: a process that was left behind still works on it; waiting for it")
