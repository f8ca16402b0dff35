"""The part of `compactmtl reproduce` that trains."""

from collections.abc import Sequence
from pathlib import Path

from compactmtl.cli.console import console
from compactmtl.cli.rehearse import rehearse, runs_left
from compactmtl.cli.reproduce_pictures import draw
from compactmtl.cli.reproduce_show import quirk_lines
from compactmtl.cli.reproduce_table import show_results
from compactmtl.cli.study_progress import runs_progress, say_waiting
from compactmtl.cli.train_progress import TrainProgress
from compactmtl.errors import DataError, MissingFileError
from compactmtl.files import write_json
from compactmtl.study.cells import Stage, make_cells, plan_cells
from compactmtl.study.reproduce.plan import Plan
from compactmtl.study.reproduce.results import RECORD, record, results
from compactmtl.study.reproduce.samples import Samples, check_samples
from compactmtl.study.running import run_cells
from compactmtl.training.rehearsal import Estimate


def check_and_estimate(
    plan: Plan, folder: Path, *, seeds: int, device: str, dry_run: bool
) -> Samples | None:
    """Check the data, then measure ten steps of every row that is not finished.

    Returns:
        What the data are; None in a dry run without them.
    """
    try:
        with TrainProgress() as progress:
            samples = check_samples(plan, progress)
    except (DataError, MissingFileError) as error:
        if not dry_run:
            raise
        console.info(f"not measured: {error.message}")
        console.result(_dry(plan, {}, f"not measured: {error.message}"))
        return None
    if samples.differs:
        console.info(f"published values are not shown: {samples.differs}")
    subjects = [planned.subject for planned in plan.rows]
    left = runs_left(plan_cells(subjects, seeds, folder, until=_stage(plan)))
    found = rehearse(subjects, left, device)
    if dry_run:
        console.result(_dry(plan, found, samples.differs))
    return samples


def run(plan: Plan, folder: Path, *, seeds: int, jobs: int, devices: Sequence[str]) -> None:
    """Train what is not finished, then print and write the table."""
    samples = check_and_estimate(plan, folder, seeds=seeds, device=devices[0], dry_run=False)
    assert samples is not None
    subjects = [planned.subject for planned in plan.rows]
    cells = make_cells(subjects, seeds, folder, until=_stage(plan))
    with runs_progress(sum(not cell.is_done for cell in cells)) as (_, done):
        run_cells(cells, jobs=jobs, devices=devices, on_done=done, on_wait=say_waiting)
    document = record(plan, cells, samples, seeds=seeds)
    write_json(folder / RECORD, document)
    show_results(plan, results(plan, cells, samples), samples)
    console.info(f"wrote {folder / RECORD}")
    if plan.table.pictures:
        draw(plan, cells, folder)
    console.result(document)


def _stage(plan: Plan) -> Stage:
    return "exported" if plan.table.pictures else "scored"


def _dry(plan: Plan, found: dict[str, Estimate], said: str) -> dict[str, object]:
    return {
        "table": plan.table.id,
        "preset": plan.preset,
        "rows": {p.row.label: p.subject.recipe.to_dict() for p in plan.rows},
        "quirks": quirk_lines(plan),
        "left_out": plan.left_out,
        "data": said,
        "estimates": {label: vars(each) for label, each in found.items()},
    }
