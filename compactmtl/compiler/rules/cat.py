"""Concatenation along the channels."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Cat(Rule):
    """``y = [x_1, x_2, ...]`` along the channel axis: output channel offset_k + c is x_k's c.

    Rewrites: operands without a stored channel go; the output's layout is the operands', shifted.
    Leaves alone: concatenation along another axis.
    Algebra: constants and liveness are those of the segment.
    """

    ops = frozenset({"cat", "concat"})

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse another axis and operands without channels."""
        operands = node.args[0]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if not isinstance(operands, (list, tuple)):
            return "its operands are not listed"
        if not all(isinstance(x, fx.Node) and x in facts.values for x in operands):
            return "an operand has no known channel axis"
        assert isinstance(axis, int)
        if {facts.values[x].axis for x in self.couples_all(node)} != {axis % node.meta["val"].ndim}:
            return "it does not concatenate channels"
        return ""

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def _segments(self, node: fx.Node, facts: Facts) -> Iterator[tuple[fx.Node, slice]]:
        offset = 0
        for operand in self.couples_all(node):
            size = facts.num_channels(operand)
            yield operand, slice(offset, offset + size)
            offset += size

    @staticmethod
    def couples_all(node: fx.Node) -> list[fx.Node]:
        """Return the operands, one entry per segment."""
        return list(node.args[0])  # type: ignore[arg-type]

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Concatenate the constants."""
        return torch.cat([facts.constants[x] for x in self.couples_all(node)])

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read each segment's live channels; an operand used twice is read for both."""
        return self.needs(node, facts.live[node], facts)

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need each segment's needed channels stored."""
        sets: ChannelSets = {}
        for operand, segment in self._segments(node, facts):
            sets[operand] = sets.get(operand, False) | needed[segment]
        return sets

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Keep the operands that store something and shift their layouts."""
        operands, layout = [], []
        segments = self._segments(lowering.original(node), lowering.facts)
        for operand, (_, segment) in zip(self.couples_all(node), segments, strict=True):
            stored = lowering.layout(operand)
            if stored:
                operands.append(operand)
                layout += [segment.start + channel for channel in stored]
        node.args = (operands, *node.args[1:])
        return tuple(layout)
