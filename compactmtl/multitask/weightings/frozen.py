"""Uncertainty weighting as the published code of paper B runs it: with what it never learns.

Source: the code that belongs to Upadhyay et al., arXiv 2308.12114, in which no optimiser holds the
logarithms of the variances.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from compactmtl.multitask.weightings.base import Weighting


class FrozenUncertainty(Weighting):
    """``sum_t exp(-s) L_t``: each task weighs the same for ever, 0.37 with s = 1.

    To repeat what was published; ``uncertainty`` is what the paper describes.

    Args:
        factors: As for ``Weighting``.
        s: The logarithm of every variance; 1 in the published code.
    """

    name: ClassVar[str] = "uw_frozen"
    slopes_are_given: ClassVar[bool] = True

    def __init__(self, factors: Mapping[str, float], s: float = 1.0) -> None:
        super().__init__(factors)
        self.weight = math.exp(-s)

    def combine(self, losses: Tensor) -> Tensor:
        """Return the sum."""
        return self.weight * losses.sum()

    def present(self) -> Tensor:
        """Return the one weight, for each task."""
        return torch.full_like(self.get_buffer("factors"), self.weight)
