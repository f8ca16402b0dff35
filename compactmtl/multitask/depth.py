"""Metric depth."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from compactmtl.errors import RecipeError
from compactmtl.multitask import colours
from compactmtl.multitask.metric import TaskMetric, check_sizes, pick, some, working
from compactmtl.multitask.task import Task, masked_mean


class Depth(Task):
    """Depth in metres, scored by the mean absolute error.

    Target: float32 (1, H, W) metres; 0, negative or non-finite is invalid. Raw: metres
    (N, 1, H, W). Loss: L1, mean over valid pixels.

    Args:
        name: The task's name.
        value_range: Nearest and farthest depth of the colour scale in pictures, in metres.
        scaled: Whether to yield ``scaled_mae`` too, the mean absolute error in units of the
            greatest depth of each image, as some published codes have it.

    Raises:
        RecipeError: A range that does not go upwards.
    """

    kind: ClassVar[str] = "depth"
    primary: ClassVar[str] = "abs_err"
    higher_is_better: ClassVar[bool] = False

    def __init__(
        self, name: str, value_range: tuple[float, float] = (0.0, 10.0), scaled: bool = False
    ) -> None:
        if not value_range[0] < value_range[1]:
            raise RecipeError(f"task `{name}`: value_range (={value_range}) must go upwards")
        super().__init__(name, num_channels=1)
        self.value_range, self.scaled = value_range, scaled

    def valid(self, target: Tensor) -> Tensor:
        """Tell which pixels have a finite depth above 0."""
        return (target.isfinite() & (target > 0)).squeeze(1)

    def missing(self, height: int, width: int) -> Tensor:
        """Return depths of 0."""
        return torch.zeros(1, height, width)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean absolute error in metres."""
        check_sizes(self, raw, target)
        valid = self.valid(target).unsqueeze(1)
        clean = target.where(valid, torch.zeros_like(target))
        return masked_mean((working(raw) - clean).abs(), valid)

    def metric(self) -> "DepthMetric":
        """Return a metric that yields abs_err (metres) and rel_err (a ratio)."""
        return DepthMetric(self)

    def predict(self, raw: Tensor) -> Tensor:
        """Return the raw output: it is in metres already."""
        return raw

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the one best constant for abs_err, the median depth."""
        return [some(self, pick(targets, self.valid(targets))).median(dim=1).values.float()]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw near as red and far as blue (Turbo)."""
        valid = self.valid(target.unsqueeze(0))[0].cpu().numpy()
        drawn = colours.scale(
            target[0].float().cpu().numpy(), self.value_range, colours.TURBO[::-1]
        )
        drawn[~valid] = colours.INVALID
        return drawn

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels and value_range, and ``scaled`` where it is wanted."""
        own = {"scaled": True} if self.scaled else {}
        return {**super().spec(), "value_range": list(self.value_range), **own}


class DepthMetric(TaskMetric):
    """Absolute and relative error: sums over all valid pixels, divided by their number."""

    abs_sum: Tensor
    rel_sum: Tensor
    scaled_sum: Tensor
    task: Depth

    def __init__(self, task: Depth) -> None:
        super().__init__(task)
        self.add_sum("abs_sum")
        self.add_sum("rel_sum")
        self.add_sum("scaled_sum")

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add the errors of a batch."""
        truth = pick(target, valid)
        error = (pick(raw, valid) - truth).abs()
        self.abs_sum += error.sum()
        self.rel_sum += (error / truth).sum()
        if self.task.scaled:
            greatest = target.where(valid.unsqueeze(1), 0.0).amax(dim=(1, 2, 3), keepdim=True)
            self.scaled_sum += (error / pick(greatest.expand_as(target), valid)).sum()

    def result(self) -> dict[str, Tensor]:
        """Return abs_err in metres and rel_err as a ratio."""
        found = {
            "abs_err": self.abs_sum / self.num_pixels,
            "rel_err": self.rel_sum / self.num_pixels,
        }
        if self.task.scaled:
            found["scaled_mae"] = self.scaled_sum / self.num_pixels
        return found
