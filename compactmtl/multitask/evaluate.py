"""Metrics of a network, or of anything that predicts, over a split."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from compactmtl.errors import DataError
from compactmtl.multitask.losses import pair
from compactmtl.multitask.task import Task

Batches = Iterable[tuple[Tensor, dict[str, Any]]]


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Mapping[str, Any]],
    batches: Batches,
    tasks: Mapping[str, Task],
    progress: Callable[[int], None] | None = None,
) -> dict[str, dict[str, float]]:
    """Return every metric of every task, over all batches at once.

    Args:
        predict: Takes images (N, 3, H, W), returns raw outputs (N, C, H, W) per task. A network
            must be in eval mode already.
        batches: Pairs of images and batched targets.
        tasks: The tasks to score.
        progress: Called after each batch with the number of batches done.

    Returns:
        ``{task: {metric: value}}``, each task's primary metric first.

    Raises:
        DataError: No batch at all, a missing target, or a task without a valid pixel.
        UsageError: ``predict`` lacks a task's output.
        NonFiniteError: A raw output is NaN or Inf.
    """
    metrics = {name: task.metric() for name, task in tasks.items()}
    done = 0
    for images, targets in batches:
        raws = predict(images)
        for name, metric in metrics.items():
            raw, target = pair(name, raws, targets)
            # Sums are float64, which Apple's GPUs lack.
            device = torch.device("cpu") if images.device.type == "mps" else images.device
            metric.to(device).update(_moved(raw, device), _moved(target, device))
        done += 1
        if progress is not None:
            progress(done)
    if done == 0:
        raise DataError("there is nothing to evaluate: the split has no batch")
    return {
        name: {key: float(value) for key, value in metric.compute().items()}
        for name, metric in metrics.items()
    }


def _moved(values: Any, device: torch.device) -> Any:
    """Return a tensor, or a structure of tensors, on a device and without its graph."""
    return tree_map(lambda tensor: tensor.detach().to(device), values)
