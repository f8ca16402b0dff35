"""The pictures of paper B from the runs of a table, which are a sweep over lambda."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compactmtl.study.cells import RunCell
from compactmtl.study.grid import GridPoint
from compactmtl.study.reproduce.plan import Plan
from compactmtl.study.sweep import finish_sweep

SECONDS = 10.0


def grid_of(plan: Plan) -> list[GridPoint]:
    """Return a table's rows as the points of a sweep; a row without [sparsity] is lambda 0."""
    points = []
    for planned in plan.rows:
        recipe = planned.subject.recipe
        lam = 0.0 if recipe.sparsity is None else recipe.sparsity.lam
        points.append(GridPoint(planned.subject, ", ".join(recipe.tasks), lam))
    return points


def record_pictures(
    plan: Plan, cells: Sequence[RunCell], folder: Path, *, on_round: Callable[[], None]
) -> dict[str, Any]:
    """Measure the compiled models of a table's runs and write ``sweep.json``.

    Args:
        plan: Its rows.
        cells: Its finished runs, which are compiled.
        folder: Of the table.
        on_round: Called after each round of measuring.

    Returns:
        The record, as ``finish_sweep`` does.
    """
    return finish_sweep(
        grid_of(plan),
        cells,
        folder,
        name=plan.table.id,
        failed={},
        seconds=SECONDS,
        on_round=on_round,
    )
