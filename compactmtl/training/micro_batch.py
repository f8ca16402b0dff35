"""A batch in parts: what fits into memory at once, or what one process of several works on.

The loss of a task is the mean over what counts in the *whole* batch: a part's mean counts by how
much of that it holds. So the gradients of all parts add up to that of the whole batch, however many
pixels of each are labelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compactmtl.errors import RecipeError
from compactmtl.multitask.task import Task
from compactmtl.training.processes import Processes


@dataclass(frozen=True)
class MicroBatch:
    """A part of a batch."""

    images: Tensor
    targets: dict[str, Any]
    counts: dict[str, Tensor]
    """How much of each task counts in it, times the number of processes."""
    totals: dict[str, Tensor]
    """How much of each task counts in the whole batch; at least 1."""
    share: float
    """Share of the whole batch's images, times the number of processes."""

    def part(self, name: str, loss: Tensor) -> Tensor:
        """Return what a task's mean loss here adds to the whole batch's.

        Gradients are averaged over the processes, so what is summed up is that many times as much.
        """
        dtype = loss.dtype
        return loss * (self.counts[name].to(dtype) / self.totals[name].to(dtype))


def micro_batches_here(accumulate: int | None, num_processes: int) -> int:
    """Return into how many parts each process divides its part of a batch.

    Raises:
        RecipeError: The processes cannot share ``train.accumulate`` parts out evenly.
    """
    if accumulate is None:
        return 1
    if accumulate % num_processes:
        raise RecipeError(
            f"train.accumulate (={accumulate}) micro-batches cannot be shared out evenly among "
            f"{num_processes} processes",
            hint="start a number of processes that divides it",
        )
    return accumulate // num_processes


def micro_batches(
    images: Tensor,
    targets: Mapping[str, Any],
    tasks: Mapping[str, Task],
    num: int,
    processes: Processes,
) -> list[MicroBatch]:
    """Divide this process's part of a batch into ``num`` equal ones; every process calls it."""
    size = len(images) // num
    pieces = [slice(start, start + size) for start in range(0, len(images), size)]
    divided = [{name: target[piece] for name, target in targets.items()} for piece in pieces]
    counts = torch.stack(
        [
            torch.stack([task.count(part[name]).to(images.device) for name, task in tasks.items()])
            for part in divided
        ]
    )
    totals = processes.total(counts.sum(dim=0)).clamp(min=1)
    return [
        MicroBatch(
            images[piece],
            part,
            dict(zip(tasks, row * processes.num, strict=True)),
            dict(zip(tasks, totals, strict=True)),
            share=1 / num,
        )
        for piece, part, row in zip(pieces, divided, counts, strict=True)
    ]
