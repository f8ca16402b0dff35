"""One evaluation from the files to its record and pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactmtl.errors import UsageError
from compactmtl.evaluation.data import load_data
from compactmtl.evaluation.pictures import draw_changes
from compactmtl.evaluation.record import RECORD, make_record
from compactmtl.evaluation.score import Scores, score
from compactmtl.evaluation.subjects import open_subjects
from compactmtl.files import make_folder, write_json
from compactmtl.recipe import Recipe
from compactmtl.remote.ssh import Host

NUM_DRAWN = 20
ROUNDING = 1e-5
"""A smaller change of a sample's error is rounding, not worth a picture."""
PICTURES = "changed"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was found.

    Attributes:
        scores: All figures.
        names: The subjects.
        baseline: The one that the others are compared with.
        source: A phrase that names the data.
        pictures: The files drawn.
        left_out: File name to the reason why it was not scored.
        record: All of it as JSON data, as written.
    """

    scores: Scores
    names: list[str]
    baseline: str
    source: str
    pictures: list[Path]
    left_out: dict[str, str]
    record: dict[str, Any]


def run_evaluation(
    files: Sequence[Path],
    out: Path,
    *,
    data: str | None,
    split: str,
    baseline: str | None,
    recipe: Recipe | None,
    host: Host | None,
    limit: int | None,
    batch_size: int,
    threads: int,
    on_batch: Callable[[int, int], None],
) -> Evaluation:
    """Score files on the same images, and write ``evaluation.json`` and the pictures.

    Args:
        files: See ``open_subjects``.
        out: Folder to write to.
        data: See ``load_data``.
        split: See ``load_data``.
        baseline: Name of the subject to compare with; None: the dense one, else the first.
        recipe: A recipe that the user gave; names in it may be imported.
        host: Where exported files run; None: here.
        limit: Score the first so many images only; None: all.
        batch_size: Images per call.
        threads: Threads of each runtime.
        on_batch: Called after each batch with images done and images in all.

    Raises:
        CompactMTLError: A file cannot run, the data is not there, or nothing fits together.
    """
    opened = open_subjects(files, threads=threads, recipe=recipe, host=host)
    with opened as (subjects, left_out):
        if baseline is not None and baseline not in subjects:
            raise UsageError(f"--baseline {baseline}: expected one of {', '.join(subjects)}")
        dense = [name for name, subject in subjects.items() if subject.which == "dense"]
        reference = baseline or next(iter([*dense, *subjects]))
        dataset, tasks, source = load_data(subjects, name=data, split=split, recipe=recipe)
        scores = score(
            subjects,
            dataset,
            tasks,
            baseline=reference,
            batch_size=batch_size,
            limit=limit,
            on_batch=on_batch,
        )
        make_folder(out)
        record = make_record(
            scores, subjects, tasks, baseline=reference, source=source, left_out=left_out
        )
        write_json(out / RECORD, record)
        drawn = [each for each in scores.changed if abs(each.change) > ROUNDING][:NUM_DRAWN]
        pictures = draw_changes(
            drawn, subjects, dataset, tasks, baseline=reference, folder=out / PICTURES
        )
    return Evaluation(
        scores=scores,
        names=list(subjects),
        baseline=reference,
        source=source,
        pictures=pictures,
        left_out=left_out,
        record=record,
    )
