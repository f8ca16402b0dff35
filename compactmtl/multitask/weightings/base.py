"""What every weighting of losses offers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn


class Weighting(nn.Module, ABC):
    """Makes one loss of those of several tasks.

    A subclass is one method and sets ``name``. What it learns are its parameters, what else it
    remembers are its buffers: both go into checkpoints.

    Args:
        factors: The recipe's factor of each task, which every method keeps: 1 unless set.
    """

    name: ClassVar[str]
    """The word a recipe uses."""
    logged: ClassVar[bool] = True
    """Whether its weights are worth a line in the log."""
    slopes_are_given: ClassVar[bool] = False
    """Whether d total / d loss does not depend on the losses: then a batch can be gone through in
    micro-batches, none of which knows the others' losses."""

    def __init__(self, factors: Mapping[str, float]) -> None:
        super().__init__()
        self.tasks: Sequence[str] = tuple(factors)
        self.register_buffer("factors", torch.tensor([float(f) for f in factors.values()]))

    @abstractmethod
    def combine(self, losses: Tensor) -> Tensor:
        """Return the total of losses (T,), which carry the recipe's factors already."""

    @abstractmethod
    def present(self) -> Tensor:
        """Return the weights (T,) that the next step uses, as far as they are known before it."""

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss, a scalar."""
        stacked = torch.stack([losses[task] for task in self.tasks])
        return self.combine(stacked * self.get_buffer("factors").to(stacked))

    def epoch_finished(self, means: Mapping[str, float]) -> None:
        """Take in each task's mean loss over an epoch, unweighted."""

    def weights(self) -> dict[str, float]:
        """Return the present weight of each task, the recipe's factor included."""
        values = (self.present().detach() * self.get_buffer("factors")).tolist()
        return dict(zip(self.tasks, values, strict=True))
