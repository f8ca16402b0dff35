"""The verb `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import DEFAULT_FOLDER, Debug, Json, Quiet

FOLDER = Path("evaluation")


def evaluate(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES|FOLDERS...", show_default="compact")
    ] = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="NAME", help="rooms, ..., or package.module:Dataset [the recipe's]."
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="NAME", help="Compare with it [the dense one]."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="Recipe whose code you trust.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="USER@BOARD", help="Exported files run there, over ssh."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="First N images only.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images per call.")] = 8,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads per runtime.")] = 1,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where to write.")
    ] = FOLDER,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score models and exported files on labelled data, task by task.

    All see the same images. Prints each task's own metrics and, where it has classes, one figure
    per class: one column per file, and its difference to the dense twin. A compact folder stands
    for its two models and all exported files that descend from them and can run. Writes
    evaluation.json and pictures of the twenty samples that changed most: image, truth, and both
    predictions.

    Examples:
      compactmtl evaluate
      compactmtl evaluate compact/model.onnx compact/model.int8.onnx --data rooms --split test
      compactmtl evaluate ckpt.pt compact/ --limit 200 --json
      compactmtl evaluate compact/dense.pt2 compact/model.engine --host user@board
    """
    from compactmtl.evaluation.record import RECORD
    from compactmtl.evaluation.run import PICTURES, run_evaluation
    from compactmtl.evaluation.table import class_rows, columns, metric_rows
    from compactmtl.models.recipes import load
    from compactmtl.remote.ssh import Host

    with console.progress("evaluate", None) as advance:
        found = run_evaluation(
            files or [DEFAULT_FOLDER],
            out,
            data=data,
            split=split,
            baseline=baseline,
            recipe=None if recipe is None else load(str(recipe)),
            host=None if host is None else Host(host),
            limit=limit,
            batch_size=batch,
            threads=threads,
            on_batch=lambda done, num: advance(1, note=f"{done} of {num} images"),
        )
    headings = columns(found.names, found.baseline)
    title = f"{found.source}: {found.scores.num_images} images"
    if len(found.names) > 1:
        title += f", differences to {found.baseline}"
    console.table(title, headings, metric_rows(found.scores, found.names, found.baseline))
    if any(found.scores.classes.values()):
        rows = class_rows(found.scores, found.names, found.baseline)
        console.table("Per class", headings, rows)
    for name, why in found.left_out.items():
        console.info(f"left out: {name}: {why}")
    num = len(found.pictures)
    changed = f"pictures of the {num} samples that changed most: {out / PICTURES}/"
    console.info(f"wrote {out / RECORD}; {changed if num else 'no sample changed'}")
    console.result(found.record)
