"""The verb `runs`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet


def runs(
    root: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of runs.", show_default="runs")
    ] = Path("runs"),
    *,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the run folders with their metrics and sparsity, the latest first.

    Per task the first metric of the last finished epoch is shown, on the validation split.
    "running" is also what a run that was killed outright says; resume it or delete it.

    Examples:
      compactmtl runs
      compactmtl runs /data/runs --json | jq '.runs[0].metrics'
    """
    from compactmtl.training import RunSummary, list_runs  # imports torch

    def metrics(run: RunSummary) -> str:
        firsts = ((task, *next(iter(values.items()))) for task, values in run.metrics.items())
        return "  ".join(f"{task} {metric} {value:.4g}" for task, metric, value in firsts)

    def zeros(run: RunSummary) -> str | None:
        total = run.sparsity.get("num_groups", 0)
        return f"{run.sparsity['zero_groups'] / total:.1%}" if total else None

    found = list_runs(root)
    console.table(
        "",
        ["run", "status", "epoch", "validation", "zero groups"],
        [[run.folder.name, run.status, run.epoch, metrics(run), zeros(run)] for run in found],
    )
    console.result({"runs": [asdict(run) for run in found]})
