"""Compare a record with an earlier one of the same machine: has anything become slower?

The two runs lie hours or weeks apart, so nothing cancels as it does within one run. CPU time is
compared where a call computes on one thread of a CPU, wall time elsewhere. The interval holds the
noise within each run. It does not hold what changes between two runs of one file: loading it anew
moves its weights, which was worth about a percent.
"""

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np

from compactmtl.bench.record import BenchRecord, Candidate, Comparison, read_record
from compactmtl.errors import RegressionError, UsageError

PARTS = 10
"""Parts of a run whose medians spread as its noise does, however long that lasts."""
T_VALUE = 2.262
"""Student's t for 95 % and 9 degrees of freedom, the fewest that two times ten parts can have."""
MIN_ROUNDS = 2 * PARTS
SAME = ("device", "threads", "batch")
"""Settings that must be equal."""


def read_baseline(path: Path, *, device: str, threads: int, batch: int, cpu: str) -> BenchRecord:
    """Read an earlier record and check that a run of today can be compared with it.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is no record, or one of another format version.
        UsageError: It was measured in another way, or on another machine.
    """
    baseline = read_record(path)
    now = {"device": device, "threads": threads, "batch": batch}
    for name in SAME:
        before = getattr(baseline.settings, name)
        if before != now[name]:
            raise UsageError(
                f"`{path}` was measured with {name} {before}, this run with {now[name]}",
                hint="measure both in the same way",
            )
    before = baseline.environment.get("cpu")
    if before != cpu:
        raise UsageError(
            f"`{path}` was measured on another machine: {before}, this is {cpu}",
            hint="make a baseline on this machine",
        )
    return baseline


def compare(
    record: BenchRecord, baseline: BenchRecord, *, max_regression: float
) -> dict[str, Comparison]:
    """Compare the candidates that have the same name in both.

    A file that changed is the usual case, and noted. A regression is one whose whole interval lies
    beyond the limit; where only a part of it does, the comparison is inconclusive.

    Args:
        record: Of today.
        baseline: The earlier one.
        max_regression: Largest growth of the time that is accepted; 0.05 is 5 %.

    Raises:
        UsageError: The two have no candidate in common, or one that ran in another runtime, on
            other inputs, or too few rounds.
    """
    names = [name for name in record.candidates if name in baseline.candidates]
    if not names:
        raise UsageError(
            f"the baseline has none of the candidates {', '.join(record.candidates)}; it has "
            f"{', '.join(baseline.candidates)}"
        )
    found = {}
    for name in names:
        now, before = record.candidates[name], baseline.candidates[name]
        _check_alike(name, now, before)
        clock: Literal["cpu", "wall"] = (
            "cpu" if now.device == "cpu" and record.settings.threads == 1 else "wall"
        )
        value, low, high = _growth(now.times_ms[clock], before.times_ms[clock])
        limit = 1 + max_regression
        found[name] = Comparison(
            clock=clock,
            ratio=value,
            interval=(low, high),
            is_other_file=now.sha256 != before.sha256,
            verdict="regression" if low > limit else "inconclusive" if value > limit else "ok",
        )
    return found


def regression(record: BenchRecord, max_regression: float) -> RegressionError | None:
    """Return what a record's comparison with its baseline found; None: nothing became slower.

    It is not raised: the measurement went well, and its record is the result.
    """
    slower = [
        f"`{name}` takes {each.ratio:.3f} times as long ({each.interval[0]:.3f} to "
        f"{each.interval[1]:.3f}, {each.clock} time)"
        for name, each in record.baseline.items()
        if each.verdict == "regression"
    ]
    if not slower:
        return None
    return RegressionError(
        f"slower than the baseline by more than {100 * max_regression:g} %: {'; '.join(slower)}",
        hint="measure again to be sure; loading a file anew alone is worth about 1 %",
    )


def parse_share(text: str) -> float:
    """Read ``5%``.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text)
    if not match:
        raise UsageError(f"--max-regression {text!r}: expected a percentage, as in 5%")
    return float(match[1]) / 100


def _check_alike(name: str, now: Candidate, before: Candidate) -> None:
    for what, one, other in (
        ("another runtime", now.runtime, before.runtime),
        ("other inputs", now.inputs, before.inputs),
    ):
        if one != other:
            raise UsageError(
                f"`{name}` has {what} than in the baseline: {one}, there {other}",
                hint="make a new baseline",
            )
    for candidate in (now, before):
        if candidate.latency_ms.n < MIN_ROUNDS:
            raise UsageError(
                f"`{name}` ran {candidate.latency_ms.n} rounds, a comparison with a baseline "
                f"needs at least {MIN_ROUNDS}"
            )


def _growth(now: list[float], before: list[float]) -> tuple[float, float, float]:
    """Return the ratio of two runs' typical times, and its interval (Welch's, on logarithms)."""
    sides = [
        np.array([math.log(np.median(part)) for part in np.array_split(np.array(times), PARTS)])
        for times in (now, before)
    ]
    center = sides[0].mean() - sides[1].mean()
    half = T_VALUE * math.sqrt(sum(side.var(ddof=1) / PARTS for side in sides))
    return math.exp(center), math.exp(center - half), math.exp(center + half)
