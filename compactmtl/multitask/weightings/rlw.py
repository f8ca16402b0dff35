"""Random weights, drawn anew for every step.

Source: Lin et al. (2022), Reasonable Effectiveness of Random Weighting.
"""

from typing import ClassVar

import torch
from torch import Tensor

from compactmtl.multitask.weightings.base import Weighting


class RandomWeights(Weighting):
    """``sum_t w_t L_t`` with w = T softmax(z), z standard normal from torch's generator."""

    name: ClassVar[str] = "rlw"
    slopes_are_given: ClassVar[bool] = True

    def combine(self, losses: Tensor) -> Tensor:
        """Return the sum with new weights."""
        drawn = torch.softmax(torch.randn(len(losses)), dim=0)
        return len(losses) * (drawn.to(losses) * losses).sum()

    def present(self) -> Tensor:
        """Return their mean: which ones come next is not known."""
        return torch.ones_like(self.get_buffer("factors"))
