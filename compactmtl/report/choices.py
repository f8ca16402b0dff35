"""What options of `compress` changed before anything was compared: outputs, groups, a part."""

from collections.abc import Mapping
from typing import Any

from compactmtl.report import numbers
from compactmtl.report.html import Html, h, listing, table


def choices(compress: Mapping[str, Any]) -> list[Html]:
    """Return sentences and a table on what the options did; nothing where there were none.

    Args:
        compress: The content of ``report.json``.
    """
    sentences = _sentences(compress)
    if not sentences:
        return []
    small = compress.get("threshold") or {}
    rows = [
        (name, numbers.error(change.get("rms")), numbers.error(change.get("max")))
        for name, change in (small.get("outputs") or {}).items()
    ]
    columns = ("Change by the threshold", "Root mean square, relative", "Largest, relative")
    return [
        h("h3", "What was asked for"),
        listing(sentences) or Html(""),
        *([table(columns, rows)] if rows else []),
    ]


def _sentences(compress: Mapping[str, Any]) -> list[str]:
    dropped, small, part, rules = (
        compress.get(key) for key in ("dropped", "threshold", "part", "rules")
    )
    sentences = []
    if dropped:
        sentences.append(
            f"Without the outputs {', '.join(dropped['outputs']) or 'none'}: this alone saved "
            f"{numbers.count(dropped['macs'])} MACs and {numbers.count(dropped['num_params'])} "
            "parameters; the dense network of this page is without them, too."
        )
    if small:
        sentences.append(
            f"Groups with a root mean square below {small['limit']:g} were set to zero: "
            f"{small['num_zeroed']} of {small['num_groups']}. The dense network of this page is "
            "the one before; the comparison with the original below is with the network after it."
        )
    if part:
        sentences.append(f"Only the part {part['name']} of the network was compiled.")
    if rules:
        sentences.append(f"Rules from outside: {', '.join(rules)}.")
    return sentences
