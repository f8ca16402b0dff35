"""The verb `report`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import (
    DEFAULT_FOLDER,
    CompactFolder,
    DataFolder,
    Debug,
    Json,
    Out,
    Quiet,
)


def report(
    folder: CompactFolder = DEFAULT_FOLDER,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Run folder (default: the one compress used)."),
    ] = None,
    out: Out = None,
    data: DataFolder = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show it all in one HTML page.

    Writes report.html into the compact folder: metrics and pictures of every task, cost and
    latency of dense and compact, each task's metric against cost, cost and channels per layer, the
    roofline, training curves, what was verified, and the environment. One file that needs nothing
    else. What is not there yet is named with the command that makes it.

    Of a folder that `compactmtl sweep` wrote it draws sweep.html again, from sweep.json.

    Naming a run with --run also lets the report import your own tasks and data from its recipe.

    Examples:
      compactmtl report
      compactmtl report compact -o page.html
      compactmtl report sweep
      compactmtl report --run runs/mine-20250101-120000-0
    """
    if (folder / "sweep.json").is_file():
        from compactmtl.report.sweep import report_sweep

        page = report_sweep(folder, out)
        console.info(f"wrote {page}")
        console.result({"report": page, "size_bytes": page.stat().st_size})
        return
    from compactmtl.report import report as write  # imports torch

    console.info("running both models on validation images ...")
    page = write(folder, run=run, out=out, data=data)
    console.info(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB)")
    console.result({"report": page, "size_bytes": page.stat().st_size})
