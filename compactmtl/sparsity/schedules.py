"""How strong the penalty is while training goes on, and when it stops.

Progress is the share of all epochs that is done, 0 to 1. Before ``start`` every schedule is 0. From
``stop`` on it is 0 too, and ``stopped``: the trainer then freezes the zeros and trains on without
the penalty (debias), which is what keeps the accuracy.
"""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from compactmtl.errors import UsageError

if TYPE_CHECKING:  # the recipe needs pydantic, this package only torch
    from compactmtl.recipe import SparsitySection


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


class Constant(Schedule):
    """lam from start to stop."""

    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return lam."""
        return self.lam


class Ramp(Schedule):
    """From 0 at start linearly to lam at stop."""

    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return the ramp's value."""
        return self.lam * (progress - self.start) / (self.stop - self.start)


class Target(Schedule):
    """Ramp lam geometrically until the wanted share of groups is zero, then stop.

    lam has the unit of a gradient's rms, so nobody knows it beforehand. The controller lets the
    share of zero groups follow a straight line from its value at start to the target at 70 % of the
    window, and turns lam, in log scale, in proportion to the distance from that line. Groups
    die with a delay, so the distance is that of the share a little later, at its recent speed.
    ``lam_at`` may be called at every step or once an epoch; often is better.

    Args:
        target: Wanted share of zero groups, between 0 and 1.
        lam: Strength to begin with.
        start: Progress at which the penalty begins.
        stop: Progress at which it ends at the latest; ``reached`` is then False.
    """

    DEADLINE = 0.7
    """Part of the window after which the target should be reached."""
    LOOKAHEAD = 0.04
    """Part of the window by which zeros follow lam."""
    BAND = 0.1
    """Distance from the line at which lam moves at full speed, as a part of the target."""
    DECADE = 0.06
    """Part of the window in which lam changes tenfold at full speed."""
    LARGEST_MOVE = 3.0
    """Largest factor between two calls."""

    def __init__(self, target: float, lam: float, start: float, stop: float) -> None:
        super().__init__(lam, start, stop)
        if not 0.0 < target < 1.0:
            raise UsageError(f"target (={target}) must be between 0 and 1")
        if lam == 0.0:
            raise UsageError("lam (=0.0) must be greater than 0: the controller multiplies it")
        self.target = target
        self.reached = False
        self.current = lam
        self.speed = 0.0
        self.wanted = 0.0
        self.first: float | None = None
        self.last: tuple[float, float] | None = None

    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return lam after one tick of the controller; 0 once the target is reached."""
        if group_sparsity >= self.target:
            self.stopped = self.reached = True
            return 0.0
        window = self.stop - self.start
        if self.first is None or self.last is None:
            self.first = self.wanted = group_sparsity
        elif progress > self.last[0]:
            passed = (progress - self.last[0]) / window
            self._measure_speed(passed, group_sparsity - self.last[1])
            way = min(1.0, (progress - self.start) / (self.DEADLINE * window) + self.LOOKAHEAD)
            self.wanted = self.first + (self.target - self.first) * way
            late = way == 1.0  # then lam only rises: max_zero_groups guards against too much
            expected = group_sparsity + (0.0 if late else self.speed * self.LOOKAHEAD)
            distance = (self.wanted - expected) / (self.BAND * self.target)
            move = max(-1.0, min(1.0, distance)) * passed / self.DECADE * math.log(10.0)
            limit = math.log(self.LARGEST_MOVE)
            self.current *= math.exp(max(-limit, min(limit, move)))
        if self.last is None or progress > self.last[0]:
            self.last = (progress, group_sparsity)
        return self.current

    def _measure_speed(self, passed: float, gained: float) -> None:
        """Average the share's speed, per window, over about one lookahead."""
        weight = 1.0 - math.exp(-passed / self.LOOKAHEAD)
        self.speed += weight * (gained / passed - self.speed)

    def max_zero_groups(self, num_groups: int) -> int:
        """Return how many groups may be zero now: a band above the line, at most the target.

        So a lam that is far too large at first costs no groups before it has come down.
        """
        share = min(self.target, self.wanted + self.BAND * self.target)
        return math.ceil(share * num_groups - 1e-9)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {
            **super().state_dict(),
            "reached": self.reached,
            "current": self.current,
            "speed": self.speed,
            "wanted": self.wanted,
            "first": self.first,
            "last": None if self.last is None else list(self.last),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from ``state_dict``."""
        super().load_state_dict(state)
        self.reached, self.current, self.speed = state["reached"], state["current"], state["speed"]
        self.wanted, self.first = state["wanted"], state["first"]
        self.last = None if state["last"] is None else (state["last"][0], state["last"][1])


def make_schedule(section: "SparsitySection") -> Schedule:
    """Build the schedule a recipe describes."""
    if section.schedule == "constant":
        return Constant(section.lam, section.start, section.stop)
    if section.schedule == "ramp":
        return Ramp(section.lam, section.start, section.stop)
    assert section.target is not None, "the recipe checks that a target schedule has a target"
    return Target(section.target, section.lam, section.start, section.stop)
