"""Residual streams: which layers write and which read the channels that additions combine."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.channel_runs import to_runs
from compactmtl.compiler.plan import Plan, channel_ids
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.base import channelwise
from compactmtl.compiler.spaces import Space

MIN_LAYERS = 2
"""A stream has at least so many layers that write it, and so many that read it."""


def streams(
    facts: Facts,
    plan: Plan,
    layouts: Mapping[str, Sequence[int]],
    spaces: Mapping[fx.Node, Space],
    names: Mapping[fx.Node, str],
) -> list[dict[str, Any]]:
    """Return the streams in graph order, as JSON data.

    Each has its layers in graph order, with what they do (write or read), the channels they
    compute or read, and those they carry without need (columns of zero, rows nobody reads).
    """
    found = []
    for space in {id(space): space for space in spaces.values() if space.unified}.values():
        rows = [
            row
            for node, name in names.items()
            for row in _rows(node, name, space, facts, plan, layouts)
        ]
        does = [row["does"] for row in rows]
        if min(does.count("write"), does.count("read")) >= MIN_LAYERS:
            num_channels = facts.num_channels(space.nodes[0])
            stored = torch.zeros(num_channels, dtype=torch.bool)
            for node in space.nodes:
                stored[list(layouts.get(node.name, ()))] = True
            found.append({
                "name": f"{rows[0]['layer']} to {rows[-1]['layer']}",
                "num_channels": num_channels,
                "stored": to_runs(channel_ids(stored)),
                "rows": rows,
            })  # fmt: skip
    return found


def _rows(
    node: fx.Node,
    name: str,
    space: Space,
    facts: Facts,
    plan: Plan,
    layouts: Mapping[str, Sequence[int]],
) -> list[dict[str, Any]]:
    """Return what a layer does with a stream: nothing, write, read, or read and then write."""
    rule, source = facts.rules.get(node), channelwise(node)
    layout = layouts.get(node.name, ())
    rows = []
    if source in space.nodes:
        columns = plan.gathers.get(node.name, layouts.get(source.name, ())) if layout else ()
        read = None if rule is None else rule.reads(node, facts).get(source)
        rows.append(_row(name, "read", columns, read))
    if node in space.nodes:
        rows.append(_row(name, "write", layout, facts.live[node]))
    return rows


def _row(name: str, does: str, carried: Sequence[int], wanted: Tensor | None) -> dict[str, Any]:
    needed = [channel for channel in carried if wanted is None or wanted[channel]]
    idle = sorted(set(carried) - set(needed))
    return {"layer": name, "does": does, "channels": to_runs(needed), "idle": to_runs(idle)}
