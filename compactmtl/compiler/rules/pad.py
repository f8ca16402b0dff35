"""Padding: a given number around the image or the channels, or a copy of what is inside."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import (
    ChannelSets,
    Facts,
    OneByOne,
    Rule,
    channelwise,
    one_input,
)
from compactmtl.compiler.rules.weights import argument

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Pad(Rule):
    """A number v around ``x``, along space or along the channels.

    Rewrites: padding along the channels is cut to the new channels that are needed.
    Leaves alone: sizes that are computed along the channels, other modes (see ``EdgePad``).
    Algebra: padded in space, the constant v stays, any other becomes a frame; channels added by
    the padding are the constant v.
    """

    ops = frozenset({"pad", "constant_pad_nd"})

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse other modes, and computed or negative sizes along the channels."""
        why = super().refuses(node, facts)
        if why:
            return why
        if _name(node) == "pad" and argument(node, 2, "constant") != "constant":
            return "it pads by copying"
        sizes = _around(node, facts)
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            return "it removes channels, or pads them by a computed number"
        return ""

    def _value(self, node: fx.Node) -> float:
        value = argument(node, 3 if _name(node) == "pad" else 2, 0.0)
        return 0.0 if value is None else float(value)  # type: ignore[arg-type]

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep constants that equal the padding; the new channels are constant."""
        before, value = facts.constants[channelwise(node)], self._value(node)
        if _pads_elsewhere(node, facts):
            before = torch.where(before == value, before, torch.full_like(before, math.nan))
        below, above = (torch.full((n,), value, dtype=before.dtype) for n in _around(node, facts))
        return torch.cat([below, before, above])

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the live channels that are not padding."""
        return self.needs(node, facts.live[node], facts)

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the input's numbering where no channels are added."""
        return [channelwise(node)]

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels stored; at least one, to add others to."""
        below, _ = _around(node, facts)
        wanted = needed[below : below + facts.num_channels(channelwise(node))]
        if needed.any() and not wanted.any():
            stored = facts.live[channelwise(node)]
            wanted = wanted.clone()
            wanted[int(stored.int().argmax())] = True
        return one_input(node, wanted)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Pad with as many channels as are needed."""
        old = lowering.original(node)
        below, above = _around(old, lowering.facts)
        stored = lowering.layout(channelwise(node))
        if not below and not above:
            return stored
        needed = lowering.need(old).nonzero().flatten().tolist()
        top = below + lowering.facts.num_channels(channelwise(old))
        before, after = [c for c in needed if c < below], [c for c in needed if c >= top]
        place = _place(old, lowering.facts)
        sizes = list(node.args[1])  # type: ignore[arg-type]
        sizes[place : place + 2] = [len(before), len(after)]
        node.args = (node.args[0], sizes, *node.args[2:])
        return (*before, *(below + channel for channel in stored), *after)


class EdgePad(OneByOne):
    """Padding in space that copies numbers from inside: reflection, replication, wrapping.

    Rewrites: nothing; the op runs on the stored channels.
    Leaves alone: padding along the channels or with a number.
    Algebra: constants stay.
    """

    ops = frozenset({
        "pad", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
        "replication_pad1d", "replication_pad2d", "replication_pad3d",
    })  # fmt: skip

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse padding of the channels, and inputs without a batch axis."""
        why = super().refuses(node, facts)
        if why:
            return why
        if _name(node) == "pad" and argument(node, 2, "constant") == "constant":
            return "it removes channels, or pads them by a computed number"
        num_axes = len(node.args[1]) // 2  # type: ignore[arg-type]
        if channelwise(node).meta["val"].ndim < 2 + num_axes:
            return "it pads the channels with copies of others"
        return ""

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep constants."""
        return facts.constants[channelwise(node)]

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Keep the input's layout."""
        return lowering.layout(channelwise(node))


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]


def _place(node: fx.Node, facts: Facts) -> int:
    """Return where the sizes for the channel axis are among the sizes: the last axis is first."""
    value = facts.values[channelwise(node)]
    return 2 * (int(channelwise(node).meta["val"].ndim) - 1 - value.axis)


def _around(node: fx.Node, facts: Facts) -> tuple[int, int]:
    """Return how many channels are added before and after."""
    sizes, place = list(node.args[1]), _place(node, facts)  # type: ignore[arg-type]
    return (sizes[place], sizes[place + 1]) if place < len(sizes) else (0, 0)


def _pads_elsewhere(node: fx.Node, facts: Facts) -> bool:
    """Tell whether axes other than the channels' are padded with anything."""
    sizes, place = list(node.args[1]), _place(node, facts)  # type: ignore[arg-type]
    del sizes[place : place + 2]
    return any(size != 0 for size in sizes)
