"""The losses of a batch, task by task, and their sum with fixed weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.errors import DataError, UsageError
from compactmtl.multitask.task import Task
from compactmtl.parts import nearest


def total_loss(
    tasks: Mapping[str, Task],
    weights: Mapping[str, float],
    raws: Mapping[str, Any],
    targets: Mapping[str, Any],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of the tasks' losses, and each loss before its weight.

    Args:
        tasks: The tasks that count.
        weights: One factor per task; equal weights are all 1.
        raws: The network's raw outputs (N, C, H, W), at least one per task.
        targets: Batched targets, at least one per task.

    Raises:
        UsageError: A task without a weight, or a network that lacks its output.
        DataError: A batch without the task's target, or of another size.
    """
    for name in tasks:
        if name not in weights:
            raise UsageError(f"task `{name}` has no weight{nearest(name, weights)}")
    losses = task_losses(tasks, raws, targets)
    total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
    return total, losses


def task_losses(
    tasks: Mapping[str, Task], raws: Mapping[str, Any], targets: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return the loss of each task; arguments and raises as for ``total_loss``."""
    if not tasks:
        raise UsageError("there is no task to sum losses over")
    return {name: task.loss(*pair(name, raws, targets)) for name, task in tasks.items()}


def outputs(network: nn.Module, images: Tensor, targets: Mapping[str, Any]) -> Any:
    """Return what a network in training yields for a batch; one that asks for targets gets them."""
    if getattr(network, "takes_targets", False):
        return network(images, targets)
    return network(images)


def pair(name: str, raws: Mapping[str, Any], targets: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a task's raw output and its target.

    Raises:
        UsageError: The network lacks the output.
        DataError: The batch lacks the target.
    """
    if name not in raws:
        raise UsageError(
            f"the network yields no output for task `{name}`{nearest(name, raws)}",
            hint=f"its outputs are: {', '.join(raws)}",
        )
    if name not in targets:
        raise DataError(
            f"the batch has no target for task `{name}`{nearest(name, targets)}",
            hint="compactmtl.data.batch.collate fills in what a sample lacks",
        )
    return raws[name], targets[name]
