"""How `inspect --why` shows what a layer's channels are there for."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.cli.console import console
from compactmtl.explanation import explain_layer

KINDS = {"layer": "", "output": "output ", "opaque": "opaque op "}


def show_why(file: Path, layer: str) -> None:
    """Print who reads a layer's output channels, and how it reads its input."""
    found = explain_layer(file, layer)
    facts = found.facts
    kept, read = facts["kept"], facts["input"]
    lines = [
        ("layer", found.layer),
        ("op", f"{facts['op']}  {facts['source']}".strip()),
        ("output channels", f"{kept['count']} of {facts['num_channels']} kept"),
    ]
    if not kept["count"]:
        lines.append(("", "nothing that is kept reads this layer: it is gone"))
    if facts["constant"]["count"]:
        lines.append(("constants", f"{facts['constant']['channels']}: for zero padding to see"))
    lines += [
        ("input channels", f"{read['read']['count']} of {read['num_channels']} read"),
        ("read through", _through(read)),
    ]
    if read["why"]:
        lines.append(("columns of zeros", f"{read['zero_columns']['count']}: {read['why']}"))
    console.table("", ("", ""), lines)
    alone = Counter(names[0] for names in found.by_channel().values() if len(names) == 1)
    rows: list[tuple[Any, ...]] = [
        (
            KINDS[reader["kind"]] + reader["name"],
            ", ".join(reader["via"]),
            reader["count"],
            alone[reader["name"]],
            reader["channels"],
        )
        for reader in facts["readers"]
    ]
    rows += [("nobody", r["why"], r["count"], None, r["channels"]) for r in facts["unread"]]
    if rows:
        console.table(
            "\nWhy the kept channels are there",
            ("read by", "through, or why it is stored", "channels", "only it", "which"),
            rows,
        )
    blocked = [reader for reader in facts["readers"] if reader["kind"] == "opaque"]
    if blocked:
        console.table(
            "\nOpaque ops keep every channel they read",
            ("op", "why", "in your source"),
            [(f"{r['name']} ({r['op']})", r["why"], r["source"]) for r in blocked],
        )
    if read["read"]["count"]:
        console.table("", ("", ""), [("reads", read["read"]["channels"])])
    console.result(found.to_dict())


def _through(read: Mapping[str, Any]) -> str:
    if read["how"] == "gather":
        return f"a gather of {read['columns']['count']} from {read['stored']} stored"
    return f"all {read['stored']} that are stored"
