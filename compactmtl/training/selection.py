"""What the epochs of a run say on the validation split: the last, the last ten, the best."""

import shutil
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from compactmtl.files import atomic_write
from compactmtl.multitask.task import Task
from compactmtl.recipe import Recipe
from compactmtl.training.run import Run

LAST = 10
"""Epochs of the average that published codes report."""
BEST = "best.pt"

Metrics = dict[str, dict[str, float]]


def select(
    history: Sequence[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    baseline: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Return, as JSON data, which epochs a result can be read from, and what they say.

    ``last_10`` is the mean over the last ten epochs, or as many as there are. ``best`` is the epoch
    of the lowest score: the mean over tasks of the error over that of the best constant predictor;
    the earlier of two equal ones.

    Args:
        history: One record per epoch, with ``epoch`` and ``val``.
        tasks: The run's tasks.
        baseline: Metrics of the best constant predictor.
    """
    scores = [_score(record["val"], tasks, baseline) for record in history]
    best = min(range(len(scores)), key=lambda index: (scores[index], index))
    return {
        "last": {"epoch": history[-1]["epoch"], "val": history[-1]["val"]},
        "last_10": {"epochs": len(history[-LAST:]), "val": mean_of_last(history)},
        "best": {
            "epoch": history[best]["epoch"],
            "score": scores[best],
            "val": history[best]["val"],
        },
    }


def mean_of_last(history: Sequence[Mapping[str, Any]]) -> Metrics:
    """Return each metric's mean over the last ten epochs; without one that an epoch lacks."""
    rows = [record["val"] for record in history[-LAST:]]
    found: Metrics = {}
    for task, metrics in rows[-1].items():
        values = {name: [row[task][name] for row in rows] for name in metrics}
        found[task] = {
            name: statistics.fmean(known) for name, known in values.items() if None not in known
        }
    return found


def keep_best(recipe: Recipe, run: Run, selection: Mapping[str, Any]) -> None:
    """Copy the checkpoint to ``best.pt`` if the recipe says so and its epoch is the best so far.

    Raises:
        WriteError: It cannot be written.
    """
    is_best = selection["best"]["epoch"] == selection["last"]["epoch"]
    if recipe.train.keep_best and is_best and run.writes:
        with atomic_write(run.folder / BEST) as temporary:
            shutil.copyfile(run.checkpoint, temporary)


def _score(
    val: Mapping[str, Mapping[str, float]],
    tasks: Mapping[str, Task],
    baseline: Mapping[str, Mapping[str, float]],
) -> float:
    """Return the mean relative error; infinite where a metric is not a number."""
    ratios = []
    for name, task in tasks.items():
        constant = task.error(dict(baseline[name]))
        error = task.error(dict(val[name]))
        ratios.append(error / constant if constant else float(error > 0))
    mean = statistics.fmean(ratios)
    return mean if mean == mean else float("inf")
