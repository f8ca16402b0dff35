"""The points of a sweep's curves: means over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from compactmtl.study.paired import cell

Row = Mapping[str, Any]
Spread = dict[str, Any]


def summarise_points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one point per task set and lambda over its finished runs, each with its n.

    Args:
        rows: The runs of ``sweep.json``.
    """
    places = dict.fromkeys((row["series"], row["lam"]) for row in rows)
    points = []
    for series, lam in places:
        own = [row for row in rows if (row["series"], row["lam"]) == (series, lam)]
        done = [row for row in own if row["status"] == "finished"]
        points.append(
            {
                "series": series,
                "lam": lam,
                "n": len(done),
                "not_finished": len(own) - len(done),
                **(_means(done) if done else {}),
            }
        )
    return points


def _means(rows: Sequence[Row]) -> dict[str, Any]:
    metrics = {
        task: {name: _spread([row["metrics"][task][name] for row in rows]) for name in found}
        for task, found in rows[0]["metrics"].items()
    }
    tables = {
        table: {key: _spread([row[table][key] for row in rows]) for key in rows[0][table]}
        for table in ("sparsity", "macs", "num_params", "cpu_ms")
    }
    return {
        "metrics": metrics,
        **tables,
        "speedup": _spread([row["speedup"]["value"] for row in rows]),
    }


def _spread(values: Sequence[float | None]) -> Spread | None:
    """Return mean and standard deviation; None where a value is not known."""
    known = [value for value in values if value is not None]
    return asdict(cell(known)) if len(known) == len(values) else None
