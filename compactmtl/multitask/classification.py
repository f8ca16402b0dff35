"""Classification: one class per image."""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from compactmtl.errors import DataError, RecipeError
from compactmtl.multitask import colours
from compactmtl.multitask.metric import TaskMetric, check_sizes, some, working
from compactmtl.multitask.task import Task

PICTURE = (24, 120)
"""Height and width of a label that is drawn."""
TOP = 5


class Classification(Task):
    """One class per image, scored by accuracy.

    Target: int64, a scalar, the class index; below 0 is invalid. Raw: logits (N, num_classes).
    Loss: cross-entropy, mean over labelled images.

    Args:
        name: The task's name.
        num_classes: Number of classes, at least 2.
        classes: Their names, for pictures and tables.

    Raises:
        RecipeError: Fewer than 2 classes, or another number of names.
    """

    kind: ClassVar[str] = "classification"
    primary: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    per_pixel: ClassVar[bool] = False

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
        """Tell which images have a label, as a bool tensor (N,)."""
        return target >= 0

    def missing(self, height: int, width: int) -> Tensor:
        """Return a label of -1."""
        return torch.tensor(-1)

    def check_labels(self, target: Tensor) -> None:
        """Check that labels are class indices.

        Raises:
            DataError: A label is ``num_classes`` or more.
        """
        if target.numel() and int(target.max()) >= self.num_channels:
            raise DataError(
                f"task `{self.name}`: label {int(target.max())} in the target, expected at most "
                f"{self.num_channels - 1} (num_classes = {self.num_channels})",
                hint="mark images without a class with -1",
            )

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy over labelled images."""
        check_sizes(self, raw, target)
        self.check_labels(target)
        labels = target.clamp(min=-1)
        total = F.cross_entropy(working(raw), labels, ignore_index=-1, reduction="sum")
        return total / self.valid(target).sum().clamp(min=1)

    def metric(self) -> "ClassificationMetric":
        """Return a metric that yields accuracy, and top_5 where there are more classes than 5."""
        return ClassificationMetric(self)

    def predict(self, raw: Tensor) -> Tensor:
        """Return the most likely class, int64 (N,)."""
        return raw.argmax(dim=1)

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the one best constant, classes by how frequent they are."""
        labels = some(self, targets[self.valid(targets)].unsqueeze(0))[0]
        return [labels.bincount(minlength=self.num_channels).float()]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw the class's name on its colour."""
        label = int(target)
        shade = colours.INVALID if label < 0 else colours.palette(self.num_channels)[label]
        sheet = Image.new("RGB", PICTURE[::-1], tuple(int(v) for v in shade))
        name = "" if label < 0 else self.classes[label] if self.classes else str(label)
        ink = "black" if int(np.asarray(shade).sum()) > 380 else "white"
        ImageDraw.Draw(sheet).text((6, 6), name, fill=ink)
        drawn: colours.Picture = np.asarray(sheet, dtype=np.uint8)
        return drawn

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels, num_classes and the names of the classes."""
        classes = None if self.classes is None else list(self.classes)
        return {**super().spec(), "num_classes": self.num_channels, "classes": classes}


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
        names = self.task.classes or tuple(map(str, range(self.task.num_channels)))
        totals = self.confusion.sum(1).tolist()
        hits = self.confusion.diagonal().tolist()
        found = zip(names, hits, totals, strict=True)
        return {name: hit / total for name, hit, total in found if total}
