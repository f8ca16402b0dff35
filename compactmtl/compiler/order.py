"""The order in which channels are stored, where it is free: by class of a convolution's groups."""

from collections.abc import Mapping, Sequence, Set

import torch
from torch import Tensor, fx

from compactmtl.compiler.analysis import reads_size_only
from compactmtl.compiler.rules import Facts, OneByOne, PairByPair
from compactmtl.compiler.rules.against import AgainstConstant
from compactmtl.compiler.rules.base import channelwise
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.operand import Broadcast, ChannelParameter
from compactmtl.compiler.rules.split import Split
from compactmtl.compiler.spaces import Space

IN_ANY_ORDER = (OneByOne, PairByPair, ChannelParameter, Broadcast, AgainstConstant)
"""Rules that pass on whatever order the channels of their inputs have."""


Layouts = dict[str, tuple[int, ...]]


def order_channels(
    stored: Layouts, rows: Layouts, facts: Facts, spaces: Mapping[fx.Node, Space]
) -> None:
    """Let the parts of a split convolution read slices, and be read without a gather.

    The first to be asked decides about a space.

    Args:
        stored: Per node the channels that must be stored; sorted in place.
        rows: Per source the output channels it computes; sorted in place.
        facts: The captured graph.
        spaces: Of its values.
    """
    ordered: set[int] = set()
    for node, rule in facts.rules.items():
        if not isinstance(rule, Split) or not stored[node.name]:
            continue
        needed = torch.zeros(facts.num_channels(node), dtype=torch.bool)
        needed[list(stored[node.name])] = True
        read = rule.columns(node, needed, facts).flatten()
        source = channelwise(node)
        ranks = {source: rule.rank(node, len(read)), node: rule.rank(node, len(needed))}
        ranks[source][~read] = len(rule.classes)  # behind what is read
        for value, rank in ranks.items():
            space = spaces[value]
            if id(space) not in ordered and is_free(space, node, facts):
                ordered.add(id(space))
                _sort((stored, rows), space, rank)


def _sort(kinds: Sequence[Layouts], space: Space, rank: Tensor) -> None:
    ranks = rank.tolist()
    for node in space.nodes:
        for layouts in kinds:
            if node.name in layouts:
                layouts[node.name] = tuple(sorted(layouts[node.name], key=lambda c: (ranks[c], c)))


def is_free(space: Space, split: fx.Node, facts: Facts) -> bool:
    """Tell whether the channels of a space can be stored in any order, at no cost.

    Ungrouped convolutions must make them, or ``split``; and ungrouped ones read them, or ``split``.

    Args:
        space: The space of what ``split`` reads or makes.
        split: A grouped convolution that is, or may be, written as several.
        facts: The captured graph.
    """
    inside = set(space.nodes)
    return not space.joint and all(
        _is_made_freely(node, inside, split, facts)
        and all(_is_read_freely(user, inside, split, facts) for user in node.users)
        for node in space.nodes
    )


def _is_made_freely(node: fx.Node, inside: Set[fx.Node], split: fx.Node, facts: Facts) -> bool:
    rule = facts.rules.get(node)
    if node is split or isinstance(rule, Conv):
        return True
    return isinstance(rule, IN_ANY_ORDER) and not inside.isdisjoint(rule.couples(node))


def _is_read_freely(user: fx.Node, inside: Set[fx.Node], split: fx.Node, facts: Facts) -> bool:
    rule = facts.rules.get(user)
    if rule is None:
        return reads_size_only(user, facts)
    return user is split or user in inside or isinstance(rule, Conv)
