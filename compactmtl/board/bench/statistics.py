"""What timings say, and whether they say anything."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from compactmtl.board.bench.ratio import Ratio
from compactmtl.board.bench.timing import Times, Timings
from compactmtl.board.errors import RunError

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
