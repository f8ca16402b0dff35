"""What a data set is: images with a target per task."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class MultiTaskDataset(Protocol):
    """Images and, for each, a target per task.

    Anything with these two methods will do, a ``torch.utils.data.Dataset`` too. A recipe's factory
    is called as ``factory(split, **args)`` with split "train", "val" or "test". A data set that
    also has a static ``declared_tasks(**args) -> dict[str, Task]`` lets recipes leave out the
    tasks' kinds; it must not touch the disk.
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, dict[str, Tensor]]:
        """Return an image and its targets.

        Shape:
            image: (3, H, W) float32 in 0 to 1.
            targets: Per task, in the form of its kind (``compactmtl.multitask``); a sample that
                was not labelled for a task lacks its key.
        """
        ...
