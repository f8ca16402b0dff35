"""Read a split from end to end: what is labelled, what the values are, what is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from compactmtl.data.batch import check_image
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.data.target_checks import check_values
from compactmtl.errors import CompactMTLError, DataError
from compactmtl.multitask.labels import LabelTask
from compactmtl.multitask.task import Task

SHOWN = 5
"""Problems of a split that are kept; all are counted."""


@dataclass
class TaskSurvey:
    """What the targets of a task are, over the samples that were read."""

    kind: str
    num_labelled: int = 0
    """Samples with something valid."""
    num_lacking: int = 0
    """Samples without this task."""
    num_blank: int = 0
    """Samples whose target has nothing valid."""
    num_values: int = 0
    num_valid: int = 0
    """Pixels (or labels) of the samples that have the task, and the valid ones of them."""
    lowest: float | None = None
    highest: float | None = None
    """Of the valid values; None without any."""
    classes: list[int] = field(default_factory=list)
    """Classes that occur, for tasks with classes."""


@dataclass
class SplitSurvey:
    """What a split holds."""

    split: str
    num_samples: int
    num_read: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    """How many images there are of each size, as ``HxW``."""
    tasks: dict[str, TaskSurvey] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0

    def problem(self, text: str) -> None:
        """Count a problem, and keep it if it is one of the first."""
        self.num_problems += 1
        if len(self.problems) < SHOWN:
            self.problems.append(text)


def survey(
    dataset: MultiTaskDataset,
    tasks: Mapping[str, Task],
    split: str,
    *,
    limit: int | None = None,
    done: Callable[[], None] = lambda: None,
) -> SplitSurvey:
    """Read samples of a split and say what they are; what is wrong is listed, never raised.

    Args:
        dataset: The split.
        tasks: Its tasks.
        split: Its name.
        limit: Read at most so many, evenly spread; None: all.
        done: Called after each sample.
    """
    result = SplitSurvey(split, len(dataset))
    result.tasks = {name: TaskSurvey(task.kind) for name, task in tasks.items()}
    for index in spread(len(dataset), limit):
        try:
            image, targets = dataset[index]
            check_image(image, f"sample {index}: image")
            _check_pixels(image, index)
        except CompactMTLError as error:
            result.problem(error.message)
        else:
            height, width = image.shape[1:]
            key = f"{height}x{width}"
            result.sizes[key] = result.sizes.get(key, 0) + 1
            for name, task in tasks.items():
                _count(result, task, targets.get(name), index, (int(height), int(width)))
        result.num_read += 1
        done()
    for name, found in result.tasks.items():
        if result.num_read and not found.num_labelled:
            result.problem(f"task `{name}` has not one valid value in what was read of {split}")
    return result


def spread(number: int, limit: int | None) -> list[int]:
    """Return at most ``limit`` indices below ``number``, evenly spread from 0 on."""
    if limit is None or limit >= number:
        return list(range(number))
    return [place * number // limit for place in range(limit)]


def _check_pixels(image: Tensor, index: int) -> None:
    low, high = float(image.min()), float(image.max())
    if not (bool(torch.isfinite(image).all()) and low >= -1e-3 and high <= 1 + 1e-3):
        raise DataError(f"sample {index}: image from {low:g} to {high:g}, expected 0 to 1")


def _count(result: SplitSurvey, task: Task, target: Any, index: int, size: tuple[int, int]) -> None:
    found = result.tasks[task.name]
    if target is None:
        found.num_lacking += 1
        return
    try:
        where = f"sample {index}, task `{task.name}`: target"
        task.check_target(target, task.missing(*size), where)
        check_values(task, target, index)
    except CompactMTLError as error:
        result.problem(error.message)
        return
    valid = task.valid(task.stack([target]))[0]
    num_valid = int(valid.sum())
    found.num_values += valid.numel()
    found.num_valid += num_valid
    if num_valid == 0:
        found.num_blank += 1
        return
    found.num_labelled += 1
    if not isinstance(target, Tensor):
        return  # things found: what their values may be, their task has checked
    values = target.movedim(0, -1)[valid] if target.ndim > valid.ndim else target[valid]
    low, high = float(values.min()), float(values.max())
    found.lowest = low if found.lowest is None else min(found.lowest, low)
    found.highest = high if found.highest is None else max(found.highest, high)
    if isinstance(task, LabelTask):
        found.classes = sorted({*found.classes, *map(int, torch.unique(values).tolist())})
