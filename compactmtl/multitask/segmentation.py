"""Semantic segmentation: one class per pixel."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from compactmtl.multitask import colours
from compactmtl.multitask.labels import LabelTask
from compactmtl.multitask.metric import TaskMetric, some


class Segmentation(LabelTask):
    """Semantic segmentation, scored by mIoU.

    Target: int64 (H, W), a class index; below 0 is invalid. Raw: logits (N, num_classes, H, W).
    Loss: cross-entropy, mean over valid pixels.

    Arguments as for ``LabelTask``.
    """

    kind: ClassVar[str] = "segmentation"
    primary: ClassVar[str] = "miou"
    higher_is_better: ClassVar[bool] = True

    def missing(self, height: int, width: int) -> Tensor:
        """Return labels of -1."""
        return torch.full((height, width), -1, dtype=torch.int64)

    def metric(self) -> "SegmentationMetric":
        """Return a metric that yields miou and pixel_accuracy."""
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
        names = self.task.class_names()
        iou = zip(names, self._iou().tolist(), strict=True)
        return {name: value for name, value in iou if value == value}

    def _iou(self) -> Tensor:
        """Return the IoU per class; NaN for a class that is nowhere."""
        hits = self.confusion.diagonal().double()
        return hits / ((self.confusion.sum(0) + self.confusion.sum(1)).double() - hits)
