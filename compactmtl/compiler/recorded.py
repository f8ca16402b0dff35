"""Carry out an earlier plan, instead of making one."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.compiler.cost import CostModel
from compactmtl.compiler.lower import Layout, Lowering
from compactmtl.compiler.plan import Plan, channel_ids
from compactmtl.compiler.plan_document import Channels, GraphNode, PlanDocument, describe
from compactmtl.compiler.rules import Facts, Rule
from compactmtl.compiler.rules.grouped import Grouped
from compactmtl.compiler.rules.split import Split
from compactmtl.compiler.rules.ungrouped import Ungrouped
from compactmtl.compiler.rules.weights import num_groups
from compactmtl.errors import CompilerError

_OTHER = "give the network, and the release of torch, that the plan was made of; or compress anew"


def recorded_lowering(facts: Facts, document: PlanDocument, cost: CostModel) -> Lowering:
    """Return a lowering that carries out a plan, its facts with the rules that the plan chose.

    Args:
        facts: Of the captured network.
        document: The plan.
        cost: Stands where a cost model is expected, and is not asked.

    Raises:
        CompilerError: The captured network is not that of the plan, or has other weights.
    """
    names = match(document, facts)
    chosen: dict[str | None, Rule] = {names.get(name): Ungrouped() for name in document.ungrouped}
    chosen.update((names.get(name), Split(parts)) for name, parts in document.split.items())
    rules = {
        node: chosen[node.name] if node.name in chosen and isinstance(rule, Grouped) else rule
        for node, rule in facts.rules.items()
    }
    for node, rule in rules.items():
        if isinstance(rule, Split) and sorted(chain(*rule.classes)) != list(
            range(num_groups(node))
        ):
            raise _misfit(f"it does not split the {num_groups(node)} groups of `{node.name}`")
    facts = replace(facts, rules=rules)
    plan = _recorded_plan(document, facts, names)
    gathers = {names[name]: tuple(ids or ()) for name, ids in document.gathers.items()}
    return RecordedLowering(facts, plan, cost, gathers)


class RecordedLowering(Lowering):
    """A lowering whose gathers were chosen before; the cost model is not asked."""

    def __init__(
        self, facts: Facts, plan: Plan, cost: CostModel, gathers: Mapping[str, Layout]
    ) -> None:
        super().__init__(facts, plan, cost)
        self._recorded = gathers

    def read(self, node: fx.Node, read: Tensor, *args: Any, **kwargs: Any) -> Layout:
        """Gather what the plan says, or read all that is stored."""
        source = node.args[0]
        assert isinstance(source, fx.Node)
        if node.name not in self._recorded:
            return self.layout(source)
        wanted = self._recorded[node.name]
        missing = set(channel_ids(read)) - set(wanted)
        if missing:
            raise _misfit(f"`{node.name}` reads channel {min(missing)}, which it does not gather")
        return self.gather(node, wanted)


def match(document: PlanDocument, facts: Facts) -> dict[str, str]:
    """Return the name of every recorded op in a captured graph; their order and links must agree.

    The network may have the biases that the compact model has and the original has not.

    Raises:
        CompilerError: The first op that differs.
    """
    new = {entry.part_of or name for name, entry in document.parameters.items() if entry.new}
    here, names = describe(facts), dict[str, str]()
    for then, now in zip(document.graph, here, strict=False):
        expected = [names.get(name, name) for name in then.reads]
        reads = [name for name in now.reads if name not in new]
        if (then.op, then.channels, expected) != (now.op, now.channels, reads):
            raise _misfit(f"{_words(now)}, expected {_words(then)}")
        names[then.name] = now.name
    if len(document.graph) != len(here):
        raise _misfit(f"{len(here)} ops, expected {len(document.graph)}")
    return names


def _words(node: GraphNode) -> str:
    channels = "" if node.channels is None else f" of {node.channels} channels"
    return f"`{node.op}` ({node.name}){channels} reading {', '.join(node.reads) or 'nothing'}"


def _misfit(what: str) -> CompilerError:
    return CompilerError(f"the captured network does not fit the plan: {what}", hint=_OTHER)


def _recorded_plan(document: PlanDocument, facts: Facts, names: Mapping[str, str]) -> Plan:
    """Return the plan, checked: it stores what the network needs stored.

    Raises:
        CompilerError: It does not, for the network has other weights.
    """
    widths = {node.name: value.num_channels for node, value in facts.values.items()}

    def ids(kept: Mapping[str, Channels]) -> dict[str, Layout]:
        result = {}
        for name, channels in kept.items():
            width = widths.get(names.get(name, ""))
            if width is None or not all(0 <= channel < width for channel in channels or ()):
                raise _misfit(f"it has no such channels of `{name}`")
            result[names[name]] = tuple(range(width)) if channels is None else tuple(channels)
        return result

    plan = Plan(stored=ids(document.stored), rows=ids(document.rows))
    if widths.keys() - plan.stored.keys():
        raise _misfit(f"nothing is said of `{min(widths.keys() - plan.stored.keys())}`")
    stored = {node: _set(plan.stored[node.name], facts, node) for node in facts.values}
    for node, rule in facts.rules.items():
        _check_stored(node, facts.live[node], stored)
        if stored[node].any():
            for source, channels in rule.needs(node, stored[node], facts).items():
                _check_stored(source, channels, stored)
    return plan


def _set(channels: Layout, facts: Facts, node: fx.Node) -> Tensor:
    result = torch.zeros(facts.num_channels(node), dtype=torch.bool)
    result[list(channels)] = True
    return result


def _check_stored(node: fx.Node, wanted: Tensor, stored: Mapping[fx.Node, Tensor]) -> None:
    missing = wanted & ~stored[node]
    if missing.any():
        raise _misfit(
            f"channel {int(missing.int().argmax())} of `{node.name}` is needed, and the plan "
            "removes it: the network has other weights"
        )
