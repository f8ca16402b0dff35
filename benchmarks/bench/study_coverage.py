"""Does the interval hold the truth as often as it says, and how wide is it?"""

from typing import Any

import numpy as np
from subjects import Subject

from compactmtl.board.bench.loads import interleave_loads, ratio_of
from compactmtl.board.bench.ratio import Ratio
from compactmtl.board.bench.timing import Timings, interleave
from compactmtl.environment import load_average

CLOCKS = ("cpu", "wall")
Row = dict[str, Any]


def measure(slower: Subject, faster: Subject, *, comparisons: int, seconds: float) -> list[Row]:
    """Compare so many times, everything loaded anew each time."""
    rows = []
    for number in range(comparisons):
        found = interleave_loads(
            {"slower": slower.load, "faster": faster.load}, seconds=seconds, rounds=20, seed=number
        )
        rows.append({"load_average": load_average(), **intervals(found)})
    return rows


def measure_one_load(
    one: Subject, other: Subject, *, comparisons: int, seconds: float
) -> list[Row]:
    """Compare with one load each, the first argument's before the other's."""
    rows = []
    for number in range(comparisons):
        calls = {"slower": one.load().call, "faster": other.load().call}
        found = interleave(calls, seconds=seconds, rounds=20, seed=number)
        rows.append({"load_average": load_average(), **intervals(found)})
    return rows


def intervals(found: dict[str, Timings]) -> Row:
    """Return value and interval of both clocks' ratios, the p50s, and what order did."""
    slower, faster = found["slower"], found["faster"]
    first = [one < other for one, other in zip(slower.places, faster.places, strict=True)]
    row: Row = {"rounds": len(slower.cpu_ms), "loads": len(slower.load_rounds) or 1}
    for clock in CLOCKS:
        ratio = ratio_of(slower, faster, clock=clock)
        row[clock] = [ratio.value, ratio.low, ratio.high]
        row[f"{clock}_p50_ms"] = float(np.median(getattr(faster, f"{clock}_ms")))
    if first:
        row["first_loaded_cpu"] = first_over_second(slower, faster, first)
    return row


def first_over_second(slower: Timings, faster: Timings, first: list[bool]) -> float:
    """Return CPU time of what was loaded first over the other's, all else cancelled."""
    logs = np.log(slower.cpu_ms / faster.cpu_ms)
    parts = np.split(logs, np.cumsum(slower.load_rounds)[:-1])
    signs = np.where(first, 1.0, -1.0)
    return float(np.exp(np.mean(signs * [np.median(part) for part in parts])))


def summary(rows: list[Row], truth: float) -> Row:
    """Return how often the intervals hold the truth, exclude 1.00, and how wide they are."""
    result: Row = {
        "comparisons": len(rows),
        "truth": truth,
        "median_rounds": float(np.median([row["rounds"] for row in rows])),
        "loads": rows[0]["loads"],
        "load_average": [
            float(np.percentile([row["load_average"] or np.nan for row in rows], q))
            for q in (0, 50, 100)
        ],
    }
    if "first_loaded_cpu" in rows[0]:
        logs = np.log([row["first_loaded_cpu"] for row in rows])
        result["first_loaded_cpu"] = {
            "mean": float(np.exp(logs.mean())),
            "standard_error": float(logs.std(ddof=1) / len(logs) ** 0.5),
        }
    for clock in CLOCKS:
        ratios = [Ratio(*row[clock]) for row in rows]
        result[clock] = {
            "holds_truth": sum(ratio.low <= truth <= ratio.high for ratio in ratios),
            "slower": sum(ratio.low > 1 for ratio in ratios),
            "faster": sum(ratio.high < 1 for ratio in ratios),
            "median_width": float(np.median([ratio.width for ratio in ratios])),
            "median_value": float(np.median([ratio.value for ratio in ratios])),
            "median_p50_ms": float(np.median([row[f"{clock}_p50_ms"] for row in rows])),
        }
    return result
