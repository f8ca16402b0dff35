"""Check a data set split by split, and draw samples of it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from compactmtl.data import DATASETS
from compactmtl.data.catalogue import CATALOGUE
from compactmtl.data.checks import SPLITS
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.data.survey import SplitSurvey, spread, survey
from compactmtl.errors import CompactMTLError, DataError, MissingExtraError
from compactmtl.files import atomic_write
from compactmtl.multitask.arguments import checked_arguments
from compactmtl.multitask.sheet import photo, sheet, stacked
from compactmtl.multitask.task import Task
from compactmtl.parts import call_part, find_part

Progress = Callable[[str, int], Callable[[], None]]
"""Called as each split starts, with its name and the samples to read; what it returns is called
after each sample."""


@dataclass
class DataCheck:
    """What a check found."""

    name: str
    args: dict[str, Any]
    tasks: dict[str, Task]
    splits: list[SplitSurvey]
    notes: list[str]
    rows: list[Image.Image]
    """One drawn sample per row."""

    @property
    def num_problems(self) -> int:
        """Count what is wrong."""
        return sum(split.num_problems for split in self.splits)

    def draw(self, path: Path) -> Path | None:
        """Write the drawn samples; None where there is nothing to draw."""
        if not self.rows:
            return None
        with atomic_write(path) as temporary:
            stacked(self.rows).save(temporary, format="PNG")
        return path


def check_data(
    name: str,
    args: Mapping[str, Any],
    *,
    limit: int | None = None,
    num_drawn: int = 3,
    progress: Progress = lambda _split, _number: lambda: None,
) -> DataCheck:
    """Read every split of a data set; what is wrong is in the result, not raised.

    Args:
        name: A built-in data set, or ``package.module:Class``.
        args: Its arguments.
        limit: Samples read per split, evenly spread; None: all.
        num_drawn: Samples drawn per split.
        progress: See ``Progress``.

    Raises:
        PartError: No such data set, or the user's own fails.
        RecipeError: It does not take these arguments.
        DataError: It does not say which tasks it has.
        MissingExtraError: It needs a package that is not installed.
    """
    factory = find_part(name, DATASETS, "data set")
    checked = checked_arguments(factory, args, what=f"data set `{name}`")
    if not hasattr(factory, "declared_tasks"):
        raise DataError(
            f"data set `{name}` has no `declared_tasks`, which says what its targets are",
            hint="add a static declared_tasks(**args) that returns a dict of tasks",
        )
    tasks = dict(factory.declared_tasks(**checked))
    shows_progress = "progress" in inspect.signature(factory).parameters
    result = DataCheck(name, checked, tasks, [], [], [])
    for split in getattr(factory, "splits", SPLITS):
        try:
            more = {"progress": _preparing(progress, split)} if shows_progress else {}
            dataset = call_part(name, factory, split, **checked, **more)
        except MissingExtraError:
            raise
        except CompactMTLError as error:
            broken = SplitSurvey(split, 0)
            broken.problem(error.message)
            result.splits.append(broken)
            continue
        done = progress(split, len(spread(len(dataset), limit)))
        found = survey(dataset, tasks, split, limit=limit, done=done)
        if not len(dataset):
            found.problem(f"split {split} is empty")
        result.splits.append(found)
        if not found.num_problems:
            result.rows += _drawn(dataset, tasks, split, num_drawn)
    result.notes = _notes(result)
    return result


def _preparing(progress: Progress, split: str) -> Callable[[int, int], None]:
    """Return what a data set calls while it makes itself ready; a bar appears at its first call."""
    bar: list[Callable[[], None]] = []

    def prepared(done: int, total: int) -> None:
        if not bar:
            bar.append(progress(f"{split}, made ready", total - done + 1))
        bar[0]()

    return prepared


def _drawn(
    dataset: MultiTaskDataset, tasks: Mapping[str, Task], split: str, number: int
) -> list[Image.Image]:
    rows = []
    for index in spread(len(dataset), number):
        image, targets = dataset[index]
        row = {f"{split} {index}": photo(image.numpy())}
        row |= {n: task.picture(targets[n]) for n, task in tasks.items() if n in targets}
        rows.append(sheet(row))
    return rows


def _notes(result: DataCheck) -> list[str]:
    """Return what is no error but worth knowing."""
    notes = []
    for split in result.splits:
        for task, found in split.tasks.items():
            for number, text in (
                (found.num_lacking, "are not labelled for it"),
                (found.num_blank, "have nothing valid"),
            ):
                if number and found.num_labelled:
                    notes.append(f"{split.split}, {task}: {number} of {split.num_read} {text}")
    known = CATALOGUE.get(result.name)
    counts = {split.split: split.num_samples for split in result.splits}
    for part, expected in (known.sizes if known else {}).items():
        numbers = [counts[split] for split in part.split("+")]
        number = sum(numbers)
        if all(numbers) and number != expected:  # a split that cannot be read says so itself
            notes.append(f"{part}: {number} samples, the published data set has {expected}")
    return notes
