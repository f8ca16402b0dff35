"""The plan: which channels each source stores and how each reader reads, as JSON."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.compiler.analysis import reads_size_only
from compactmtl.compiler.cost import CostModel
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.spaces import Space, find_spaces
from compactmtl.compiler.widths import Widths

FORMAT_VERSION = 1


@dataclass
class Plan:
    """Decisions, all exact.

    Attributes:
        stored: Per node the channels (original numbers, ascending) that must be stored.
        rows: Per source (conv, linear, select) the output channels it computes.
        gathers: Per reader that does not read all that is stored: the input channels it selects,
            filled while lowering.
    """

    stored: dict[str, tuple[int, ...]] = field(default_factory=dict)
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    gathers: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        return {
            "format_version": FORMAT_VERSION,
            "rows": {name: list(channels) for name, channels in self.rows.items()},
            "gathers": {name: list(channels) for name, channels in self.gathers.items()},
        }


def channel_ids(channels: Tensor) -> tuple[int, ...]:
    """Return the numbers of the set channels, ascending."""
    return tuple(channels.nonzero().flatten().tolist())


def make_plan(facts: Facts, cost: CostModel) -> Plan:
    """Decide what is stored: sweeps from the outputs backwards, then widths.

    A value stores what any reader's rewrite needs of it. In a space that the cost model unifies (a
    residual stream) all values store the same channels, so that its additions need no re-layout.
    Then values get some dead channels more, where the cost model says that a width runs faster.
    """
    spaces = find_spaces(facts)
    needed = {node: live.clone() for node, live in facts.live.items()}
    unified = {
        node: space for node, space in spaces.items()
        if space.joint or (space.unified and cost.unifies)
    }  # fmt: skip
    for space in {id(s): s for s in unified.values()}.values():
        _unify(space, needed)
    _settle(facts, unified, needed)
    widths = Widths(facts, spaces, needed, cost)
    widths.choose()
    widths.apply()
    _settle(facts, unified, needed)
    plan = Plan()
    for node, channels in needed.items():
        plan.stored[node.name] = channel_ids(channels)
        rule = facts.rules.get(node)
        if rule is not None and rule.is_source:
            plan.rows[node.name] = channel_ids(channels)
    return plan


def _settle(facts: Facts, unified: dict[fx.Node, Space], needed: dict[fx.Node, Tensor]) -> None:
    """Sweep; again only where a unified space grew behind the sweep."""
    while _sweep(facts, unified, needed):
        pass


def _sweep(facts: Facts, unified: dict[fx.Node, Space], needed: dict[fx.Node, Tensor]) -> bool:
    """Add what every rewrite needs stored; tell whether a unified space grew behind the sweep."""
    before = sum(int(channels.sum()) for channels in needed.values())
    for node in reversed(facts.module.graph.nodes):
        rule = facts.rules.get(node)
        if rule is None:
            _need_size(node, facts, needed)
        elif needed[node].any():
            needed[node] |= rule.pad_rows(node, needed[node], facts)
            if node in unified:
                _unify(unified[node], needed)
            for source, channels in rule.needs(node, needed[node], facts).items():
                needed[source] |= channels
                if source in unified:
                    _unify(unified[source], needed)
    return sum(int(channels.sum()) for channels in needed.values()) > before


def _unify(space: Space, needed: dict[fx.Node, Tensor]) -> None:
    """Let all values of a space that store anything store the same."""
    union = torch.stack([needed[node] for node in space.nodes]).any(0)
    for node in space.nodes:
        if needed[node].any():
            needed[node] = union.clone()


def _need_size(node: fx.Node, facts: Facts, needed: dict[fx.Node, Tensor]) -> None:
    """Keep one channel of a value whose size is asked for and nothing else."""
    if reads_size_only(node, facts) and node.users:
        for source in node.all_input_nodes:
            if source in needed and not needed[source].any():
                needed[source][0] = True


def untouched_plan(facts: Facts) -> Plan:
    """Return the plan that removes nothing."""
    every = {node.name: tuple(range(value.num_channels)) for node, value in facts.values.items()}
    sources = {node.name for node, rule in facts.rules.items() if rule.is_source}
    return Plan(stored=every, rows={name: ids for name, ids in every.items() if name in sources})
