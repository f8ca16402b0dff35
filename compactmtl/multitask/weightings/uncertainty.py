"""Weights learned with the network, as the noise of each task.

Source: Kendall et al. (2018), Multi-Task Learning Using Uncertainty to Weigh Losses.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from compactmtl.multitask.weightings.base import Weighting


class Uncertainty(Weighting):
    """``sum_t L_t / (2 exp(s_t)) + s_t / 2``, s_t trained with everything else, without decay.

    Args:
        factors: As for ``Weighting``.
        start: First value of every s; -0.5 in the published code of MTAN.
    """

    name: ClassVar[str] = "uncertainty"
    slopes_are_given: ClassVar[bool] = True

    def __init__(self, factors: Mapping[str, float], start: float = -0.5) -> None:
        super().__init__(factors)
        self.log_variance = nn.Parameter(torch.full((len(factors),), float(start)))

    def combine(self, losses: Tensor) -> Tensor:
        """Return the sum."""
        s = self.log_variance
        return (losses * (-s).exp() / 2 + s / 2).sum()

    def present(self) -> Tensor:
        """Return 1 / (2 exp(s))."""
        return (-self.log_variance).exp() / 2
