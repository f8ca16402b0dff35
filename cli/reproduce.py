"""The verb `reproduce`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.options import Debug, Json, Quiet, Settings


def reproduce(
    what: Annotated[
        str | None,
        typer.Argument(metavar="TABLE", help="As A:table1; or a reading, as A.init, to print it."),
    ] = None,
    settings: Settings = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of data sets, or a data set to try it on: rooms."),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", metavar="ROW,...", help="These rows; patterns as segnet-s*."),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="corrected, or as-published, quirk by quirk.")
    ] = "corrected",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, seeds 0, 1, ...")] = 3,
    pretrained: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights for rows with a pretrained backbone."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", show_default="reproduce/<table>-<preset>"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="NAME", help="auto, cpu, cuda:0; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, and how long; run nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Repeat a table of the papers: published values beside ours.

    Without TABLE it lists every table and figure. With one it checks the data, measures ten steps
    of each row to say how long it takes, trains every row with paired seeds and prints the table.
    What was stopped goes on with the same command. Published values are printed only where the
    data are the paper's own. Where a paper can be read in two ways, docs/readings.md says what we
    do; `corrected` is how we would do it, `as-published` repeats what was done, quirk by quirk.

    Examples:
      compactmtl reproduce
      compactmtl reproduce A:table1 --preset as-published --dry-run
      compactmtl reproduce A:table1 --data DIR --seeds 3 --rows 'segnet-s*'
      compactmtl reproduce A:table3 --data rooms --rows baseline-s,fac-s --set train.epochs=2
      compactmtl reproduce A.init
    """
    from compactmtl.cli.reproduce_show import show_plan, show_reading, show_tables
    from compactmtl.data import DATASETS
    from compactmtl.data.folder import data_folder
    from compactmtl.study.reproduce.readings import readings

    trial = data if data in DATASETS else None
    if data is not None and trial is None:
        os.environ["COMPACTMTL_DATA"] = str(data_folder(data))

    if what is None:
        show_tables()
        return
    if what in readings():
        show_reading(what)
        return

    from compactmtl.cli.reproduce_run import check_and_estimate, run
    from compactmtl.study.reproduce.plan import make_plan
    from compactmtl.study.reproduce.tables import find_table

    plan = make_plan(
        find_table(what),
        preset=preset,
        patterns=[label for given in rows or () for label in given.split(",")],
        settings=settings or (),
        trial=trial or "",
        pretrained=pretrained,
    )
    show_plan(plan)
    folder = out or Path("reproduce") / f"{plan.table.id.replace(':', '-')}-{preset}"
    devices = device or ["auto"]
    if dry_run:
        check_and_estimate(plan, folder, seeds=seeds, device=devices[0], dry_run=True)
    else:
        run(plan, folder, seeds=seeds, jobs=jobs, devices=devices)
