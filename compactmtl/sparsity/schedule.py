"""How strong the penalty is while training goes on, and when it stops.

Progress is the share of all epochs that is done, 0 to 1. Before ``start`` every schedule is 0. From
``stop`` on it is 0 too, and ``stopped``: the trainer then freezes the zeros and trains on without
the penalty (debias), which is what keeps the accuracy.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

from compactmtl.errors import UsageError


class Schedule(ABC):
    """The penalty's strength between ``start`` and ``stop``.

    Args:
        lam: Strength, at least 0.
        start: Progress at which the penalty begins.
        stop: Progress at which it ends.
    """

    def __init__(self, lam: float, start: float, stop: float) -> None:
        if not 0.0 <= start < stop <= 1.0:
            raise UsageError(f"start (={start}) and stop (={stop}) must be 0 <= start < stop <= 1")
        if not 0.0 <= lam < math.inf:
            raise UsageError(f"lam (={lam}) must be finite and at least 0")
        self.lam, self.start, self.stop = lam, start, stop
        self.stopped = False

    def lam_at(self, progress: float, group_sparsity: float) -> float:
        """Return the strength for the next step.

        Args:
            progress: Share of all epochs done; must not decrease from call to call.
            group_sparsity: Share of zero groups now.
        """
        self.stopped = self.stopped or progress >= self.stop
        if self.stopped or progress < self.start:
            return 0.0
        return self.strength(progress, group_sparsity)

    @abstractmethod
    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return the strength between start and stop."""

    def max_zero_groups(self, num_groups: int) -> int | None:
        """Return the limit for ``ProximalAdamW.max_zero_groups`` until the next ``lam_at``."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {"stopped": self.stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from ``state_dict``."""
        self.stopped = state["stopped"]
