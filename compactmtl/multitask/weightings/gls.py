"""The geometric mean of the losses.

Source: Chennupati et al. (2019), MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss
Strategy.
"""

from typing import ClassVar

import torch
from torch import Tensor

from compactmtl.multitask.weightings.base import Weighting

SMALLEST = 1e-8
"""Losses below count as this much: one that is 0 would end the training of all."""


class GeometricMean(Weighting):
    """``(prod_t L_t)^(1 / T)``, over the tasks that have a loss in the batch.

    A recipe's factor multiplies a loss, and so only the total; one of 0 leaves the task out.
    """

    name: ClassVar[str] = "gls"

    def combine(self, losses: Tensor) -> Tensor:
        """Return the geometric mean of the positive losses; where there is none, 0 with a graph."""
        positive = losses[losses > 0]
        if not len(positive):
            return losses.sum()
        return positive.clamp(min=SMALLEST).log().mean().exp()

    def present(self) -> Tensor:
        """Return ones: a task's share in the gradient depends on the batch."""
        return torch.ones_like(self.get_buffer("factors"))
