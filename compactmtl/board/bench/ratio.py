"""How much longer one call takes than another, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from compactmtl.board.bench.timing import Times
from compactmtl.board.errors import RunError

CONFIDENCE = 0.95
PARTS = 10
"""Parts that a measurement without reloads is cut into."""
MIN_ORDERED = 4
"""Least number of loads from which the effect of their order can be told from noise."""
GRID = 20_001


@dataclass(frozen=True)
class Ratio:
    """A ratio of times with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Width of the interval, relative to the value."""
        return (self.high - self.low) / self.value

    @property
    def is_inconclusive(self) -> bool:
        """Whether the interval holds 1: no difference was shown."""
        return self.low <= 1 <= self.high


def paired_ratio(
    numerator: Times,
    denominator: Times,
    *,
    load_rounds: Sequence[int] = (),
    loaded_first: Sequence[bool] = (),
) -> Ratio:
    """Return how much longer one call takes than another of the same rounds, with its interval.

    Of each load the median of the rounds' log-ratios counts, so what hits a whole round cancels
    and single disturbed calls do not matter. The loads are the independent observations, and their
    spread makes the interval: rounds are not independent, and two loads of one file differ by
    about a percent for as long as they live, which no number of rounds would show. Which of the
    two was loaded first has an effect of its own; it is estimated with the mean and taken out.

    Args:
        numerator: (n,) times, one per round.
        denominator: (n,) times, of the same rounds.
        load_rounds: Rounds of each load, adding up to n. One load is cut into ten parts, whose
            interval holds the noise of the machine, but not that of loading.
        loaded_first: For each load, whether the numerator's artefact was loaded first.

    Raises:
        RunError: The two differ in length, there are fewer than two rounds, or the clock is too
            coarse for them.

    Source: Kalibera and Jones (2013), Rigorous benchmarking in reasonable time, for loads as the
    unit of repetition; within one load, non-overlapping batch means. Student's t interval.
    """
    n = len(numerator)
    if n != len(denominator) or n < 2:
        raise RunError(f"a ratio needs at least 2 rounds in pairs, got {n} and {len(denominator)}")
    if min(np.min(numerator), np.min(denominator)) <= 0:
        raise RunError("the clock is too coarse: a call took no measurable time")
    logs = np.log(numerator / denominator)
    if len(load_rounds) > 1:
        edges = np.cumsum([0, *load_rounds])
    else:
        edges = np.linspace(0, n, min(PARTS, n) + 1).astype(int)
    medians = np.array([np.median(logs[begin:end]) for begin, end in pairwise(edges)])
    center, half = _interval(medians, np.array(loaded_first, dtype=bool))
    return Ratio(math.exp(center), math.exp(center - half), math.exp(center + half))


def _interval(values: Times, first: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the mean of both orders of loading, and half the width of its interval."""
    columns = [np.ones(len(values))]
    if len(values) >= MIN_ORDERED and first.any() and not first.all():
        columns.append(np.where(first, 1.0, -1.0))
    design = np.stack(columns, axis=1)
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ values
    freedom = len(values) - len(columns)
    variance = float(((values - design @ found) ** 2).sum()) / freedom
    return float(found[0]), student_t(freedom) * math.sqrt(variance * float(inverse[0, 0]))


def student_t(freedom: int) -> float:
    """Return the t that holds 95 % of Student's distribution between -t and t.

    With t = sqrt(freedom) tan(angle) its density is cos(angle)^(freedom - 1), which is summed.
    """
    angles = np.linspace(0, math.pi / 2, GRID)
    density = np.cos(angles) ** (freedom - 1)
    held = np.concatenate(([0.0], np.cumsum(density[1:] + density[:-1])))
    return math.sqrt(freedom) * math.tan(float(np.interp(CONFIDENCE * held[-1], held, angles)))
