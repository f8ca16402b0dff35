"""Binary masks."""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from compactmtl.errors import DataError, RecipeError
from compactmtl.multitask import colours
from compactmtl.multitask.metric import TaskMetric, check_sizes, some, working
from compactmtl.multitask.task import Task, masked_mean

_MASK = np.array([70, 205, 190], dtype=np.uint8)


class Binary(Task):
    """A mask of 0 and 1, scored by the IoU of the ones.

    Target: float32 (1, H, W), 0 or 1; NaN is invalid. Raw: logits (N, 1, H, W), above 0 means 1.
    Loss: binary cross-entropy, mean over valid pixels.

    Args:
        name: The task's name.
        pos_weight: Weight of the ones in the loss.

    Raises:
        RecipeError: A weight that is not positive.
    """

    kind: ClassVar[str] = "binary"
    primary: ClassVar[str] = "iou"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, name: str, pos_weight: float = 1.0) -> None:
        if not pos_weight > 0:
            raise RecipeError(f"task `{name}`: pos_weight (={pos_weight}) must be greater than 0")
        super().__init__(name, num_channels=1)
        self.pos_weight = pos_weight

    def valid(self, target: Tensor) -> Tensor:
        """Tell which pixels are not NaN."""
        return ~target.isnan().squeeze(1)

    def missing(self, height: int, width: int) -> Tensor:
        """Return NaN."""
        return torch.full((1, height, width), torch.nan)

    def check_labels(self, target: Tensor) -> None:
        """Check that labels are 0, 1 or NaN.

        Raises:
            DataError: Another value, as of a mask stored as 0 and 255.
        """
        other = ~((target == 0) | (target == 1) | target.isnan())
        if bool(other.any()):
            raise DataError(
                f"task `{self.name}`: value {float(target[other][0]):g} in the target, "
                "expected 0, 1 or NaN (invalid)"
            )

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean binary cross-entropy."""
        check_sizes(self, raw, target)
        self.check_labels(target)
        valid = self.valid(target).unsqueeze(1)
        logits = working(raw)
        clean = target.where(valid, torch.zeros_like(target)).to(logits.dtype)
        weight = logits.new_tensor(self.pos_weight)
        values = F.binary_cross_entropy_with_logits(
            logits, clean, pos_weight=weight, reduction="none"
        )
        return masked_mean(values, valid)

    def metric(self) -> "BinaryMetric":
        """Return a metric that yields iou, f1 and accuracy."""
        return BinaryMetric(self)

    def predict(self, raw: Tensor) -> Tensor:
        """Return 1 where the logit is above 0, else 0, as float32."""
        return (raw > 0).float()

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the two constants there are: all ones and all zeros."""
        some(self, targets[~targets.isnan()].unsqueeze(0))
        return [torch.tensor([sign], device=targets.device) for sign in (1.0, -1.0)]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw the mask in one colour on black, so that adding it to the image overlays it."""
        values = target[0].float().cpu().numpy()
        drawn = np.zeros((*values.shape, 3), dtype=np.uint8)
        drawn[values > 0.5] = _MASK
        drawn[np.isnan(values)] = colours.INVALID
        return drawn

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels and pos_weight."""
        return {**super().spec(), "pos_weight": self.pos_weight}


class BinaryMetric(TaskMetric):
    """IoU, F1 and accuracy from the four counts over all valid pixels.

    Where neither targets nor predictions hold a single one, IoU and F1 are 1: nothing was there,
    and nothing was found.
    """

    hits: Tensor
    num_true: Tensor
    num_found: Tensor
    num_right: Tensor
    task: Binary

    def __init__(self, task: Binary) -> None:
        super().__init__(task)
        for name in ("hits", "num_true", "num_found", "num_right"):
            self.add_count(name)

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add the counts of a batch."""
        self.task.check_labels(target)
        truth = target.squeeze(1)[valid] == 1
        found = raw.squeeze(1)[valid] > 0
        self.hits += (truth & found).sum()
        self.num_true += truth.sum()
        self.num_found += found.sum()
        self.num_right += (truth == found).sum()

    def result(self) -> dict[str, Tensor]:
        """Return iou, f1 and accuracy, each 0 to 1."""
        hits, both = self.hits.double(), (self.num_true + self.num_found).double()
        empty = both == 0
        one = torch.ones_like(hits)
        return {
            "iou": torch.where(empty, one, hits / (both - hits)),
            "f1": torch.where(empty, one, 2 * hits / both),
            "accuracy": self.num_right.double() / self.num_pixels,
        }
