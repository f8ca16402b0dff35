"""Choose how a grouped convolution with unequal groups is written: filled up, split, or dense."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor, fx

from compactmtl.compiler.cost import ConvShape, CostModel
from compactmtl.compiler.layer_cost import conv_shape
from compactmtl.compiler.order import is_free
from compactmtl.compiler.rules import Facts, Rule
from compactmtl.compiler.rules.base import channelwise
from compactmtl.compiler.rules.grouped import Grouped
from compactmtl.compiler.rules.sharing import is_shared
from compactmtl.compiler.rules.split import Split
from compactmtl.compiler.rules.ungrouped import Ungrouped
from compactmtl.compiler.rules.weights import num_groups
from compactmtl.compiler.spaces import Space, find_spaces


def regroup(facts: Facts, cost: CostModel) -> Facts:
    """Return facts in which every grouped convolution has the rule that costs least.

    What is constant and what is live does not depend on the choice: all rules are exact.
    """
    if not any(type(rule) is Grouped for rule in facts.rules.values()):
        return facts
    spaces = find_spaces(facts)
    rules = {
        node: _cheapest(node, facts, spaces, cost) if type(rule) is Grouped else rule
        for node, rule in facts.rules.items()
    }
    return replace(facts, rules=rules)


def _cheapest(
    node: fx.Node, facts: Facts, spaces: Mapping[fx.Node, Space], cost: CostModel
) -> Rule:
    rule, live = facts.rules[node], facts.live[node]
    if not live.any() or is_shared(node, facts):  # calls of one layer must be written alike
        return rule
    groups = num_groups(node)
    rows = live.reshape(groups, -1).sum(1)
    read = rule.reads(node, facts)[channelwise(node)].reshape(groups, -1)
    columns, alive = read.sum(1), rows > 0
    widest = max(1, int(columns[alive].max()))  # there must be something to convolve
    kept = _Class(node, _members(alive), int(rows.max()), widest)
    options: list[tuple[float, Rule]] = [(cost.conv(kept.shape), rule)]
    dense = conv_shape(node, rows=int(live.sum()), columns=max(1, int(read.sum())))
    # A model that is compiled does not grow, however slowly a runtime computes groups.
    if dense.num_params <= facts.tensor(node.args[1]).numel():
        options.append((cost.conv(dense), Ungrouped()))
    classes = _classes(node, rows, columns, cost)
    if len(classes) > 1:
        total = sum(one.cost(cost) for one in classes)
        if not is_free(spaces[node], node, facts):  # its readers want the channels in their order
            shape, stored = kept.shape, int(live.sum())
            total += cost.gather(stored=stored, read=stored, positions=shape.positions)
        members = [one.members for one in classes]
        idle = _members(~alive)
        options.append((total, Split([*members, idle] if idle else members)))
    return min(options, key=lambda option: option[0])[1]


@dataclass(frozen=True)
class _Class:
    """Groups that are filled up to the same numbers of rows and columns."""

    node: fx.Node
    members: tuple[int, ...]
    rows: int
    columns: int

    @property
    def shape(self) -> ConvShape:
        """Return the convolution that computes them."""
        num = len(self.members)
        return conv_shape(self.node, rows=num * self.rows, columns=num * self.columns, groups=num)

    def cost(self, cost: CostModel) -> float:
        """Return what it costs, with the copy of its inputs and that of its outputs."""
        shape = self.shape
        sides = ((shape.columns, shape.in_positions), (shape.rows, shape.positions))
        copies = (cost.gather(stored=n, read=n, positions=positions) for n, positions in sides)
        return cost.conv(shape) + sum(copies)

    def __or__(self, other: "_Class") -> "_Class":
        members = tuple(sorted(self.members + other.members))
        rows, columns = max(self.rows, other.rows), max(self.columns, other.columns)
        return _Class(self.node, members, rows, columns)


def _classes(node: fx.Node, rows: Tensor, columns: Tensor, cost: CostModel) -> list[_Class]:
    """Return the groups with a live row, by class; classes merge as long as that costs less.

    Groups that read nothing make constants. They join other groups: a convolution of their own
    would be one of zeros. Whether two classes merge depends on these two alone, so a layer that was
    split once is not split further when it is compiled again.
    """
    sizes: dict[tuple[int, int], list[int]] = {}
    for group, size in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        if size[0]:
            sizes.setdefault(size, []).append(group)
    found = [_Class(node, tuple(members), *size) for size, members in sizes.items()]
    classes = dict.fromkeys(one for one in found if one.columns)
    for constant in (one for one in found if classes and not one.columns):
        host = min(classes, key=lambda one: (one | constant).cost(cost) - one.cost(cost))
        del classes[host]
        classes[host | constant] = None
    costs = {one: one.cost(cost) for one in classes}
    merged = {(a, b): a | b for a, b in combinations(classes, 2)}
    costs.update((one, one.cost(cost)) for one in merged.values())
    while merged:
        gain, pair = max(
            ((costs[a] + costs[b] - costs[one], (a, b)) for (a, b), one in merged.items()),
            key=lambda option: option[0],
        )
        if not gain >= 0:
            break
        new = merged[pair]
        for one in pair:
            del classes[one]
        merged = {two: one for two, one in merged.items() if not set(two) & set(pair)}
        for other in classes:
            merged[other, new] = other | new
            costs[merged[other, new]] = merged[other, new].cost(cost)
        classes[new] = None
    return sorted(classes, key=lambda one: one.members)


def _members(groups: Tensor) -> tuple[int, ...]:
    return tuple(torch.nonzero(groups).flatten().tolist())
