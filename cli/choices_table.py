"""What `compress` prints of options that change what is compiled."""

from collections.abc import Mapping
from typing import Any

from compactmtl.cli.console import console


def show_choices(document: Mapping[str, Any]) -> None:
    """Print what options did that change what is compiled."""
    dropped, small, part = (document[key] for key in ("dropped", "threshold", "part"))
    if dropped:
        names = ", ".join(dropped["outputs"]) or "none"
        console.info(
            f"dropped outputs: {names}; this alone saved {dropped['macs']:,} MACs and "
            f"{dropped['num_params']:,} parameters, which the table below does not count"
        )
    if small:
        console.info(
            f"threshold {small['limit']:g}: {small['num_zeroed']} of {small['num_groups']} groups "
            "set to zero; all else is exact for the network after that, dense.pt2 is the one before"
        )
        console.table(
            "change of the outputs by the threshold, relative",
            ["output", "root mean square", "largest"],
            [[name, change["rms"], change["max"]] for name, change in small["outputs"].items()],
        )
    if part:
        console.info(
            f"compiled the part `{part['name']}` alone; in your code cm.stitch(network, "
            f"cm.load('model.pt2')) puts it in its place; the whole network then changes by "
            f"{part['rms_change_of_whole']:.1e} (root mean square, relative)"
        )
    if document["rules"]:
        console.info(f"rules of your own: {', '.join(document['rules'])}")
