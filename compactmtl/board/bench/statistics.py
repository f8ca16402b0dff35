"""What timings say, and whether they say anything."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from compactmtl.board.bench.timing import Times, Timings
from compactmtl.board.errors import RunError

CONFIDENCE = 0.95
RESAMPLES = 2000
EXPONENT = 1 / 3
"""Rounds are drawn in blocks of n to this power."""
MAX_DRAWN = 2**21
"""Times drawn at once, which bounds the memory of a long measurement."""

MAX_WAITING = 1.2
"""Largest wall p50 over CPU p50 of a single-threaded call: beyond it, the call waited for the
machine more than a sixth of the time. On a shared machine, CPU time was steady to 3 % where wall
time varied threefold."""
MAX_WIDTH = 0.10
"""Largest width of a ratio's confidence interval, relative to the ratio."""
MIN_ROUNDS = 20
"""Fewer rounds than this say nothing about a p90, and little about an interval."""


@dataclass(frozen=True)
class Summary:
    """Percentiles and moments of timings, in their unit. ``std`` is that of the sample (n - 1)."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    min: float
    std: float
    n: int


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % confidence interval."""

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


def summarise(times: Times) -> Summary:
    """Summarise timings; percentiles interpolate linearly.

    Raises:
        RunError: There are none.
    """
    if not len(times):
        raise RunError("no timings to summarise")
    p50, p90, p95, p99 = np.percentile(times, [50, 90, 95, 99])
    return Summary(
        p50=float(p50),
        p90=float(p90),
        p95=float(p95),
        p99=float(p99),
        mean=float(times.mean()),
        min=float(times.min()),
        std=float(times.std(ddof=1)) if len(times) > 1 else 0.0,
        n=len(times),
    )


def ratio_of_medians(numerator: Times, denominator: Times, *, seed: int = 0) -> Ratio:
    """Return median(numerator) / median(denominator) with a bootstrap confidence interval.

    Both hold one entry per round. Rounds are drawn together, so what hit a whole round cancels;
    and in blocks of about n^(1/3) successive ones, because the machine's noise lasts longer than a
    round and single draws would make the interval too narrow.

    Args:
        numerator: (n,) times.
        denominator: (n,) times, of the same rounds.
        seed: For the draws.

    Raises:
        RunError: The two differ in length, are empty, or the clock is too coarse for them.

    Source: Kuensch (1989), the moving-block bootstrap; Politis and Romano (1992), its circular
    form; percentile interval.
    """
    n = len(numerator)
    if n != len(denominator) or n == 0:
        raise RunError(f"a ratio needs rounds in pairs, got {n} and {len(denominator)}")
    if min(np.min(numerator), np.min(denominator)) <= 0:
        raise RunError("the clock is too coarse: a call took no measurable time")
    length = round(n**EXPONENT)
    generator = np.random.default_rng(seed)
    ratios = np.empty(RESAMPLES)
    step = max(1, MAX_DRAWN // n)
    for first in range(0, RESAMPLES, step):
        num = min(step, RESAMPLES - first)
        starts = generator.integers(0, n, size=(num, -(-n // length), 1))
        drawn = ((starts + np.arange(length)) % n).reshape(num, -1)[:, :n]
        medians = (np.median(times[drawn], axis=1) for times in (numerator, denominator))
        ratios[first : first + num] = np.divide(*medians)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(ratios, [tail, 100 - tail])
    return Ratio(
        value=float(np.median(numerator) / np.median(denominator)),
        low=float(low),
        high=float(high),
    )


def why_noisy(
    timings: Mapping[str, Timings], ratios: Mapping[str, Ratio], *, computing: Collection[str]
) -> list[str]:
    """Return the reasons why a measurement is not to be trusted; none where it is.

    Args:
        timings: Per candidate.
        ratios: What is claimed, by a name for the reader.
        computing: The candidates whose calls compute on the calling thread alone. Of the others,
            with several threads or on an accelerator, wall and CPU time differ by design, and only
            the intervals judge.
    """
    why = []
    for name, timing in timings.items():
        if len(timing.wall_ms) < MIN_ROUNDS:
            why.append(f"{name}: {len(timing.wall_ms)} rounds, at least {MIN_ROUNDS} needed")
        wall, cpu = float(np.median(timing.wall_ms)), float(np.median(timing.cpu_ms))
        if name in computing and wall > MAX_WAITING * cpu:
            why.append(
                f"{name}: wall p50 {wall:.3g} ms, CPU p50 {cpu:.3g} ms: it waited for the machine "
                f"(at most {MAX_WAITING} times expected)"
            )
    for name, ratio in ratios.items():
        if ratio.width > MAX_WIDTH:
            why.append(
                f"{name}: ratio {ratio.value:.3g} has the interval {ratio.low:.3g} to "
                f"{ratio.high:.3g}, {ratio.width:.0%} wide (at most {MAX_WIDTH:.0%})"
            )
    return why
