"""How sparse a network must be to meet a latency, read off measured points."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from compactmtl.study.whatif import Point


@dataclass(frozen=True)
class Need:
    """The sparsity that a budget needs in one scenario.

    Attributes:
        scenario: The scenario.
        sparsity: Interpolated between the two measured points around it; None where even the
            sparsest point is too slow.
        interval: The same at both ends of the measured intervals; the share at an end that no
            point reaches is 1.
        said: The answer in words.
    """

    scenario: str
    sparsity: float | None
    interval: tuple[float, float]
    said: str


def needs(points: Sequence[Point], budget_ms: float) -> list[Need]:
    """Return, per scenario, the sparsity at which the latency falls to a budget.

    Args:
        points: As ``whatif`` returns them.
        budget_ms: In ms, by the same clock.
    """
    dense, *others = points
    found = []
    for scenario in dict.fromkeys(point.scenario for point in others):
        line = [dense, *(point for point in others if point.scenario == scenario)]
        middle = _crossing([(p.sparsity, p.latency_ms) for p in line], budget_ms)
        low, high = (
            _crossing([(p.sparsity, dense.latency_ms / (p.interval[end])) for p in line], budget_ms)
            for end in (1, 0)
        )
        interval = (1.0 if low is None else low, 1.0 if high is None else high)
        found.append(Need(scenario, middle, interval, _say(line, middle, interval, budget_ms)))
    return found


def _crossing(line: Sequence[tuple[float, float]], budget: float) -> float | None:
    """Return where a line through points first falls to a budget; None where it never does."""
    if line[0][1] <= budget:
        return 0.0
    for (left, before), (right, after) in pairwise(line):
        if after <= budget < before:
            return left + (right - left) * (before - budget) / (before - after)
    return None


def _say(
    line: Sequence[Point], sparsity: float | None, interval: tuple[float, float], budget: float
) -> str:
    name, last = line[-1].scenario, line[-1]
    if sparsity is None:
        return (
            f"{name}: {budget:g} ms is not reached; at {last.sparsity:.0%} zero groups it takes "
            f"{last.latency_ms:.3g} ms"
        )
    if sparsity == 0:
        return f"{name}: the dense network meets {budget:g} ms, with {line[0].latency_ms:.3g} ms"
    left = max(p.sparsity for p in line if p.sparsity < sparsity)
    right = min(p.sparsity for p in line if p.sparsity >= sparsity)
    return (
        f"{name}: {budget:g} ms needs about {sparsity:.0%} zero groups ({interval[0]:.0%} to "
        f"{interval[1]:.0%} by the noise of the measurement; interpolated between {left:.0%} and "
        f"{right:.0%}; a trained network spreads its zeros otherwise)"
    )
