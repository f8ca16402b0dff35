"""A paired study as rows of a table."""

from collections.abc import Mapping
from typing import Any

from compactmtl.report.compare_costs import COSTS, cost_values
from compactmtl.study.compare import Study
from compactmtl.study.paired import Cell

COLUMNS = ["task", "metric", "recipe", "mean", "std", "n", "minus first", "std error", "verdict"]
COST_COLUMNS = ["recipe", "n", *(heading for heading, _ in COSTS.values())]

Row = list[str | float | int | None]


def rows(study: Study, *, all_metrics: bool) -> list[Row]:
    """Return a row per metric and recipe, then delta-m."""
    table: list[Row] = []
    seen: set[str] = set()
    for row in study.test:
        if row.task in seen and not all_metrics:
            continue
        seen.add(row.task)
        for label, cell in row.cells.items():
            line: Row = [row.task, row.metric, label, *_spread(cell)]
            compared = row.differences.get(label)
            if compared is None:
                table.append([*line, None, None, None])
            else:
                table.append([*line, compared.mean, compared.se, compared.verdict])
    for label, cell in study.delta_m.items():
        table.append(["all", "delta-m, %", label, *_spread(cell), None, None, None])
    return table


def cost_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return a row per recipe that was compiled."""
    return [
        [label, len(found["macs"]["values"]), *cost_values(found)]
        for label, found in document["costs"].items()
    ]


def _spread(cell: Cell) -> Row:
    return [cell.mean, cell.std, cell.n]
