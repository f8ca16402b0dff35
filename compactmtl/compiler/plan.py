"""The plan: which channels each source stores and how each reader reads, as JSON."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from compactmtl.compiler.cost import CostModel
from compactmtl.compiler.needs import Needs
from compactmtl.compiler.order import order_channels
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.spaces import find_spaces
from compactmtl.compiler.widths import Widths

FORMAT_VERSION = 1


@dataclass
class Plan:
    """Decisions, all exact.

    Attributes:
        stored: Per node the channels (original numbers) that must be stored, in their order:
            ascending, or by class of a split convolution's groups.
        rows: Per source (conv, linear, select) the output channels it computes.
        gathers: Per reader that does not read all that is stored: the input channels it selects,
            filled while lowering.
        parts: Per parameter of a convolution that does a part of a layer's work: the name of the
            layer's own, filled while lowering.
    """

    stored: dict[str, tuple[int, ...]] = field(default_factory=dict)
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    gathers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)

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
    needs = Needs(
        facts,
        unified={
            node: space
            for node, space in spaces.items()
            if space.joint or (space.unified and cost.unifies)
        },
    )
    Widths(facts, spaces, needs, cost).widen()
    needs.settle()
    plan = Plan()
    for node, channels in needs.channels.items():
        plan.stored[node.name] = channel_ids(channels)
        rule = facts.rules.get(node)
        if rule is not None and rule.is_source:
            plan.rows[node.name] = channel_ids(channels)
    order_channels(plan.stored, plan.rows, facts, spaces)
    return plan


def untouched_plan(facts: Facts) -> Plan:
    """Return the plan that removes nothing."""
    every = {node.name: tuple(range(value.num_channels)) for node, value in facts.values.items()}
    sources = {node.name for node, rule in facts.rules.items() if rule.is_source}
    return Plan(stored=every, rows={name: ids for name, ids in every.items() if name in sources})
