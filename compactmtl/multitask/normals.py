"""Surface normals."""

from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from compactmtl.multitask import colours
from compactmtl.multitask.metric import TaskMetric, check_sizes, pick, some, working
from compactmtl.multitask.task import Task, masked_mean

BIN_DEG = 0.001
"""Width of the histogram bins from which the median angle is read, in degrees."""
_NUM_BINS = 180_000


class Normals(Task):
    """Unit surface normals, scored by the mean angle.

    Target: float32 (3, H, W), normalised here; a zero or non-finite vector is invalid. Raw: vectors
    of any length (N, 3, H, W). Loss: 1 - cosine, mean over valid pixels.

    Args:
        name: The task's name.
        cosine: Whether to yield ``cosine`` too, the mean cosine similarity.
    """

    kind: ClassVar[str] = "normals"
    primary: ClassVar[str] = "mean_angle"
    higher_is_better: ClassVar[bool] = False

    def __init__(self, name: str, cosine: bool = False) -> None:
        super().__init__(name, num_channels=3)
        self.cosine = cosine

    def spec(self) -> dict[str, Any]:
        """Return kind and num_channels, and ``cosine`` where it is wanted."""
        return {**super().spec(), **({"cosine": True} if self.cosine else {})}

    def valid(self, target: Tensor) -> Tensor:
        """Tell which pixels have a finite vector that is not zero."""
        return target.isfinite().all(dim=1) & (target != 0).any(dim=1)

    def missing(self, height: int, width: int) -> Tensor:
        """Return zero vectors."""
        return torch.zeros(3, height, width)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean of 1 - cosine.

        The length is bounded below by 1e-6, which bounds the gradient where the output is zero.
        """
        check_sizes(self, raw, target)
        valid = self.valid(target)
        clean = target.where(valid.unsqueeze(1), torch.zeros_like(target))
        cosine = (F.normalize(working(raw), dim=1, eps=1e-6) * F.normalize(clean, dim=1)).sum(dim=1)
        return masked_mean(1 - cosine, valid)

    def metric(self) -> "NormalsMetric":
        """Return a metric of angles (degrees) and of shares within 11.25, 22.5 and 30 degrees."""
        return NormalsMetric(self)

    def predict(self, raw: Tensor) -> Tensor:
        """Return unit vectors."""
        return F.normalize(raw, dim=1, eps=1e-12)

    def constants(self, targets: Tensor) -> list[Tensor]:
        """Return the one best constant, the direction of least mean angle.

        Searched on about 200,000 pixels at most. The mean angle has several local minima (floor,
        walls): the search starts from the best of 27 directions and follows the fixed point
        p = normalize(sum g / sin(angle)), the spherical form of Weiszfeld's iteration for the
        geometric median.
        """
        vectors = F.normalize(some(self, pick(targets, self.valid(targets))), dim=0)
        sample = vectors[:, :: max(1, vectors.shape[1] // 200_000)]
        mean = F.normalize(vectors.sum(dim=1), dim=0)
        lattice = [c for c in product((-1.0, 0.0, 1.0), repeat=3) if any(c)]
        starts = F.normalize(torch.cat([mean.unsqueeze(0), mean.new_tensor(lattice)]), dim=1)
        best = min(starts, key=lambda start: _mean_angle(start, sample))
        point, lowest = best, _mean_angle(best, sample)
        for _ in range(30):
            cosine = (point @ sample).clamp(-1, 1)
            weight = (1 - cosine.square()).sqrt().clamp(min=1e-6).reciprocal()
            point = F.normalize(sample @ weight, dim=0)
            angle = _mean_angle(point, sample)
            if angle < lowest:
                best, lowest = point, angle
        return [best.float()]

    def picture(self, target: Tensor) -> colours.Picture:
        """Draw (n + 1) / 2 as RGB."""
        valid = self.valid(target.unsqueeze(0))[0].cpu().numpy()
        unit = F.normalize(target.float().nan_to_num(), dim=0).movedim(0, -1).cpu().numpy()
        drawn: colours.Picture = ((unit + 1) * 127.5).round().astype(np.uint8)
        drawn[~valid] = colours.INVALID
        return drawn


def _mean_angle(direction: Tensor, vectors: Tensor) -> float:
    """Return the mean angle in radians between a direction (3,) and unit vectors (3, P)."""
    return float((direction @ vectors).clamp(-1, 1).acos().mean())


class NormalsMetric(TaskMetric):
    """Angles between predicted and true normals over all valid pixels, in degrees.

    ``median_angle`` is the lower median, read from a histogram, so it is exact to half of
    ``BIN_DEG``; "within t" is the share of angles strictly below t.
    """

    angle_sum: Tensor
    cosine_sum: Tensor
    histogram: Tensor
    within: Tensor
    task: Normals

    _limits = (11.25, 22.5, 30.0)

    def __init__(self, task: Normals) -> None:
        super().__init__(task)
        self.add_sum("angle_sum")
        self.add_sum("cosine_sum")
        self.add_count("histogram", _NUM_BINS)
        self.add_count("within", len(self._limits))

    def count(self, raw: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add the angles of a batch."""
        truth = F.normalize(pick(target, valid), dim=0)
        guess = F.normalize(pick(raw, valid), dim=0, eps=1e-12)
        cosine = (guess * truth).sum(dim=0).clamp(-1, 1)
        angle = torch.rad2deg(cosine.acos())
        self.angle_sum += angle.sum()
        self.cosine_sum += cosine.sum()
        bins = (angle / BIN_DEG).long().clamp(max=_NUM_BINS - 1)
        self.histogram += bins.bincount(minlength=_NUM_BINS)
        self.within += torch.stack([(angle < limit).sum() for limit in self._limits])

    def result(self) -> dict[str, Tensor]:
        """Return mean and median in degrees and the three shares, 0 to 1."""
        half = (self.num_pixels + 1) // 2
        median_bin = torch.searchsorted(self.histogram.cumsum(0), half)
        shares = self.within.double() / self.num_pixels
        found = {
            "mean_angle": self.angle_sum / self.num_pixels,
            "median_angle": (median_bin.double() + 0.5) * BIN_DEG,
            "within_11_25": shares[0],
            "within_22_5": shares[1],
            "within_30": shares[2],
        }
        if self.task.cosine:
            found["cosine"] = self.cosine_sum / self.num_pixels
        return found
