"""Semantic segmentation: one class per pixel."""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from compactmtl.errors import RecipeError
from compactmtl.multitask import colours
from compactmtl.multitask.labels import LabelTask
from compactmtl.multitask.metric import TaskMetric, some


class Segmentation(LabelTask):
    """Semantic segmentation, scored by mIoU.

    Target: int64 (H, W), a class index; below 0 is invalid. Raw: logits (N, num_classes, H, W).
    Loss: cross-entropy, mean over valid pixels.

    Args:
        name: As for ``LabelTask``, and so ``num_classes`` and ``classes``.
        label_smoothing: Share of each label that the loss spreads over all classes.
        image_iou: Whether to yield ``image_iou`` too, the mean over images of the IoU of all
            classes' pixels together, hits / (pixels + misses). It is what some published codes call
            IoU, and no mIoU.

    Raises:
        RecipeError: As ``LabelTask``; or a share that is none.
    """

    kind: ClassVar[str] = "segmentation"
    primary: ClassVar[str] = "miou"
    higher_is_better: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        num_classes: int,
        classes: tuple[str, ...] | None = None,
        label_smoothing: float = 0.0,
        image_iou: bool = False,
    ) -> None:
        super().__init__(name, num_classes, classes)
        if not 0 <= label_smoothing < 1:
            raise RecipeError(
                f"task `{name}`: label_smoothing (={label_smoothing}) must be at least 0, below 1"
            )
        self.label_smoothing, self.image_iou = label_smoothing, image_iou

    def spec(self) -> dict[str, Any]:
        """Return what ``LabelTask`` does, and what was set here."""
        own = {"label_smoothing": self.label_smoothing, "image_iou": self.image_iou}
        return {**super().spec(), **{name: value for name, value in own.items() if value}}

    def missing(self, height: int, width: int) -> Tensor:
        """Return labels of -1."""
        return torch.full((height, width), -1, dtype=torch.int64)

    def metric(self) -> "SegmentationMetric":
        """Return a metric that yields miou and pixel_accuracy, and image_iou where wanted."""
        return SegmentationMetric(self)

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


class SegmentationMetric(TaskMetric):
    """mIoU and pixel accuracy from one confusion matrix over all valid pixels.

    IoU is averaged over the classes present in the targets or in the predictions; a class absent
    from both counts neither as 0 nor as 1.
    """

    confusion: Tensor
    iou_sum: Tensor
    num_images: Tensor
    task: Segmentation

    def __init__(self, task: Segmentation) -> None:
        super().__init__(task)
        self.add_count("confusion", task.num_channels, task.num_channels)
        self.add_sum("iou_sum")
        self.add_count("num_images")

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch to the confusion matrix (rows: target, columns: prediction)."""
        self.task.check_labels(target)
        num = self.task.num_channels
        guess = raw.argmax(dim=1)
        pairs = target[valid] * num + guess[valid]
        self.confusion += pairs.bincount(minlength=num * num).reshape(num, num)
        if self.task.image_iou:
            hits = ((guess == target) & valid).sum(dim=(1, 2)).double()
            pixels = valid.sum(dim=(1, 2)).double()
            labelled = pixels > 0
            self.iou_sum += (hits / (2 * pixels - hits))[labelled].sum()
            self.num_images += labelled.sum()

    def result(self) -> dict[str, Tensor]:
        """Return miou and pixel_accuracy, both 0 to 1."""
        iou = self._iou()
        accuracy = self.confusion.diagonal().double().sum() / self.num_pixels
        found = {"miou": iou[~iou.isnan()].mean(), "pixel_accuracy": accuracy}
        if self.task.image_iou:
            found["image_iou"] = self.iou_sum / self.num_images
        return found

    def per_class(self) -> dict[str, float]:
        """Return the IoU of each class that is present, 0 to 1."""
        names = self.task.class_names()
        iou = zip(names, self._iou().tolist(), strict=True)
        return {name: value for name, value in iou if value == value}

    def _iou(self) -> Tensor:
        """Return the IoU per class; NaN for a class that is nowhere."""
        hits = self.confusion.diagonal().double()
        return hits / ((self.confusion.sum(0) + self.confusion.sum(1)).double() - hits)
