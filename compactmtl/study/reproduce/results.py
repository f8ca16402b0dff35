"""The cells of a table: what was published beside what our runs gave."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from compactmtl.environment import environment
from compactmtl.study.cells import RunCell
from compactmtl.study.compare import Row as Compared
from compactmtl.study.compare import summarise
from compactmtl.study.paired import Cell, Difference, cell
from compactmtl.study.reproduce.plan import Plan, PlannedRow
from compactmtl.study.reproduce.readings import touching
from compactmtl.study.reproduce.samples import Samples
from compactmtl.study.reproduce.tables import Column
from compactmtl.training.logs import read_log

RECORD = "reproduce.json"
SELECTIONS = {
    "last": "last epoch, test split",
    "last_10": "mean of the last ten epochs on the test images, which are the val split too",
}


@dataclass(frozen=True)
class Result:
    """One cell of a table.

    Attributes:
        row: The row's label.
        column: ``task.metric``.
        name: The paper's heading.
        published: As printed; None where the data are others, "" where the paper has none.
        ours: Our values in the paper's unit; None while no run is finished.
        difference: From the row that it is compared with, in the paper's unit.
        readings: Ids of the readings that the value depends on.
    """

    row: str
    column: str
    name: str
    published: str | None
    ours: Cell | None
    difference: Difference | None
    readings: tuple[str, ...]


def results(plan: Plan, cells: Sequence[RunCell], samples: Samples) -> list[Result]:
    """Return the cells of the planned rows, row by row; unfinished runs leave n smaller."""
    found = []
    for planned in plan.rows:
        compared = _compared(plan, planned, cells)
        published = dict(zip(plan.table.columns, planned.row.published, strict=False))
        for column in plan.table.columns:
            if column.task not in (*planned.subject.recipe.tasks, "sparsity"):
                continue
            row = compared.get((column.task, column.metric))
            own = None if row is None else row.cells.get(planned.row.label)
            if column.task == "sparsity":
                own = _sparsity(planned, cells, column)
            other = None if row is None else row.differences.get(planned.row.label)
            found.append(
                Result(
                    row=planned.row.label,
                    column=column.id,
                    name=column.name,
                    published=None if samples.differs else published.get(column, ""),
                    ours=None if own is None else cell([v * column.factor for v in own.values]),
                    difference=None if other is None else _scaled(other, column.factor),
                    readings=tuple(touching(plan.table.cell(planned.row), column.id)),
                )
            )
    return found


def record(plan: Plan, cells: Sequence[RunCell], samples: Samples, *, seeds: int) -> dict[str, Any]:
    """Return everything as JSON data."""
    return {
        "format_version": 1,
        "environment": environment(),
        "table": plan.table.id,
        "title": plan.table.title,
        "source": plan.table.source,
        "preset": plan.preset,
        "seeds": seeds,
        "data": {
            "name": plan.trial or plan.table.data,
            "samples": samples.counts,
            "not_comparable": samples.differs,
        },
        "rows": [
            {
                "label": planned.row.label,
                "name": planned.row.name,
                "recipe": planned.subject.recipe.to_dict(),
                "quirks": [quirk.name for quirk in planned.quirks],
                "selection": SELECTIONS[_selection(planned)],
                "done": sum(c.is_done for c in cells if c.subject.label == planned.row.label),
            }
            for planned in plan.rows
        ],
        "left_out": plan.left_out,
        "not_reproduced": {quirk.name: quirk.why_not for quirk in plan.not_reproduced},
        "results": [asdict(result) for result in results(plan, cells, samples)],
    }


def _compared(
    plan: Plan, planned: PlannedRow, cells: Sequence[RunCell]
) -> dict[tuple[str, str], Compared]:
    """Return a row's metrics, compared with the row it is held against where that is run too."""
    both = [p.subject for p in plan.rows if p.row.label == planned.row.against]
    both = [*both, planned.subject]
    labels = [subject.label for subject in both]
    study = summarise(both, [each for each in cells if each.subject.label in labels])
    rows = study.val_last if _selection(planned) == "last_10" else study.test
    return {(row.task, row.metric): row for row in rows}


def _selection(planned: PlannedRow) -> str:
    return next((quirk.selection for quirk in planned.quirks if quirk.selection), "last")


def _sparsity(planned: PlannedRow, cells: Sequence[RunCell], column: Column) -> Cell | None:
    """Return a share that the last epoch's log counts: zero_groups of num_groups, and so on."""
    values = []
    for each in cells:
        if each.subject.label == planned.row.label and each.is_done:
            counts = read_log(each.run)[-1]["sparsity"] or {}
            total = counts.get(column.metric.replace("zero_", "num_"))
            if total:
                values.append(counts[column.metric] / total)
    return cell(values) if values else None


def _scaled(difference: Difference, factor: float) -> Difference:
    se = None if difference.se is None else difference.se * factor
    return Difference(difference.mean * factor, se, difference.n, difference.verdict)
