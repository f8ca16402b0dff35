"""What `compress` prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.cli.console import console

MAX_ROWS = 8


def show(document: Mapping[str, Any], out: Path, how: str) -> None:
    """Print notes, totals, layers and what was opaque."""
    console.info(f"source: {document['source'].get('file', '')} ({how})")
    for note in document["notes"]:
        console.warn(note)
    before, after, census = document["before"], document["after"], document["census"]
    console.table(
        "",
        ["", "dense", "compact", "dense/compact"],
        [
            [label, before[key], after[key], before[key] / max(after[key], 1)]
            for label, key in (
                ("MACs (1 image)", "macs"),
                ("parameters", "num_params"),
                ("bytes of weights", "weights_bytes"),
            )
        ],
    )
    console.table(
        "",
        ["channels", "count", "of"],
        [
            ["zero input groups", census["zero_groups"], census["num_groups"]],
            ["zero filters", census["zero_filters"], census["num_filters"]],
            ["removable channels", census["removable_channels"], census["num_channels"]],
        ],
    )
    check = document["verification"]
    worst = max((o["fp64_error"] for o in check["outputs"].values()), default=0.0)
    console.info(
        f"verified on {check['num_inputs']} inputs: float64 error {worst:.1e} (allowed "
        f"{check['fp64_tolerance']:.0e}), float32 error {document['max_rel_error']:.1e}, "
        f"{check['selection_flips']} flipped selections; {document['gathers']} layers gather"
    )
    opaque = document["opaque"]
    for row in opaque[:MAX_ROWS]:
        console.warn(
            f"opaque op `{row['op']}` ({row['node']}) keeps its channels: {row['why']}"
            + (f" [{row['source']}]" if row["source"] else "")
        )
    if len(opaque) > MAX_ROWS:
        console.warn(f"... and {len(opaque) - MAX_ROWS} more, see {out / 'report.json'}")
    console.info(f"wrote {out}/")
    console.result({"folder": out, **document})
