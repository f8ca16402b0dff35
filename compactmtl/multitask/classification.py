"""Classification: one class per image."""

from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from compactmtl.multitask import colours
from compactmtl.multitask.labels import LabelTask
from compactmtl.multitask.metric import TaskMetric, some

PICTURE = (24, 120)
"""Height and width of a label that is drawn."""
TOP = 5


class Classification(LabelTask):
    """One class per image, scored by accuracy.

    Target: int64, a scalar, the class index; below 0 is invalid. Raw: logits (N, num_classes).
    Loss: cross-entropy, mean over labelled images.

    Arguments as for ``LabelTask``.
    """

    kind: ClassVar[str] = "classification"
    primary: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    per_pixel: ClassVar[bool] = False

    def missing(self, height: int, width: int) -> Tensor:
        """Return a label of -1."""
        return torch.tensor(-1)

    def metric(self) -> "ClassificationMetric":
        """Return a metric that yields accuracy, and top_5 where there are more classes than 5."""
        return ClassificationMetric(self)

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the one best constant, classes by how frequent they are."""
        labels = some(self, targets[self.valid(targets)].unsqueeze(0))[0]
        return [labels.bincount(minlength=self.num_channels).float()]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw the class's name on its colour."""
        label = int(target)
        shade = colours.INVALID if label < 0 else colours.palette(self.num_channels)[label]
        sheet = Image.new("RGB", PICTURE[::-1], tuple(int(v) for v in shade))
        name = "" if label < 0 else self.class_names()[label]
        ink = "black" if int(np.asarray(shade).sum()) > 380 else "white"
        ImageDraw.Draw(sheet).text((6, 6), name, fill=ink)
        drawn: colours.Picture = np.asarray(sheet, dtype=np.uint8)
        return drawn


class ClassificationMetric(TaskMetric):
    """Accuracy from one confusion matrix over all labelled images, and how often 5 guesses do.

    Of equal logits the lower class is the guess that comes first.
    """

    confusion: Tensor
    near: Tensor
    task: Classification

    def __init__(self, task: Classification) -> None:
        super().__init__(task)
        self.add_count("confusion", task.num_channels, task.num_channels)
        self.add_count("near")

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add a batch to the confusion matrix (rows: target, columns: prediction)."""
        self.task.check_labels(target)
        num, labels, guesses = self.task.num_channels, target[valid], raw[valid]
        order = guesses.argsort(dim=1, descending=True, stable=True)
        self.confusion += (labels * num + order[:, 0]).bincount(minlength=num * num).view(num, num)
        self.near += (order[:, :TOP] == labels.unsqueeze(1)).sum()

    def result(self) -> dict[str, Tensor]:
        """Return accuracy and top_5, both 0 to 1."""
        found = {"accuracy": self.confusion.diagonal().double().sum() / self.num_pixels}
        if self.task.num_channels > TOP:
            found["top_5"] = self.near.double() / self.num_pixels
        return found

    def per_class(self) -> dict[str, float]:
        """Return the share of each class's images that are found, 0 to 1."""
        names = self.task.class_names()
        totals = self.confusion.sum(1).tolist()
        hits = self.confusion.diagonal().tolist()
        found = zip(names, hits, totals, strict=True)
        return {name: hit / total for name, hit, total in found if total}
