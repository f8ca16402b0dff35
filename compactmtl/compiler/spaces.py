"""Spaces: values that share one channel numbering, because ops combine them channel by channel."""

from dataclasses import dataclass, field

from torch import fx

from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.sharing import cut_calls, is_shared


@dataclass
class Space:
    """Values with one channel numbering.

    Attributes:
        nodes: The values, in graph order.
        unified: Whether an op combines several of them, as the additions of a residual stream do.
        joint: Whether they must store the same channels: a layer that is called several times has
            one weight, so all its calls make the same rows. A call of which nothing is stored goes,
            and need not agree.
    """

    nodes: list[fx.Node] = field(default_factory=list)
    unified: bool = False
    joint: bool = False


def find_spaces(facts: Facts) -> dict[fx.Node, Space]:
    """Return the space of every value: union of what the rules couple, and of a layer's calls."""
    parent: dict[fx.Node, fx.Node] = {node: node for node in facts.values}

    def root(node: fx.Node) -> fx.Node:
        while parent[node] is not node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for node, rule in facts.rules.items():
        for other in rule.couples(node):
            if facts.num_channels(other) == facts.num_channels(node):
                parent[root(other)] = root(node)
        if rule.cuts:  # a call of which only constants matter has another rule, and its own space
            parent[root(node)] = root(cut_calls(node, facts)[0])
    joint = {root(n) for n, rule in facts.rules.items() if rule.cuts and is_shared(n, facts)}
    spaces: dict[fx.Node, Space] = {}
    for node in facts.values:
        space = spaces.setdefault(root(node), Space())
        space.nodes.append(node)
        space.joint |= root(node) in joint
        space.unified |= node in facts.rules and facts.rules[node].unifies
    return {node: spaces[root(node)] for node in facts.values}
