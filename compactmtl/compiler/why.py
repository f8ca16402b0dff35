"""Say of every layer why it has the channels it has: ``why.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.channel_runs import to_runs
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.plan import Plan, channel_ids
from compactmtl.compiler.readers import Reaches, find_readers, layer_names
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.base import channelwise
from compactmtl.compiler.spaces import Space, find_spaces
from compactmtl.compiler.streams import streams
from compactmtl.compiler.value import source_line

FORMAT_VERSION = 1
Layouts = Mapping[str, Sequence[int]]

UNREAD = {
    "removable": "nothing reads them, and removal was not asked for",
    "group": "fill up the groups of a grouped layer or a norm",
    "one": "a layer reads nothing, and one channel must be there",
    "size": "only their size is asked for",
    "stream": "values they are combined with store them, and all are kept at one layout",
    "width": "make a width that runs faster (cost)",
}
"""Why a channel that nobody reads is stored, in words; the first that holds is given."""


def why(
    facts: Facts,
    plan: Plan,
    layouts: Layouts,
    output_names: Sequence[str],
    *,
    cost: str,
    pruned: bool,
) -> dict[str, Any]:
    """Return for each layer which channels it has and reads, and why, as JSON data.

    Args:
        facts: The captured graph.
        plan: What was decided; after lowering, which fills in the gathers.
        layouts: Per node the channels its value stores.
        output_names: The names of the outputs.
        cost: Name of the cost model.
        pruned: Whether removal was asked for.
    """
    spaces, names = find_spaces(facts), layer_names(facts)
    layers = {}
    for node, readers in find_readers(facts, output_names):
        if node in names:
            layers[names[node]] = {
                "op": op_name(node),
                "source": source_line(node),
                **_rows(node, readers, facts, layouts, spaces[node], pruned=pruned),
                "input": _columns(node, facts, plan, layouts, cost if pruned else ""),
            }
    return {
        "format_version": FORMAT_VERSION,
        "cost_model": cost,
        "layers": {name: layers[name] for name in names.values() if name in layers},
        "streams": streams(facts, plan, layouts, spaces, names, output_names),
    }


def _rows(
    node: fx.Node,
    readers: Reaches,
    facts: Facts,
    layouts: Layouts,
    space: Space,
    *,
    pruned: bool,
) -> dict[str, Any]:
    """Return who reads the channels a layer makes, and why it has those that nobody reads."""
    kept = _set_of(layouts.get(node.name, ()), facts.num_channels(node))
    rows = []
    read = torch.zeros_like(kept)
    for reader, reach in readers.items():
        channels = reach.channels & kept
        if reader.reads and channels.any():
            read |= channels
            rows.append({**asdict(reader), "via": list(reach.via), **_listed(channels)})
    return {
        "num_channels": facts.num_channels(node),
        "kept": _listed(kept),
        "readers": rows[::-1],  # in the order of the graph
        "unread": _unread(node, kept & ~read, readers, facts, space, pruned=pruned),
        "constant": _listed(kept & ~facts.constants[node].isnan()),
    }


def _unread(
    node: fx.Node, rest: Tensor, readers: Reaches, facts: Facts, space: Space, *, pruned: bool
) -> list[dict[str, Any]]:
    """Return the reasons for channels that are stored and read by nobody, the first that holds."""
    rule, live = facts.rules.get(node), facts.live[node]
    wanted = {kind: torch.zeros_like(rest) for kind in UNREAD}
    wanted["removable"] |= not pruned
    if rule is not None and live.any():
        wanted["group"] |= rule.pad_rows(node, live, facts)
    for reader, reach in readers.items():
        if not reader.reads:
            wanted[reader.kind] |= reach.channels
    for other in space.nodes:
        wanted["stream"] |= facts.live[other]
    wanted["width"] |= True
    reasons = []
    for kind, text in UNREAD.items():
        channels = rest & wanted[kind]
        if channels.any():
            reasons.append({"kind": kind, "why": text, **_listed(channels)})
        rest = rest & ~channels
    return reasons


def _columns(
    node: fx.Node, facts: Facts, plan: Plan, layouts: Layouts, cost: str
) -> dict[str, Any]:
    """Return which input channels a layer reads, and how."""
    source, rule = channelwise(node), facts.rules.get(node)
    num_channels = facts.num_channels(source) if source in facts.values else 0
    made = bool(layouts.get(node.name, ()))
    stored = _set_of(layouts.get(source.name, ()) if made else (), num_channels)
    gathered = plan.gathers.get(node.name)
    columns = stored if gathered is None else _set_of(gathered, num_channels)
    read = columns if rule is None else rule.reads(node, facts).get(source, columns) & columns
    zero = columns & ~read
    return {
        "num_channels": num_channels,
        "stored": int(stored.sum()),
        "how": "dense" if gathered is None else "gather",
        "columns": _listed(columns),
        "read": _listed(read),
        "zero_columns": _listed(zero),
        "why": _why_zero(bool(zero.any()), rule is None, cost),
    }


def _why_zero(any_zero: bool, is_opaque: bool, cost: str) -> str:
    """Return why a layer multiplies columns of zeros."""
    if is_opaque:
        return "the layer is opaque and reads all channels"
    if not any_zero:
        return ""
    if not cost:
        return "removal was not asked for"
    return f"a gather of the others costs more than it saves (cost model: {cost})"


def _set_of(channels: Sequence[int], num_channels: int) -> Tensor:
    chosen = torch.zeros(num_channels, dtype=torch.bool)
    chosen[list(channels)] = True
    return chosen


def _listed(channels: Tensor) -> dict[str, Any]:
    return {"count": int(channels.sum()), "channels": to_runs(channel_ids(channels))}
