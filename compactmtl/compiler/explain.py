"""Tell what was removed, what was kept, and why."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.compact import Cost
from compactmtl.compiler.analysis import opaque_nodes
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.plan import Plan
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.value import attribute, source_line
from compactmtl.complexity import Complexity, count


def layer_nodes(facts: Facts) -> list[tuple[str, fx.Node]]:
    """Return (module name, node) of every convolution and linear layer, in graph order."""
    found = []
    for node in facts.module.graph.nodes:
        if node.op == "call_function" and op_name(node) in Conv.ops:
            weight = node.args[1]
            if isinstance(weight, fx.Node) and weight.op == "get_attr":
                found.append((str(weight.target).rpartition(".")[0] or str(weight.target), node))
    return found


def at_batch_one(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the inputs cut to one sample: the size at which costs are stated."""
    return tuple(value[:1] for value in inputs)


def cost(complexity: Complexity) -> Cost:
    """Return the totals of a count."""
    return Cost(complexity.macs, complexity.num_params, complexity.weights_bytes)


def count_both(
    original: fx.GraphModule, compact: fx.GraphModule, inputs: Sequence[Tensor]
) -> tuple[Complexity, Complexity]:
    """Count original and compact graph at batch 1."""
    single = at_batch_one(inputs)
    return count(original, single), count(compact, single)


def layer_table(
    facts: Facts, compact: fx.GraphModule, plan: Plan, before: Complexity, after: Complexity
) -> list[dict[str, Any]]:
    """Return per layer its channels and MACs, before and after; a removed layer has zeros."""
    macs_before, macs_after = _macs(before), _macs(after)
    kept = {str(n.target) for n in compact.graph.nodes if n.op == "get_attr"}
    rows: dict[str, dict[str, Any]] = {}
    for name, node in layer_nodes(facts):
        target = str(node.args[1].target)  # type: ignore[union-attr]
        old = attribute(facts.module, target)
        new = attribute(compact, target) if target in kept else None
        rows[name] = {
            "name": name,
            "kind": op_name(node),
            "in_before": old.shape[1],
            "in_after": 0 if new is None else new.shape[1],
            "out_before": old.shape[0],
            "out_after": 0 if new is None else new.shape[0],
            "macs_before": macs_before.get(name, 0),
            "macs_after": macs_after.get(name, 0),
            "gather": node.name in plan.gathers,
            "zero_groups": zero_groups(old),
        }
    return list(rows.values())


def _macs(complexity: Complexity) -> dict[str, int]:
    total: dict[str, int] = {}
    for layer in complexity.layers:
        total[layer.name] = total.get(layer.name, 0) + layer.macs
    return total


def zero_groups(weight: Tensor) -> int:
    """Return how many input groups ``W[:, c]`` are exactly zero."""
    return int((weight.detach().transpose(0, 1).flatten(1).abs().amax(1) == 0).sum())


def census(facts: Facts, plan: Plan) -> dict[str, int]:
    """Count three different things: zero input groups, zero filters, removable channels.

    A channel is removable if the compiler drops the output of a layer that makes it.
    """
    totals = dict.fromkeys(
        ("num_groups", "zero_groups", "num_filters", "zero_filters", "removable_channels"), 0
    )
    for _, node in layer_nodes(facts):
        weight = facts.tensor(node.args[1])
        totals["num_groups"] += weight.shape[1]
        totals["zero_groups"] += zero_groups(weight)
        totals["num_filters"] += weight.shape[0]
        totals["zero_filters"] += zero_groups(weight.transpose(0, 1))
        if node.name in plan.rows:
            totals["removable_channels"] += weight.shape[0] - len(plan.rows[node.name])
    return {**totals, "num_channels": totals["num_filters"]}


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
    for name, node in layer_nodes(facts):
        rule = facts.rules.get(node)
        if isinstance(rule, Conv) and (carrier := rule.carrier(node, facts)) is not None:
            value = facts.constants[node.args[0]][carrier].item()  # type: ignore[index]
            rows.append({"layer": name, "channel": carrier, "value": value})
    return rows


def group_norms(facts: Facts) -> dict[str, Tensor]:
    """Return per layer the l2 norms of its input groups, for the case that nothing is zero."""
    return {
        name: torch.linalg.vector_norm(
            facts.tensor(node.args[1]).double().transpose(0, 1).flatten(1), dim=1
        )
        for name, node in layer_nodes(facts)
    }


def notes(facts: Facts, possible: Plan, *, pruned: bool) -> list[str]:
    """Return sentences for a user whose network did not become smaller as expected."""
    counts = census(facts, possible)
    removable = counts["removable_channels"]
    if removable and not pruned:
        return [
            f"{removable} of {counts['num_channels']} channels could be removed; "
            "add --prune-zero-channels to do it"
        ]
    if removable:
        return []
    norms = torch.cat(list(group_norms(facts).values()) or [torch.zeros(0)])
    if counts["zero_groups"] == 0:
        smallest = f"{norms.min():.2e}" if norms.numel() else "none"
        cause = (
            f"no input group is exactly zero (smallest norm {smallest}); was it trained with a "
            "[sparsity] section?"
        )
    else:
        cause = (
            f"{counts['zero_groups']} input groups are zero, but each of their channels is read by "
            "another layer or by an op that is opaque"
        )
    return [f"nothing can be removed: {cause}", "see `compactmtl recipes` for a sparse recipe"]
