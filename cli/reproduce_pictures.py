"""The part of `compactmtl reproduce` that draws a paper's figures."""

from collections.abc import Sequence
from pathlib import Path

from compactmtl.cli.console import console
from compactmtl.report.sweep import write_page
from compactmtl.study.cells import RunCell
from compactmtl.study.reproduce.pictures import record_pictures
from compactmtl.study.reproduce.plan import Plan

PAGE = "figures.html"


def draw(plan: Plan, cells: Sequence[RunCell], folder: Path) -> None:
    """Measure the compiled models and draw what the runs show against lambda."""
    with console.progress("measure, round", None) as advance:
        document = record_pictures(plan, cells, folder, on_round=advance)
    title = f"{plan.table.id}, {plan.preset}"
    if plan.trial:
        title += f", tried on {plan.trial}"
    page = write_page(folder / PAGE, document, title)
    console.info(f"drew figures 3 and 4 from these runs: {page}")
