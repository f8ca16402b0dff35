"""The verb `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import DEFAULT_FOLDER, Debug, Json, Quiet
from compactmtl.errors import UsageError

FOLDER = Path("evaluation")
NUM_DRAWN = 20
ROUNDING = 1e-5
"""A smaller change of a sample's error is rounding, not worth a picture."""


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
    for its two models and all exported files that descend from them. Writes evaluation.json and
    pictures of the twenty samples that changed most: image, truth, and both predictions.

    Examples:
      compactmtl evaluate
      compactmtl evaluate compact/model.onnx compact/model.int8.onnx --data rooms --split test
      compactmtl evaluate ckpt.pt compact/ --limit 200 --json
    """
    from compactmtl.evaluation.data import load_data
    from compactmtl.evaluation.pictures import draw_changes
    from compactmtl.evaluation.record import RECORD, make_record
    from compactmtl.evaluation.score import score
    from compactmtl.evaluation.subjects import load_subjects
    from compactmtl.evaluation.table import class_rows, columns, metric_rows
    from compactmtl.files import make_folder, write_json
    from compactmtl.models.recipes import load

    own = None if recipe is None else load(str(recipe))
    subjects = load_subjects(files or [DEFAULT_FOLDER], threads=threads, recipe=own)
    if baseline is not None and baseline not in subjects:
        raise UsageError(f"--baseline {baseline}: expected one of {', '.join(subjects)}")
    dense = [name for name, subject in subjects.items() if subject.which == "dense"]
    reference = baseline or next(iter([*dense, *subjects]))
    dataset, tasks, source = load_data(subjects, name=data, split=split, recipe=own)
    with console.progress("evaluate", None) as advance:
        scores = score(
            subjects,
            dataset,
            tasks,
            baseline=reference,
            batch_size=batch,
            limit=limit,
            on_batch=lambda done, num: advance(1, note=f"{done} of {num} images"),
        )
    make_folder(out)
    record = make_record(scores, subjects, tasks, baseline=reference, source=source)
    write_json(out / RECORD, record)
    drawn = [each for each in scores.changed if abs(each.change) > ROUNDING][:NUM_DRAWN]
    folder = out / "changed"
    draw_changes(drawn, subjects, dataset, tasks, baseline=reference, folder=folder)
    names = list(subjects)
    headings = columns(names, reference)
    title = f"{source}: {scores.num_images} images, differences to {reference}"
    console.table(title, headings, metric_rows(scores, names, reference))
    if any(scores.classes.values()):
        console.table("Per class", headings, class_rows(scores, names, reference))
    changed = f"; pictures of the {len(drawn)} samples that changed most: {folder}/"
    console.info(f"wrote {out / RECORD}{changed if drawn else '; no sample changed'}")
    console.result(record)
