"""What a predictor that ignores the image reaches."""

from collections.abc import Mapping

import torch
from torch import Tensor

from compactmtl.errors import DataError
from compactmtl.multitask.evaluate import Batches
from compactmtl.multitask.task import Task


def constant_baseline(tasks: Mapping[str, Task], batches: Batches) -> dict[str, dict[str, float]]:
    """Return, per task, the metrics of the constant predictor that is best by the primary metric.

    The constant is fitted to the very targets it is scored on, so no constant does better and a
    network that beats it uses the image. All targets of one pass are held in memory, but for tasks
    where predicting nothing is the best constant.

    Raises:
        DataError: No batch at all, a missing target, or a task without a valid pixel.
    """
    floors = {name: task.floor() for name, task in tasks.items()}
    kept: dict[str, list[Tensor]] = {name: [] for name, floor in floors.items() if floor is None}
    for _, targets in batches:
        for name, batch in kept.items():
            if name not in targets:
                raise DataError(f"the batch has no target for task `{name}`")
            batch.append(targets[name])
    if not all(kept.values()):
        raise DataError("there is nothing to fit constants to: the split has no batch")
    return {
        name: _best(tasks[name], kept[name]) if floor is None else dict(floor)
        for name, floor in floors.items()
    }


def _best(task: Task, batches: list[Tensor]) -> dict[str, float]:
    """Return the metrics of the best of a task's constants."""
    scores = [_score(task, constant, batches) for constant in task.constants(torch.cat(batches))]
    return min(scores, key=task.error)


def _score(task: Task, constant: Tensor, batches: list[Tensor]) -> dict[str, float]:
    """Return the metrics of predicting one raw output (C,) everywhere."""
    metric = task.metric().to(constant.device)
    metric.distributed_available_fn = _alone  # every process has all targets
    for target in batches:
        raw = constant.expand(target.shape[0], -1)
        if task.per_pixel:
            raw = raw[..., None, None].expand(-1, -1, *target.shape[-2:])
        metric.update(raw, target)
    return {key: float(value) for key, value in metric.compute().items()}


def _alone() -> bool:
    return False
