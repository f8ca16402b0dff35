"""What paired runs say about a difference, and whether they say anything."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom."""

Verdict = Literal["better", "worse", "no difference shown", "differs"]


@dataclass(frozen=True)
class Cell:
    """One metric of one subject over its seeds; ``std`` is that of the sample, None for one."""

    values: tuple[float, ...]
    mean: float
    std: float | None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)


@dataclass(frozen=True)
class Difference:
    """Subject minus baseline over the seeds that both have.

    Attributes:
        mean: Mean of the paired differences.
        se: Its standard error; None for a single pair.
        n: Number of pairs.
        verdict: By the 95 % interval of Student's t: "better" and "worse" only where it leaves 0
            out ("differs" where the metric's direction is not known). One pair shows nothing.
    """

    mean: float
    se: float | None
    n: int
    verdict: Verdict


def cell(values: Sequence[float]) -> Cell:
    """Return mean and standard deviation of at least one value."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Cell(tuple(values), statistics.fmean(values), std)


def difference(
    subject: dict[int, float], baseline: dict[int, float], *, higher_is_better: bool | None
) -> Difference | None:
    """Compare two subjects by seed; None where they share no seed."""
    pairs = [subject[seed] - baseline[seed] for seed in sorted(subject.keys() & baseline.keys())]
    if not pairs:
        return None
    mean, n = statistics.fmean(pairs), len(pairs)
    if n == 1:
        return Difference(mean, None, 1, "no difference shown")
    se = statistics.stdev(pairs) / math.sqrt(n)
    quantile = T_975[n - 2] if n - 2 < len(T_975) else 1.960
    verdict: Verdict = "no difference shown"
    if abs(mean) > quantile * se and higher_is_better is None:
        verdict = "differs"
    elif abs(mean) > quantile * se:
        verdict = "better" if (mean > 0) == higher_is_better else "worse"
    return Difference(mean, se, n, verdict)
