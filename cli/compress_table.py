"""What `compress` prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compactmtl.cli.choices_table import show_choices
from compactmtl.cli.console import console
from compactmtl.cli.further_table import show_dropped, show_finetuned
from compactmtl.cli.variants_table import show_plans

MAX_ROWS = 8


def show_costs(document: Mapping[str, Any]) -> None:
    """Print MACs, parameters and bytes before and after."""
    before, after = document["before"], document["after"]
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


def show(document: Mapping[str, Any], out: Path, how: str) -> None:
    """Print notes, totals, layers and what was opaque."""
    console.info(f"source: {how}")
    for note in document["notes"]:
        console.warn(note)
    _norms(document["group_norms"])
    show_choices(document)
    show_costs(document)
    census = document["census"]
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
    show_dropped(document["dropped_modules"], out / "report.json")
    show_finetuned(document["finetuned"])
    show_plans(document, out)
    console.info(f"wrote {out}/")
    console.result({"folder": out, **document})


def _norms(layers: Sequence[Mapping[str, Any]]) -> None:
    """Print how large the input groups are, of the layers with the smallest ones."""
    if not layers:
        return
    chosen = sorted(layers, key=lambda layer: float(layer["min"]))[:MAX_ROWS]
    more = f" (the {MAX_ROWS} smallest of {len(layers)}, all in report.json)"
    console.table(
        "l2 norms of input groups" + (more if len(layers) > MAX_ROWS else ""),
        ["layer", "groups", "min", "median"],
        [[row["layer"], row["num_groups"], row["min"], row["median"]] for row in chosen],
    )
