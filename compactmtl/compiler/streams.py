"""Residual streams: which layers write and which read the channels that additions combine."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.channel_runs import to_runs
from compactmtl.compiler.analysis import reads_size_only
from compactmtl.compiler.plan import Plan, channel_ids
from compactmtl.compiler.readers import output_labels
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.spaces import Space

MIN_LAYERS = 2
"""A stream has at least so many rows that write it, and so many that read it."""
Layouts = Mapping[str, Sequence[int]]
Row = dict[str, Any]


def streams(
    facts: Facts,
    plan: Plan,
    layouts: Layouts,
    spaces: Mapping[fx.Node, Space],
    names: Mapping[fx.Node, str],
    output_names: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the streams in graph order, as JSON data.

    Each has rows in graph order: a layer (or an op, an output) with what it does, the channels it
    computes or reads for that, and those it carries without need (rows nobody reads, columns of
    zeros).
    """
    rows: dict[int, list[Row]] = {}
    found = {id(space): space for space in spaces.values() if space.unified}
    for node in facts.module.graph.nodes:
        for space, row in _rows(node, facts, plan, layouts, spaces, names, output_names):
            rows.setdefault(id(space), []).append(row)
    return [
        {
            "name": f"{rows[key][0]['layer']} to {rows[key][-1]['layer']}",
            "num_channels": facts.num_channels(space.nodes[0]),
            "stored": _stored(space, layouts),
            "rows": rows[key],
        }
        for key, space in found.items()
        if _is_stream(rows.get(key, []))
    ]


def _is_stream(rows: Sequence[Row]) -> bool:
    does = [row["does"] for row in rows]
    return min(does.count("write"), does.count("read")) >= MIN_LAYERS


def _stored(space: Space, layouts: Layouts) -> str:
    return to_runs(sorted({c for node in space.nodes for c in layouts.get(node.name, ())}))


def _rows(
    node: fx.Node,
    facts: Facts,
    plan: Plan,
    layouts: Layouts,
    spaces: Mapping[fx.Node, Space],
    names: Mapping[fx.Node, str],
    output_names: Sequence[str],
) -> Iterator[tuple[Space, Row]]:
    """Yield what a node does with the streams around it; an op inside of one does nothing."""
    rule, own = facts.rules.get(node), spaces.get(node)
    layout = layouts.get(node.name, ())
    labels = output_labels(node, output_names) if node.op == "output" else {}
    is_made = rule is None or bool(layout)
    combined = [] if rule is None else [x for x in rule.couples(node) if spaces.get(x) is own]
    for source in dict.fromkeys(node.all_input_nodes):
        space = spaces.get(source)
        if space is None or source in combined or not is_made or reads_size_only(node, facts):
            continue
        read = _all(source, facts) if rule is None else rule.reads(node, facts).get(source)
        if read is not None:
            carried = channel_ids(read)
            if node in names:
                carried = tuple(plan.gathers.get(node.name, layouts.get(source.name, ())))
            name = names.get(node) or labels.get(source) or node.name
            yield space, _row(name, "read", carried, read)
    if own is not None and layout and not combined:
        name = names.get(node, node.name)
        yield own, _row(name, "write", layout, facts.live[node])


def _all(source: fx.Node, facts: Facts) -> Tensor:
    return torch.ones(facts.num_channels(source), dtype=torch.bool)


def _row(name: str, does: str, carried: Sequence[int], wanted: Tensor) -> Row:
    needed = sorted(channel for channel in carried if wanted[channel])
    idle = sorted(set(carried) - set(needed))
    return {"layer": name, "does": does, "channels": to_runs(needed), "idle": to_runs(idle)}
