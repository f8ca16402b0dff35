"""What `compress` prints of a network in parts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.cli.compress_table import show_costs
from compactmtl.cli.console import console


def show_network(document: Mapping[str, Any], out: Path, how: str) -> None:
    """Print totals, each part, and how whole images were compared."""
    console.info(f"source: {how}")
    show_costs(document)
    rows = []
    for name, part in document["parts"].items():
        old, new = part["before"]["macs"], part["after"]["macs"]
        calls = f"{document['calls'][name]:g}"
        rows.append([name, calls, old, new, old / max(new, 1), part["gathers"]])
        for note in part["notes"]:
            console.warn(f"{name}: {note}")
        for row in part["opaque"]:
            console.warn(f"{name}: opaque op `{row['op']}` keeps its channels: {row['why']}")
    console.table(
        "parts",
        ["part", "inputs per image", "MACs, dense", "MACs, compact", "dense/compact", "gathers"],
        rows,
    )
    whole = document["whole"]
    console.info(
        f"verified: each part as any network (float32 error at most {_worst(document):.1e}); "
        f"{whole['num_images']} whole images in float64: same boxes, masks and maps, change "
        f"{whole['rms_change_64']:.1e}; near-ties that float32 flips: "
        f"{whole['num_values_flipped']} labels or pixels, another number of things on "
        f"{whole['num_other_counts']} images"
    )
    console.info(f"wrote {out}/")
    console.result({"folder": out, **document})


def _worst(document: Mapping[str, Any]) -> float:
    return max(float(part["max_rel_error"]) for part in document["parts"].values())
