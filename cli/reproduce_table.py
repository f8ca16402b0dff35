"""What `compactmtl reproduce` found, as tables."""

from collections.abc import Sequence

from compactmtl.cli.console import console
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
