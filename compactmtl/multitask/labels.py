"""What tasks with classes share: labels, their loss, and what rebuilds them."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from compactmtl.errors import DataError, RecipeError
from compactmtl.multitask.metric import check_sizes, working
from compactmtl.multitask.task import Task


def class_names(
    task: str, num_classes: int, names: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Return the names of a task's classes, if there are any.

    Raises:
        RecipeError: Their number is not that of the classes.
    """
    if names is None:
        return None
    if len(names) != num_classes:
        raise RecipeError(f"task `{task}`: {len(names)} class names for {num_classes} classes")
    return tuple(names)


class LabelTask(Task):
    """A class per pixel, or per image; targets are int64 class indices, below 0 invalid.

    Raw: logits, classes on axis 1. Loss: cross-entropy, mean over what has a label.

    Args:
        name: The task's name.
        num_classes: Number of classes, at least 2.
        classes: Their names, for pictures and tables.

    Raises:
        RecipeError: Fewer than 2 classes, or another number of names.
    """

    label_smoothing: float = 0.0

    def __init__(self, name: str, num_classes: int, classes: tuple[str, ...] | None = None) -> None:
        if num_classes < 2:
            raise RecipeError(f"task `{name}`: num_classes (={num_classes}) must be at least 2")
        super().__init__(name, num_channels=num_classes)
        self.classes = class_names(name, num_classes, classes)

    def valid(self, target: Tensor) -> Tensor:
        """Tell what has a label."""
        return target >= 0

    def check_labels(self, target: Tensor) -> None:
        """Check that labels are class indices.

        Raises:
            DataError: A label is ``num_classes`` or more.
        """
        if target.numel() and int(target.max()) >= self.num_channels:
            raise DataError(
                f"task `{self.name}`: label {int(target.max())} in the target, expected at most "
                f"{self.num_channels - 1} (num_classes = {self.num_channels})",
                hint="mark what has no class with -1",
            )

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy over what has a label."""
        check_sizes(self, raw, target)
        self.check_labels(target)
        labels = target.clamp(min=-1)
        total = F.cross_entropy(
            working(raw),
            labels,
            ignore_index=-1,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return total / self.valid(target).sum().clamp(min=1)

    def predict(self, raw: Tensor) -> Tensor:
        """Return the most likely class, int64."""
        return raw.argmax(dim=1)

    def class_names(self) -> tuple[str, ...]:
        """Return the classes' names, their numbers where they have none."""
        return self.classes or tuple(map(str, range(self.num_channels)))

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels, num_classes and the names of the classes."""
        classes = None if self.classes is None else list(self.classes)
        return {**super().spec(), "num_classes": self.num_channels, "classes": classes}
