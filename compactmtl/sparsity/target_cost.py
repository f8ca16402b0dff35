"""Reach a wanted cost of the compiled network: multiplications left, or predicted milliseconds."""

from collections.abc import Callable
from typing import Any

from compactmtl.errors import UsageError
from compactmtl.sparsity.target import Target


class TargetCost(Target):
    """Ramp lam until the network that the compiler would make costs as little as wanted, then stop.

    What is followed is the share of the cost that is saved, as ``Target`` follows the share of zero
    groups. What a group saves depends on its layer and on who else reads the channel, so the number
    of groups that may die until the next call follows from what the last ones saved: enough for
    what is missing, and for a third of it near the end.

    Args:
        wanted: Cost to be reached, in the unit of ``measure``; greater than 0.
        lam: Strength to begin with.
        start: Progress at which the penalty begins.
        stop: Progress at which it ends at the latest; ``reached`` is then False.
        measure: Returns the network's present cost.
    """

    TOLERANCE = 0.01
    """What is missing at most, as a share of the dense network's cost."""
    STEEPEST = 1.0
    """Share of the cost that a share of zero groups saves at least, as far as the limit goes."""
    RECENT = 0.005
    """Share of the groups that must have died for the rate to be measured anew."""
    LATE = 1.5
    """Factor by which lam grows from call to call behind the deadline."""
    NEAR = 0.1
    """What is missing, as a share of the dense network's cost, where the end is near."""

    def __init__(
        self, wanted: float, lam: float, start: float, stop: float, measure: Callable[[], float]
    ) -> None:
        if not 0.0 < wanted < float("inf"):
            raise UsageError(f"the cost to be reached (={wanted}) must be greater than 0")
        super().__init__(0.5, lam, start, stop)  # the share is known with the dense cost alone
        self.wanted_cost, self.measure = wanted, measure
        self.reference: float | None = None
        """Cost at the first call."""
        self.cost: float | None = None
        self.rate = self.STEEPEST
        self.zeros, self.saved = 0.0, 0.0
        self._mark = (0.0, 0.0)
        self._limit = 1.0

    def lam_at(self, progress: float, group_sparsity: float) -> float:
        """Return the strength for the next step; measures the cost between start and stop."""
        if self.stopped or not self.start <= progress < self.stop:
            return super().lam_at(progress, 0.0)
        self.cost = self.measure()
        if self.reference is None:
            self.reference = self.cost
            self.target = max(0.0, 1.0 - self.wanted_cost / self.cost - self.TOLERANCE)
            self._mark = (group_sparsity, 0.0)
        self.zeros, self.saved = group_sparsity, 1.0 - self.cost / self.reference
        died = self.zeros - self._mark[0]
        if died >= self.RECENT:
            measured = max(self.STEEPEST, (self.saved - self._mark[1]) / died)
            self.rate = max(measured, (self.rate + measured) / 2)  # at once up, slowly down
            self._mark = (self.zeros, self.saved)
        before = self.current
        lam = super().lam_at(progress, self.saved)
        if lam > before and self.zeros >= self._limit:  # more is not allowed: lam need not rise
            lam = self.current = before
        elif lam > 0.0 and self.wanted >= self.target - 1e-9:  # late, and the limit guards
            lam = self.current = max(lam, self.LATE * before)
        return lam

    def max_zero_groups(self, num_groups: int) -> int:
        """Return how many groups may be zero at the next call."""
        if self.reference is None:
            return 0
        wanted = min(self.target + self.TOLERANCE, self.wanted + self.BAND * self.target)
        missing = max(0.0, wanted - self.saved)
        present = round(self.zeros * num_groups)
        more = missing / self.rate * (0.35 if self.target - self.saved < self.NEAR else 1.0)
        limit = present + (max(1, int(more * num_groups)) if missing else 0)
        self._limit = limit / num_groups
        return limit

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {
            **super().state_dict(),
            "target": self.target,
            "reference": self.reference,
            "cost": self.cost,
            "rate": self.rate,
            "zeros": self.zeros,
            "saved": self.saved,
            "mark": list(self._mark),
            "limit": self._limit,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from ``state_dict``."""
        super().load_state_dict(state)
        self.target, self.reference, self.cost = state["target"], state["reference"], state["cost"]
        self.rate, self.zeros, self.saved = state["rate"], state["zeros"], state["saved"]
        self._mark, self._limit = (state["mark"][0], state["mark"][1]), state["limit"]
