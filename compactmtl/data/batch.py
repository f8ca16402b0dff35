"""From samples to batches, where a sample may lack a task."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.data.order import EpochSampler, Share
from compactmtl.errors import DataError
from compactmtl.multitask.task import Task

Sample = tuple[Tensor, dict[str, Any]]
Batch = tuple[Tensor, dict[str, Any]]


def collate(samples: Sequence[Sample], tasks: Mapping[str, Task]) -> Batch:
    """Stack samples; a task a sample lacks becomes a target with nothing valid.

    Targets of tasks that are not in ``tasks`` are dropped.

    Shape:
        samples: n pairs of (3, H, W) and targets of the tasks' own forms
        ->  (n, 3, H, W) and per task (n, ...), in the order of ``tasks``

    Raises:
        DataError: An image or target is no tensor, or of another form than it should be; names the
            sample's place in the batch and the task.
    """
    if not samples:
        raise DataError("a batch of no samples, expected at least 1")
    first = samples[0][0]
    for place, (image, _) in enumerate(samples):
        check_image(image, f"sample {place} of a batch: image")
        if image.shape != first.shape:
            raise DataError(
                f"sample {place} of a batch: image is {_size(image)}, "
                f"expected {_size(first)} as sample 0",
                hint="images of one batch must have one size; crop or resize them in the data set",
            )
    height, width = int(first.shape[1]), int(first.shape[2])
    targets = {}
    for name, task in tasks.items():
        blank = task.missing(height, width)
        found = [targets_of.get(name, blank) for _, targets_of in samples]
        for place, target in enumerate(found):
            task.check_target(target, blank, f"sample {place} of a batch, task `{name}`: target")
        targets[name] = task.stack(found)
    return torch.stack([image for image, _ in samples]), targets


def _size(tensor: Tensor) -> tuple[int, ...]:
    return tuple(int(side) for side in tensor.shape)


def check_image(image: object, where: str) -> None:
    """Refuse what is no image (3, H, W) in float32.

    Raises:
        DataError: Another type, dtype or shape; ``where`` names it.
    """
    if not isinstance(image, Tensor):
        raise DataError(f"{where} is a {type(image).__name__}, expected a tensor")
    if image.dtype != torch.float32:
        raise DataError(f"{where} is {image.dtype}, expected torch.float32 in 0 to 1")
    if image.ndim != 3 or image.shape[0] != 3:
        raise DataError(f"{where} has shape {_size(image)}, expected (3, H, W)")


def loader(
    dataset: MultiTaskDataset,
    tasks: Mapping[str, Task],
    *,
    batch_size: int,
    shuffle: bool,
    generator: torch.Generator,
    num_workers: int = 0,
    pin_memory: bool = False,
    drop_last: bool = False,
    share: Share | None = None,
) -> DataLoader[Any]:
    """Return batches of a data set for these tasks.

    With ``shuffle``, ``loader.sampler`` is an ``EpochSampler``: call its ``start_epoch(epoch)``
    before each epoch, and the order depends on the generator's initial seed and the epoch alone.
    Workers are seeded from ``generator``; ``pin_memory`` makes copies to a GPU asynchronous.
    ``share`` is for several processes: of each whole batch every one gets a part.

    Raises:
        DataError: The data set is empty (here), or a sample is malformed (while iterating).
    """
    if len(dataset) == 0:
        raise DataError(f"data set {type(dataset).__name__} is empty, expected at least 1 sample")
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # torch asks for its own base class, needs only the methods
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), generator, share) if shuffle else None,
        generator=generator,
        num_workers=num_workers,
        pin_memory=pin_memory,
        collate_fn=partial(collate, tasks=dict(tasks)),
        drop_last=drop_last,
    )
