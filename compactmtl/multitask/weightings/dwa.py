"""Dynamic weight average: tasks whose loss falls slowly weigh more.

Source: Liu et al. (2019), End-to-End Multi-Task Learning with Attention, equation (7).
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from compactmtl.errors import RecipeError
from compactmtl.multitask.weightings.base import Weighting


class DynamicWeightAverage(Weighting):
    """``sum_t w_t L_t`` with w = T softmax(r / temperature), r_t the ratio of the last two epochs.

    In the first two epochs all weigh 1. A task that had no loss in an epoch keeps the ratio 1.

    Args:
        factors: As for ``Weighting``.
        temperature: The larger, the more alike the weights; 2 in the paper.

    Raises:
        RecipeError: A temperature that is not positive.
    """

    name: ClassVar[str] = "dwa"
    slopes_are_given: ClassVar[bool] = True
    last: Tensor
    before: Tensor

    def __init__(self, factors: Mapping[str, float], temperature: float = 2.0) -> None:
        super().__init__(factors)
        if not temperature > 0:
            raise RecipeError(f"weighting `dwa`: temperature (={temperature}) must be positive")
        self.temperature = temperature
        for name in ("last", "before"):
            self.register_buffer(name, torch.full((len(factors),), torch.nan))

    def combine(self, losses: Tensor) -> Tensor:
        """Return the sum."""
        return (self.present().to(losses) * losses).sum()

    def epoch_finished(self, means: Mapping[str, float]) -> None:
        """Remember the mean losses of the last two epochs."""
        self.before.copy_(self.last)
        self.last.copy_(torch.tensor([means[task] for task in self.tasks]))

    def present(self) -> Tensor:
        """Return the weights of this epoch."""
        ratio = self.last / self.before
        ratio = torch.where(ratio.isfinite(), ratio, torch.ones_like(ratio))
        return len(ratio) * torch.softmax(ratio / self.temperature, dim=0)
