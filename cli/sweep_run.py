"""The part of `compactmtl sweep` that trains and measures."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compactmtl.cli.console import console
from compactmtl.cli.rehearse import rehearse, runs_left
from compactmtl.cli.study_progress import runs_progress
from compactmtl.errors import TrainingError
from compactmtl.study.cells import RunCell, make_cells, plan_cells
from compactmtl.study.grid import GridPoint, weakest
from compactmtl.study.running import OnFailed
from compactmtl.study.sweep import finish_sweep

Run = Callable[[Sequence[RunCell], Callable[[RunCell], None], OnFailed], None]
"""Does what is left of runs: here, or on a cluster."""
Failed = dict[Path, TrainingError]
"""Folder of a run to how it failed."""


def rehearse_grid(grid: Sequence[GridPoint], out: Path, *, seeds: int, device: str) -> None:
    """Refuse now what a task set would be refused for later, and say how long its runs take."""
    subjects = [point.subject for point in grid]
    left = runs_left(plan_cells(subjects, seeds, out, until="exported"))
    of_series: Counter[str] = Counter()
    for point in grid:
        of_series[point.series] += left[point.subject.label]
    rehearse(weakest(grid), of_series, device)


def run(
    grid: Sequence[GridPoint], out: Path, do: Run, *, name: str, seeds: int, seconds: float
) -> tuple[dict[str, Any], Failed]:
    """Do the runs that are not done, measure all, write the record."""
    cells = make_cells([point.subject for point in grid], seeds, out, until="exported")
    left = [cell for cell in cells if not cell.is_done]
    if len(left) < len(cells):
        console.info(f"{len(cells) - len(left)} of {len(cells)} runs are finished already")
    failed: Failed = {}
    try:
        with runs_progress(len(left)) as (advance, done):

            def on_failed(cell: RunCell, error: TrainingError) -> None:
                advance()
                failed[cell.folder] = error
                console.warn(f"{error.message}; the others go on")

            do(left, done, on_failed)
        with console.progress("measure, round", None) as advance:
            document = finish_sweep(
                grid, cells, out, name=name, failed=failed, seconds=seconds, on_round=advance
            )
    except KeyboardInterrupt:
        num_done = sum(cell.is_done for cell in cells)
        console.info(
            f"stopped: {num_done} of {len(cells)} runs are finished; the same command goes on"
        )
        raise
    return document, failed
