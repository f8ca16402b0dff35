"""What `compress` prints of the cost model and of the other plans."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.cli.console import console


def show_plans(document: Mapping[str, Any], out: Path) -> None:
    """Print whose times the plan was chosen by, and what the other plans cost on paper."""
    if document["tuned"]:
        console.info(f"widths and gathers: {document['tuned']}; see `compactmtl calibrate --help`")
    variants = document["variants"]
    if variants:
        console.table(
            "",
            ["variant", "MACs (1 image)", "parameters", "layers that gather"],
            [[name, v["macs"], v["num_params"], v["gathers"]] for name, v in variants.items()],
        )
        console.info(f"which is fastest: compactmtl export {out} && compactmtl bench {out}")
