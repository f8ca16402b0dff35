"""The verb `compare`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import DataFolder, Debug, Json, Quiet, Settings

PAGE = "compare.html"


def compare(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="[LABEL=]RECIPE[+key=value]...", help="The first is the baseline."),
    ],
    settings: Settings = None,
    *,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each, seeds 0, 1, ...")] = 5,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the study.")
    ] = Path("study"),
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs side by side.")] = 1,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="NAME", help="auto, cpu, cuda:0; may be repeated."),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Add what shows how much of it is due to sparsity."),
    ] = False,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Not only the first metric of each task.")
    ] = False,
    data: DataFolder = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train recipes with paired seeds; say what differs, and if it is more than noise.

    Runs of one seed see the same batches and, where networks are alike, start from the same
    weights. Each is scored on the test split after its last epoch; nothing is chosen. Prints mean,
    standard deviation, the paired difference from the first recipe with its standard error, and a
    verdict: better or worse only where the 95 % interval of the difference leaves out 0. Writes
    compare.json and compare.html.

    Before the first run ten steps of each recipe are done: what it would be refused for is said
    now, and how long all takes. A study that was stopped goes on with the same command: finished
    runs are not repeated.

    With --controls each sparse recipe gets a dense network trained from first weights at the widths
    it has left (-widths), and the dense one with as many of its smallest groups set to zero at once
    and trained on for as long as after the penalty (-one-shot); the first recipe gets its twin with
    coupled decay, the baseline of paper B's code (-published). A recipe may start from another's
    run of the same seed: +train.init=@LABEL.

    Examples:
      compactmtl compare rooms-dense rooms-fac --seeds 3
      compactmtl compare rooms-dense rooms-fac fnl=rooms-fac+overparam.method=fnl --jobs 2
      compactmtl compare rooms-dense rooms-sparse --controls
      compactmtl compare rooms-dense sparse-finetune+train.init=@rooms-dense
      compactmtl compare a.toml b.toml --device cuda:0 --device cuda:1 --jobs 2
    """
    import os

    from compactmtl.cli.compare_table import COLUMNS, COST_COLUMNS, cost_rows, rows
    from compactmtl.cli.rehearse import rehearse, runs_left
    from compactmtl.cli.study_progress import runs_progress, say_waiting
    from compactmtl.report.compare import write_page
    from compactmtl.study.compare import compare as run
    from compactmtl.study.compare import plan_runs
    from compactmtl.study.controls import with_controls
    from compactmtl.study.subjects import parse_subjects

    if data is not None:
        os.environ["COMPACTMTL_DATA"] = str(data)
    subjects = parse_subjects(recipes, tuple(settings or ()))
    if controls:
        subjects, left_out = with_controls(subjects)
        for note in left_out:
            console.warn(note)
    devices = device or ["auto"]
    left = runs_left(plan_runs(subjects, seeds, out))
    rehearse(subjects, left, devices[0])
    with runs_progress(left.total()) as (_, done):
        study = run(
            subjects,
            seeds=seeds,
            root=out,
            jobs=jobs,
            devices=devices,
            on_done=done,
            on_wait=say_waiting,
        )
    document = study.to_dict()
    page = write_page(out / PAGE, document)
    console.table("test split, last epoch", COLUMNS, rows(study, all_metrics=all_metrics))
    if study.costs:
        console.table("compiled, means", COST_COLUMNS, cost_rows(document))
    for note in study.notes:
        console.warn(note)
    console.info(f"wrote {page}")
    console.result(document)
