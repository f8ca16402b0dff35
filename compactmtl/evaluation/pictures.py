"""The samples that changed most, drawn: image, truth, and what each of the two predicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.evaluation.score import Change
from compactmtl.evaluation.subjects import Subject
from compactmtl.files import atomic_write, make_folder
from compactmtl.multitask.sheet import photo, sheet
from compactmtl.multitask.task import Task

PATTERN = "[0-9][0-9]-sample-*.png"
"""The files this writes; those of an earlier evaluation go away."""


def draw_changes(
    changes: Sequence[Change],
    subjects: Mapping[str, Subject],
    dataset: MultiTaskDataset,
    tasks: Mapping[str, Task],
    *,
    baseline: str,
    folder: Path,
) -> list[Path]:
    """Draw one PNG per change: a row of image, truth, baseline and subject on that task.

    Args:
        changes: What to draw, in order; the place becomes the file's number.
        subjects: All subjects by name.
        dataset: The samples.
        tasks: The tasks by name.
        baseline: Name of the subject compared with.
        folder: Where the pictures go.

    Returns:
        The files written.

    Raises:
        WriteError: The folder is not writable.
    """
    make_folder(folder)
    for earlier in folder.glob(PATTERN):
        earlier.unlink()
    paths = []
    for place, change in enumerate(changes, start=1):
        image, targets = dataset[change.index]
        task = tasks[change.task]
        row = {"image": photo(image.numpy())}
        if change.task in targets:
            row["truth"] = task.picture(targets[change.task])
        for name, error in (
            (baseline, change.baseline_error),
            (change.subject, change.error),
        ):
            raw = subjects[name].predict(image.unsqueeze(0))[change.task]
            with torch.no_grad():
                row[f"{name}: {error:.3g}"] = task.picture(task.predict(raw)[0])
        path = folder / f"{place:02d}-sample-{change.index}-{change.task}.png"
        with atomic_write(path) as temporary:
            sheet(row).save(temporary, format="PNG")
        paths.append(path)
    return paths
