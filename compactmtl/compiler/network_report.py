"""The reports of a network's parts as one, in the words of the report of a single graph."""

from collections import Counter
from typing import Any

from compactmtl.compact_network import NetworkReport


def as_one(report: NetworkReport) -> dict[str, Any]:
    """Return census, layers, opaque ops, notes and verification of all parts, as JSON data.

    Names have the part's in front; MACs of a layer are those of one image, as often as its part is
    called for it.
    """
    census: Counter[str] = Counter()
    for part in report.parts.values():
        census.update(part.census)
    first = next(iter(report.parts.values())).verification
    return {
        "census": dict(census),
        "layers": [
            {
                **row,
                "name": f"{name}.{row['name']}",
                "macs_before": round(row["macs_before"] * report.calls[name]),
                "macs_after": round(row["macs_after"] * report.calls[name]),
            }
            for name, part in report.parts.items()
            for row in part.layers
        ],
        "opaque": [
            {**row, "node": f"{name}.{row['node']}"}
            for name, part in report.parts.items()
            for row in part.opaque
        ],
        "notes": [f"{name}: {text}" for name, part in report.parts.items() for text in part.notes],
        "gathers": sum(part.gathers for part in report.parts.values()),
        "max_rel_error": report.max_rel_error,
        "verification": {
            **first,
            "num_inputs": sum(p.verification["num_inputs"] for p in report.parts.values()),
            "selection_flips": sum(
                p.verification["selection_flips"] for p in report.parts.values()
            ),
            "selection_widest_gap": max(
                p.verification["selection_widest_gap"] for p in report.parts.values()
            ),
            "outputs": {
                f"{name}.{output}": check
                for name, part in report.parts.items()
                for output, check in part.verification["outputs"].items()
            },
        },
    }
