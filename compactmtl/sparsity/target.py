"""Reach a wanted share of zero groups, whatever the unit of the gradients."""

import math
from typing import Any

from compactmtl.errors import UsageError
from compactmtl.sparsity.schedule import Schedule


class Target(Schedule):
    """Ramp lam geometrically until the wanted share of groups is zero, then stop.

    lam has the unit of a gradient's rms, so nobody knows it beforehand. The controller lets the
    share of zero groups follow a straight line from its value at start to the target at 70 % of the
    window, and turns lam, in log scale, in proportion to the distance from that line. Groups
    die with a delay, so the distance is that of the share a little later, at its recent speed.
    ``lam_at`` may be called at every step or once an epoch; twenty times in the window is plenty.
    Give ``max_zero_groups`` to the optimiser after each call: then the target is never overshot,
    and no layer loses its last group.

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
        self.target: float = target
        self.reached = False
        self.current = lam
        self.speed = 0.0
        self.wanted = 0.0
        self.first: float | None = None
        self.last: tuple[float, float] | None = None

    def lam_at(self, progress: float, group_sparsity: float) -> float:
        """Return the strength for the next step: 0 once the target is reached."""
        if progress >= self.start and not self.stopped and group_sparsity >= self.target:
            self.stopped = self.reached = True
        return super().lam_at(progress, group_sparsity)

    def strength(self, progress: float, group_sparsity: float) -> float:
        """Return lam after one tick of the controller."""
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

        So a lam that is far too large at first costs no groups before it has come down. Before the
        first ``lam_at`` it is what the target needs.
        """
        share = self.target
        if self.first is not None:
            share = min(share, self.wanted + self.BAND * self.target)
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
