"""What `compactmtl reproduce` found, as tables."""

import math
from collections.abc import Mapping, Sequence

from compactmtl.cli.console import console
from compactmtl.study.reproduce.estimate import Estimate
from compactmtl.study.reproduce.plan import Plan
from compactmtl.study.reproduce.results import Result
from compactmtl.study.reproduce.samples import Samples


def show_results(plan: Plan, found: Sequence[Result], samples: Samples) -> None:
    """Print the table: published, ours, n, the difference, and the readings of each cell."""
    common = set.intersection(*(set(result.readings) for result in found))
    title = f"{plan.table.id}, {plan.preset}"
    if samples.differs:
        title += f"; published values are not shown: {samples.differs}"
    columns = ["row", "metric", "published", "ours", "std", "n", "minus its baseline", "verdict"]
    lines = []
    for result in found:
        ours, other = result.ours, result.difference
        spread = [None, None, 0] if ours is None else [ours.mean, ours.std, ours.n]
        compared = [None, None] if other is None else [other.mean, other.verdict]
        own = ", ".join(name for name in result.readings if name not in common) or None
        published = "other data" if result.published is None else result.published or None
        lines.append([result.row, result.name, published, *spread, *compared, own])
    console.table(title, [*columns, "readings"], lines)
    if common:
        console.info(f"readings that touch every cell: {', '.join(sorted(common))}")


def show_estimates(found: Mapping[str, Estimate], left: Mapping[str, int]) -> None:
    """Print what was measured, and the time of the runs that are left, per row."""
    if not found:
        return
    lines = [
        [
            label,
            each.num_steps,
            each.step_s,
            each.epoch_s,
            left[label],
            duration(3600 * each.hours * left[label]),
        ]
        for label, each in found.items()
    ]
    columns = ["row", "steps measured", "s per step", "s per epoch", "runs left", "time"]
    console.table("how long it takes", columns, lines)
    total = sum(each.hours * left[label] for label, each in found.items())
    console.info(
        f"in all about {duration(3600 * total)}, one run at a time, and seconds to start each run"
    )


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
