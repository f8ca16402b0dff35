"""From a table's rows and a preset to the recipes that fill it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compactmtl.data import DATASETS
from compactmtl.errors import UsageError
from compactmtl.models.recipes import load
from compactmtl.parts import nearest
from compactmtl.study.reproduce.presets import CORRECTED, PRESETS, Quirk, quirks, quirks_of
from compactmtl.study.reproduce.readings import readings
from compactmtl.study.reproduce.status import lacking
from compactmtl.study.reproduce.tables import Row, Table
from compactmtl.study.subjects import Subject

TRIALS = {
    "rooms": "data.args={num_images = 200, num_eval_images = 50, height = 96, width = 128}",
}
"""Arguments of other data sets on which a table can be tried."""


@dataclass(frozen=True)
class PlannedRow:
    """A row, the recipe that fills it, and the quirks that are in the recipe."""

    row: Row
    subject: Subject
    quirks: tuple[Quirk, ...]


@dataclass(frozen=True)
class Plan:
    """What will be run.

    Attributes:
        table: The table.
        preset: The preset's name.
        rows: What can be run.
        left_out: Label of a row that cannot, to the reason.
        not_reproduced: Quirks of the preset that touch the table and are not reproduced.
        trial: The data set it is tried on; "" for the table's own.
    """

    table: Table
    preset: str
    rows: tuple[PlannedRow, ...]
    left_out: dict[str, str]
    not_reproduced: tuple[Quirk, ...]
    trial: str


def make_plan(
    table: Table,
    *,
    preset: str = CORRECTED,
    patterns: Sequence[str] = (),
    settings: Sequence[str] = (),
    trial: str = "",
    pretrained: Path | None = None,
) -> Plan:
    """Turn a table's rows into recipes: the row's, then the preset's quirks, then the user's.

    Args:
        table: A table or figure that has rows.
        preset: One of ``PRESETS``.
        patterns: Rows by label; empty for all.
        settings: The user's own settings, for all rows.
        trial: Another data set to try it on; its published values are then not comparable.
        pretrained: File of weights for rows that start from a pretrained backbone.

    Raises:
        UsageError: There is nothing to run, no such preset, row or data set, or the data set lacks
            the table's tasks.
        RecipeError: A setting is wrong.
    """
    _check(table, preset, trial)
    rows, left_out = [], {}
    for row in table.select(patterns):
        if row.pretrained and pretrained is None:
            left_out[row.label] = "starts from pretrained weights: give --pretrained FILE"
            continue
        cell, own = table.cell(row), list(row.settings)
        applied = [
            quirk
            for quirk in quirks_of(preset, cell)
            if not (trial and all(s.startswith("data.") for s in quirk.settings(cell)))
        ]  # what is published of one data set means nothing for another
        own += [setting for quirk in applied for setting in quirk.settings(cell)]
        if row.pretrained:
            own.append(f"model.pretrained={pretrained}")
        if trial:
            own += [f"data.name={trial}", TRIALS.get(trial, "data.args={}")]
        recipe = load(row.recipe, [*own, *settings])
        rows.append(PlannedRow(row, Subject(row.label, recipe), tuple(applied)))
    if not rows:
        raise UsageError(
            f"{table.id}: none of the rows can be run: "
            + "; ".join(f"{label} {why}" for label, why in left_out.items())
        )
    return Plan(table, preset, tuple(rows), left_out, _not_reproduced(table, preset), trial)


def _check(table: Table, preset: str, trial: str) -> None:
    if preset not in PRESETS:
        raise UsageError(
            f"no preset `{preset}`{nearest(preset, PRESETS)}", hint=f"presets: {', '.join(PRESETS)}"
        )
    if table.drawing:
        raise UsageError(f"{table.id}: {table.drawing}")
    missing = table.needs if trial else lacking(table)
    if missing:
        raise UsageError(f"{table.id} cannot be run yet: it needs {missing}")
    if trial:
        declared = DATASETS[trial].declared_tasks()
        wanted = [column.task for column in table.columns if column.task != "sparsity"]
        if absent := [task for task in dict.fromkeys(wanted) if task not in declared]:
            raise UsageError(
                f"{table.id} cannot be tried on `{trial}`: it has the tasks {', '.join(declared)}, "
                f"the table needs {', '.join(absent)} too"
            )


def _not_reproduced(table: Table, preset: str) -> tuple[Quirk, ...]:
    if preset == CORRECTED:
        return ()
    cells = [table.cell(row) for row in table.rows]
    return tuple(
        quirk
        for quirk in quirks().values()
        if quirk.why_not
        and any(
            readings()[quirk.reading].touches_cell(cell, column.id)
            for cell in cells
            for column in table.columns
        )
    )
