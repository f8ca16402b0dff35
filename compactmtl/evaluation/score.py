"""Every metric of every task for each subject, and the samples on which they differ most."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compactmtl.data.batch import loader
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import UsageError
from compactmtl.evaluation.subjects import Subject
from compactmtl.multitask.losses import pair
from compactmtl.multitask.metric import TaskMetric
from compactmtl.multitask.task import Task

Values = dict[str, dict[str, dict[str, float]]]
"""``{subject: {task: {metric or class: value}}}``; a task the subject does not have is absent."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How much worse or better a subject is than the baseline on one sample.

    Attributes:
        index: The sample's place in the data set.
        subject: The subject with the largest change.
        task: The task with the largest change.
        error: Its error there (``Task.error`` of the one sample).
        baseline_error: The baseline's.
        change: Their difference over the baseline's mean error on that task, so that tasks of
            different units can be ranked together.
    """

    index: int
    subject: str
    task: str
    error: float
    baseline_error: float
    change: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What an evaluation found.

    Attributes:
        num_images: How many images were scored.
        metrics: Every metric over all images.
        classes: Per-class figures, for tasks that have classes.
        rel_rms: Root mean square of the difference of the raw outputs to the baseline's, over that
            of the baseline's; not for things found, or ids.
        changed: Samples by how much they changed, largest first.
    """

    num_images: int
    metrics: Values
    classes: Values
    rel_rms: dict[str, dict[str, float]]
    changed: list[Change]


def score(
    subjects: Mapping[str, Subject],
    dataset: MultiTaskDataset,
    tasks: Mapping[str, Task],
    *,
    baseline: str,
    batch_size: int,
    limit: int | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score subjects on the same batches.

    Args:
        subjects: What to score, by name.
        dataset: Images with a target per task.
        tasks: The tasks; a subject without an output of a task is not scored on it.
        baseline: Name of the subject that the others are compared with.
        batch_size: Images per call.
        limit: Score the first so many images only; None: all.
        on_batch: Called after each batch with images done and images in all.

    Raises:
        UsageError: A subject has an output of no task, or none at all.
        DataError: The data set is empty, or a task has no valid pixel.
        NonFiniteError: A raw output is NaN or Inf.
    """
    num = len(dataset) if limit is None else min(limit, len(dataset))
    totals = {name: {task: each.metric() for task, each in tasks.items()} for name in subjects}
    errors: dict[str, dict[str, dict[int, float]]] = {
        name: {task: {} for task in tasks} for name in subjects
    }
    squares = {name: {task: [0.0, 0.0] for task in tasks} for name in subjects}
    has: dict[str, set[str]] = {}
    done = 0
    for images, targets in _batches(dataset, tasks, batch_size, num):
        raws = {name: subject.predict(images) for name, subject in subjects.items()}
        for name, outputs in raws.items():
            has[name] = _scored(name, outputs, tasks)
            for task in has[name]:
                raw, target = pair(task, outputs, targets)
                totals[name][task].update(raw, target)
                errors[name][task] |= _per_sample(tasks[task], raw, target, done)
                if task in raws[baseline] and _is_number(raw):
                    own = raws[baseline][task].double()
                    squares[name][task][0] += float((raw.double() - own).square().sum())
                    squares[name][task][1] += float(own.square().sum())
        done += len(images)
        if on_batch is not None:
            on_batch(done, num)
    return Scores(
        num_images=done,
        metrics={
            name: {
                task: {k: float(v) for k, v in totals[name][task].compute().items()}
                for task in tasks
                if task in has[name]
            }
            for name in subjects
        },
        classes={
            name: {
                task: found
                for task in tasks
                if task in has[name] and (found := _classes(totals[name][task]))
            }
            for name in subjects
        },
        rel_rms={
            name: {
                task: (above / below) ** 0.5
                for task, (above, below) in squares[name].items()
                if name != baseline and below
            }
            for name in subjects
        },
        changed=_changes(errors, baseline),
    )


def _batches(
    dataset: MultiTaskDataset, tasks: Mapping[str, Task], batch_size: int, num: int
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Yield batches of the first ``num`` images."""
    left = num
    for images, targets in loader(
        dataset, tasks, batch_size=batch_size, shuffle=False, generator=torch.Generator()
    ):
        take = min(left, len(images))
        yield images[:take], {task: target[:take] for task, target in targets.items()}
        left -= take
        if left == 0:
            return


def _is_number(raw: object) -> bool:
    """Tell whether raw outputs have a size by which a change can be measured."""
    return isinstance(raw, Tensor) and raw.is_floating_point()


def _scored(name: str, outputs: Mapping[str, Any], tasks: Mapping[str, Task]) -> set[str]:
    found = {task for task in tasks if task in outputs}
    if not found:
        raise UsageError(
            f"`{name}` has the outputs {', '.join(outputs)}, none of them is a task of the data: "
            f"{', '.join(tasks)}"
        )
    return found


def _per_sample(task: Task, raw: Any, target: Any, start: int) -> dict[int, float]:
    """Return each sample's error; a sample without a valid pixel has none."""
    found = {}
    for row in range(len(raw)):
        one = slice(row, row + 1)
        if bool(task.valid(target[one]).any()):
            metric = task.metric()
            metric.update(raw[one], target[one])
            values = {key: float(value) for key, value in metric.compute().items()}
            found[start + row] = task.error(values)
    return found


def _classes(metric: object) -> dict[str, float]:
    """Return per-class figures; a user's metric need not know of classes."""
    return metric.per_class() if isinstance(metric, TaskMetric) else {}


def _changes(
    errors: Mapping[str, Mapping[str, Mapping[int, float]]], baseline: str
) -> list[Change]:
    """Return one change per sample: that of the subject and task that changed most there."""
    largest: dict[int, Change] = {}
    for name, per_task in errors.items():
        if name == baseline:
            continue
        for task, per_sample in per_task.items():
            before = errors[baseline][task]
            mean = sum(before.values()) / len(before) if before else 0.0
            for index in per_sample.keys() & before.keys():
                change = Change(
                    index=index,
                    subject=name,
                    task=task,
                    error=per_sample[index],
                    baseline_error=before[index],
                    change=(per_sample[index] - before[index]) / (mean or 1.0),
                )
                if index not in largest or abs(change.change) > abs(largest[index].change):
                    largest[index] = change
    return sorted(largest.values(), key=lambda each: (-abs(each.change), each.index))
