"""The samples that changed most, drawn: image, truth, and what each of the two predicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.evaluation.score import Change
from compactmtl.evaluation.subjects import Subject
from compactmtl.files import atomic_write, make_folder
from compactmtl.multitask.colours import Picture
from compactmtl.multitask.task import Task

GAP = 4
MIN_WIDTH = 192
"""Narrower pictures are enlarged by a whole number, so that one can see them."""
PATTERN = "[0-9][0-9]-sample-*.png"
"""The files this writes; those of an earlier evaluation go away."""
HEADING = 14
"""Pixels above each picture for its caption."""


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
        row = {"image": _photo(image.numpy())}
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
            _sheet(row).save(temporary, format="PNG")
        paths.append(path)
    return paths


def _photo(image: np.ndarray) -> Picture:
    scaled: Picture = (np.clip(image, 0.0, 1.0) * 255.0).round().astype(np.uint8).transpose(1, 2, 0)
    return scaled


def _sheet(row: Mapping[str, Picture]) -> Image.Image:
    """Return the pictures side by side, each under its caption."""
    times = -(-MIN_WIDTH // max(picture.shape[1] for picture in row.values()))
    row = {text: picture.repeat(times, 0).repeat(times, 1) for text, picture in row.items()}
    height = max(picture.shape[0] for picture in row.values())
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    widths = [max(p.shape[1], int(probe.textlength(text)) + 2) for text, p in row.items()]
    sheet = Image.new(
        "RGB", (sum(widths) + GAP * (len(row) + 1), height + HEADING + 2 * GAP), "white"
    )
    draw = ImageDraw.Draw(sheet)
    left = GAP
    for (text, picture), width in zip(row.items(), widths, strict=True):
        draw.text((left, 2), text, fill="black")
        sheet.paste(Image.fromarray(picture), (left, HEADING + GAP))
        left += width + GAP
    return sheet
