"""An own kind of task: a colour's hue is an angle, so 359 degrees is next to 1 degree."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from compactmtl.multitask import Task


class Hue(Task):
    """An angle per pixel, scored by the mean angular error in degrees.

    Target: float32 (1, H, W), radians; NaN is invalid. Raw: a vector (N, 2, H, W) whose direction
    is the angle. Loss: 1 - cosine of the difference.
    """

    kind = "hue"
    primary = "mean_error"
    higher_is_better = False

    def __init__(self, name: str) -> None:
        super().__init__(name, num_channels=2)

    def valid(self, target: Tensor) -> Tensor:
        return target[:, 0].isfinite()

    def missing(self, height: int, width: int) -> Tensor:
        return torch.full((1, height, width), torch.nan)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        valid = self.valid(target)
        angle = target[:, 0].nan_to_num()
        cosine = (F.normalize(raw, dim=1, eps=1e-6) * unit(angle)).sum(dim=1)
        return ((1 - cosine) * valid).sum() / valid.sum().clamp(min=1)

    def metric(self) -> Metric:
        return HueError()

    def predict(self, raw: Tensor) -> Tensor:
        return torch.atan2(raw[:, 1:], raw[:, :1]) % (2 * torch.pi)

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the best of 36 directions: with few colours the mean error has several minima."""
        angle = targets[:, 0][self.valid(targets)]
        candidates = torch.arange(36) * (2 * torch.pi / 36)
        errors = torch.stack([difference(angle, candidate).mean() for candidate in candidates])
        return [unit(candidates[errors.argmin()][None])[0]]

    def picture(self, target: Tensor) -> np.ndarray:
        """Draw the hue itself, and invalid pixels grey."""
        angle = target[0].cpu().numpy()
        phase = np.nan_to_num(angle)[..., None] * 3 / np.pi + np.array([0.0, 4.0, 2.0])
        rgb = np.clip(abs(phase % 6 - 3) - 1, 0, 1)
        rgb[~np.isfinite(angle)] = 0.5
        return (255 * rgb).round().astype(np.uint8)


class HueError(Metric):
    """Mean angular error over all valid pixels, in degrees."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, raw: Tensor, target: Tensor) -> None:
        valid = target[:, 0].isfinite()
        guess = torch.atan2(raw[:, 1], raw[:, 0])[valid]
        self.total += torch.rad2deg(difference(guess, target[:, 0][valid])).sum().double()
        self.count += valid.sum()

    def compute(self) -> dict[str, Tensor]:
        return {"mean_error": self.total / self.count}


def unit(angle: Tensor) -> Tensor:
    """Return (N, ...) angles as vectors (N, 2, ...)."""
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle between two directions, 0 to pi."""
    return (torch.remainder(a - b + torch.pi, 2 * torch.pi) - torch.pi).abs()
