"""Tell what was removed and what was kept."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx

from compactmtl.compact import Cost
from compactmtl.compiler.analysis import opaque_nodes
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.plan import Plan
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.grouped import Grouped
from compactmtl.compiler.rules.weights import TRANSPOSED, by_group
from compactmtl.compiler.value import attribute, source_line
from compactmtl.complexity import Complexity, layer_name


def layer_nodes(facts: Facts) -> list[tuple[str, fx.Node]]:
    """Return (layer name, node) of every convolution and linear layer, in graph order."""
    found = []
    for node in facts.module.graph.nodes:
        if node.op == "call_function" and op_name(node) in Conv.ops | TRANSPOSED:
            weight = node.args[1]
            if isinstance(weight, fx.Node) and weight.op == "get_attr":
                found.append((layer_name(str(weight.target)), node))
    return found


def layers(facts: Facts) -> dict[str, list[fx.Node]]:
    """Return the calls of every convolution and linear layer by layer name, in graph order.

    A weight that several modules share is one layer, under the name that capture gave it.
    """
    calls: dict[str, list[fx.Node]] = {}
    for name, node in layer_nodes(facts):
        calls.setdefault(name, []).append(node)
    return calls


def cost(complexity: Complexity) -> Cost:
    """Return the totals of a count."""
    return Cost(complexity.macs, complexity.num_params, complexity.weights_bytes)


def layer_table(
    facts: Facts, compact: fx.GraphModule, plan: Plan, before: Complexity, after: Complexity
) -> list[dict[str, Any]]:
    """Return per layer its channels and MACs, before and after; a removed layer has zeros.

    A layer that is called several times has one row: its MACs are those of all calls together.
    """
    names = {layer_name(part): layer_name(whole) for part, whole in plan.parts.items()}
    macs_before, macs_after = _macs(before, {}), _macs(after, names)
    kept = _convs(compact, plan)
    rows = []
    for name, calls in layers(facts).items():
        node = calls[0]
        in_before, out_before = widths(node, facts.module)
        parts = [widths(part, compact) for part in kept.get(name, {}).values()]
        in_after, out_after = (sum(counts) for counts in zip((0, 0), *parts, strict=True))
        rows.append({
            "name": name,
            "kind": op_name(node),
            "in_before": in_before,
            "in_after": in_after,
            "out_before": out_before,
            "out_after": out_after,
            "macs_before": macs_before.get(name, 0),
            "macs_after": macs_after.get(name, 0),
            "gather": any(call.name in plan.gathers for call in calls),
            "zero_groups": num_zero(by_group(node, facts.pattern(node.args[1])), 1),
        })  # fmt: skip
    return rows


def widths(node: fx.Node, module: fx.GraphModule) -> tuple[int, int]:
    """Return how many channels a layer reads and how many it makes."""
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    groups, rows, columns = by_group(node, attribute(module, str(weight.target))).shape[:3]
    return groups * columns, groups * rows


def num_zero(pattern: Tensor, axis: int) -> int:
    """Return how many columns (axis 1) or rows (axis 2) of all groups are exactly zero."""
    return int((~pattern.any(axis)).sum())


def _convs(compact: fx.GraphModule, plan: Plan) -> dict[str, dict[str, fx.Node]]:
    """Return what is left of each layer by its name: one layer, or the parts it was split into."""
    found: dict[str, dict[str, fx.Node]] = {}
    for node in compact.graph.nodes:
        if node.op == "call_function" and op_name(node) in Conv.ops | TRANSPOSED:
            weight = str(node.args[1].target)
            name = layer_name(plan.parts.get(weight, weight))
            found.setdefault(name, {}).setdefault(weight, node)
    return found


def _macs(complexity: Complexity, names: Mapping[str, str]) -> dict[str, int]:
    total: dict[str, int] = {}
    for layer in complexity.layers:
        name = names.get(layer.name, layer.name)
        total[name] = total.get(name, 0) + layer.macs
    return total


def opaque_table(facts: Facts) -> list[dict[str, str]]:
    """Return the ops that keep their channels, and why."""
    return [
        {
            "node": node.name,
            "op": op_name(node),
            "why": facts.refusals[node],
            "source": source_line(node),
        }
        for node in opaque_nodes(facts)
    ]


def carrier_table(facts: Facts) -> list[dict[str, Any]]:
    """Return the constant channels that zero-padded convolutions keep."""
    rows = []
    for name, calls in layers(facts).items():
        for node in calls:
            rule = facts.rules.get(node)
            if not isinstance(rule, (Conv, Grouped)):
                continue
            coming = rule.incoming(node, facts)
            rows += [
                {"layer": name, "channel": carrier, "value": coming[carrier].item()}
                for carrier in rule.carriers(node, facts)
            ]
            break  # all calls have the same
    return rows
