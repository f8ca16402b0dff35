"""Regression of any number of channels per pixel."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from compactmtl.errors import RecipeError
from compactmtl.multitask import colours
from compactmtl.multitask.metric import TaskMetric, check_sizes, pick, some, working
from compactmtl.multitask.task import Task, masked_mean


class Regression(Task):
    """Real values per pixel, scored by the mean absolute error.

    Target: float32 (C, H, W); a pixel is valid if all its channels are finite. Raw: values
    (N, C, H, W). Loss: L1, mean over valid pixels and channels.

    Args:
        name: The task's name.
        num_channels: C.
        value_range: Ends of the colour scale in pictures; with two or more channels the upper end
            is the length of the longest vector.

    Raises:
        RecipeError: No channel, or a range that does not go upwards.
    """

    kind: ClassVar[str] = "regression"
    primary: ClassVar[str] = "mae"
    higher_is_better: ClassVar[bool] = False

    def __init__(
        self, name: str, num_channels: int = 1, value_range: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        if num_channels < 1:
            raise RecipeError(f"task `{name}`: num_channels (={num_channels}) must be at least 1")
        if not value_range[0] < value_range[1]:
            raise RecipeError(f"task `{name}`: value_range (={value_range}) must go upwards")
        super().__init__(name, num_channels)
        self.value_range = value_range

    def valid(self, target: Tensor) -> Tensor:
        """Tell which pixels are finite in all channels."""
        return target.isfinite().all(dim=1)

    def missing(self, height: int, width: int) -> Tensor:
        """Return NaN."""
        return torch.full((self.num_channels, height, width), torch.nan)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean absolute error over valid pixels and channels."""
        check_sizes(self, raw, target)
        valid = self.valid(target).unsqueeze(1).expand_as(target)
        clean = target.where(valid, torch.zeros_like(target))
        return masked_mean((working(raw) - clean).abs(), valid)

    def metric(self) -> "RegressionMetric":
        """Return a metric that yields mae and rmse, in the unit of the target."""
        return RegressionMetric(self)

    def predict(self, raw: Tensor) -> Tensor:
        """Return the raw output: it is in the target's unit already."""
        return raw

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the one best constant for mae, the median of each channel."""
        return [some(self, pick(targets, self.valid(targets))).median(dim=1).values.float()]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw one channel by Viridis, two as a colour wheel, more by their length."""
        valid = self.valid(target.unsqueeze(0))[0].cpu().numpy()
        values = target.float().cpu().numpy()
        if self.num_channels == 1:
            drawn = colours.scale(values[0], self.value_range, colours.VIRIDIS)
        elif self.num_channels == 2:
            drawn = colours.wheel(values[0], values[1], longest=self.longest)
        else:
            length = np.linalg.norm(values, axis=0)
            drawn = colours.scale(length, (0.0, self.longest), colours.VIRIDIS)
        drawn[~valid] = colours.INVALID
        return drawn

    @property
    def longest(self) -> float:
        """Length of a vector that is drawn at the end of the scale."""
        return max(abs(end) for end in self.value_range)

    def spec(self) -> dict[str, Any]:
        """Return kind, num_channels and value_range."""
        return {**super().spec(), "value_range": list(self.value_range)}


class RegressionMetric(TaskMetric):
    """Mean absolute and root mean squared error over all valid pixels and channels."""

    abs_sum: Tensor
    square_sum: Tensor

    def __init__(self, task: Regression) -> None:
        super().__init__(task)
        self.add_sum("abs_sum")
        self.add_sum("square_sum")

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add the errors of a batch."""
        error = pick(raw, valid) - pick(target, valid)
        self.abs_sum += error.abs().sum()
        self.square_sum += error.square().sum()

    def result(self) -> dict[str, Tensor]:
        """Return mae and rmse."""
        num_values = self.num_pixels * self.task.num_channels
        return {
            "mae": self.abs_sum / num_values,
            "rmse": (self.square_sum / num_values).sqrt(),
        }
