"""Semantic segmentation: one class per pixel."""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from compactmtl.errors import DataError, RecipeError
from compactmtl.multitask import colours
from compactmtl.multitask.metric import TaskMetric, check_sizes, some, working
from compactmtl.multitask.task import Task


class Segmentation(Task):
    """Semantic segmentation, scored by mIoU.

    Target: int64 (H, W), a class index; below 0 is invalid. Raw: logits (N, num_classes, H, W).
    Loss: cross-entropy, mean over valid pixels.

    Args:
        name: The task's name.
        num_classes: Number of classes, at least 2.
        classes: Their names, for pictures and tables.

    Raises:
        RecipeError: Fewer than 2 classes, or another number of names.
    """

    kind: ClassVar[str] = "segmentation"
    primary: ClassVar[str] = "miou"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, name: str, num_classes: int, classes: tuple[str, ...] | None = None) -> None:
        if num_classes < 2:
            raise RecipeError(f"task `{name}`: num_classes (={num_classes}) must be at least 2")
        if classes is not None and len(classes) != num_classes:
            raise RecipeError(
                f"task `{name}`: {len(classes)} class names for num_classes (={num_classes})"
            )
        super().__init__(name, num_channels=num_classes)
        self.classes = None if classes is None else tuple(classes)

    def valid(self, target: Tensor) -> Tensor:
        """Tell which pixels have a label."""
        return target >= 0

    def missing(self, height: int, width: int) -> Tensor:
        """Return labels of -1."""
        return torch.full((height, width), -1, dtype=torch.int64)

    def check_labels(self, target: Tensor) -> None:
        """Check that labels are class indices.

        Raises:
            DataError: A label is ``num_classes`` or more.
        """
        if target.numel() and int(target.max()) >= self.num_channels:
            raise DataError(
                f"task `{self.name}`: label {int(target.max())} in the target, expected at most "
                f"{self.num_channels - 1} (num_classes = {self.num_channels})",
                hint="mark pixels without a class with -1",
            )

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy over labelled pixels."""
        check_sizes(self, raw, target)
        self.check_labels(target)
        labels = target.clamp(min=-1)
        total = F.cross_entropy(working(raw), labels, ignore_index=-1, reduction="sum")
        return total / self.valid(target).sum().clamp(min=1)

    def metric(self) -> "SegmentationMetric":
        """Return a metric that yields miou and pixel_accuracy."""
        return SegmentationMetric(self)

    def predict(self, raw: Tensor) -> Tensor:
        """Return the most likely class, int64 (N, H, W)."""
        return raw.argmax(dim=1)

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the one best constant, the most frequent class.

        Predicting class c everywhere has the mIoU share(c) / number of classes present, so the
        most frequent class is best for mIoU and for pixel accuracy.
        """
        labels = some(self, targets[self.valid(targets)].unsqueeze(0))[0]
        most = labels.bincount(minlength=self.num_channels).argmax()
        return [F.one_hot(most, self.num_channels).float()]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw one colour per class."""
        table = np.vstack([colours.palette(self.num_channels), colours.INVALID])
        labels = target.clamp(min=-1).cpu().numpy()
        drawn: colours.Picture = table[labels]  # -1 is the last row
        return drawn

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels, num_classes and the names of the classes."""
        classes = None if self.classes is None else list(self.classes)
        return {**super().spec(), "num_classes": self.num_channels, "classes": classes}


class SegmentationMetric(TaskMetric):
    """mIoU and pixel accuracy from one confusion matrix over all valid pixels.

    IoU is averaged over the classes present in the targets or in the predictions; a class absent
    from both counts neither as 0 nor as 1.
    """

    confusion: Tensor
    task: Segmentation

    def __init__(self, task: Segmentation) -> None:
        super().__init__(task)
        self.add_count("confusion", task.num_channels, task.num_channels)

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch to the confusion matrix (rows: target, columns: prediction)."""
        self.task.check_labels(target)
        num = self.task.num_channels
        pairs = target[valid] * num + raw.argmax(dim=1)[valid]
        self.confusion += pairs.bincount(minlength=num * num).reshape(num, num)

    def result(self) -> dict[str, Tensor]:
        """Return miou and pixel_accuracy, both 0 to 1."""
        iou = self._iou()
        accuracy = self.confusion.diagonal().double().sum() / self.num_pixels
        return {"miou": iou[~iou.isnan()].mean(), "pixel_accuracy": accuracy}

    def per_class(self) -> dict[str, float]:
        """Return the IoU of each class that is present, 0 to 1."""
        names = self.task.classes or tuple(map(str, range(self.task.num_channels)))
        iou = zip(names, self._iou().tolist(), strict=True)
        return {name: value for name, value in iou if value == value}

    def _iou(self) -> Tensor:
        """Return the IoU per class; NaN for a class that is nowhere."""
        hits = self.confusion.diagonal().double()
        return hits / ((self.confusion.sum(0) + self.confusion.sum(1)).double() - hits)
