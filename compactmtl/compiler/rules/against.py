"""Two values of which one does not depend on the input: only the other is read."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule
from compactmtl.compiler.value import symbolic_shape

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class AgainstConstant(Rule):
    """``y[:, c] = x[:, c] op k[c]``, where k was computed, but not from the input.

    It takes the place of another rule once it is known which channels are live.

    Rewrites: k is stored, one number per channel, and what computed it is not read any more. Where
    k changes nothing (x + 0, x - 0, x * 1) the op goes.
    Leaves alone: an x that is smaller than y, for its size would be lost.
    Algebra: that of the op; ``x * 0`` does not read x.
    """

    ops = frozenset()

    def __init__(self, numbers: Tensor, position: int) -> None:
        """Take k, one number per channel or one for all, and its position among the operands."""
        self._numbers = numbers.nan_to_num(0.0)
        self._position = position

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return what the op's own rule found."""
        return facts.constants[node]

    def _kept(self, node: fx.Node) -> fx.Node:
        kept = node.args[1 - self._position]
        assert isinstance(kept, fx.Node)
        return kept

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the live channels of x that are not multiplied by 0."""
        channels = facts.live[node]
        if _name(node) == "mul":
            channels = channels & (self._numbers != 0)
        return {self._kept(node): channels}

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the numbering of x."""
        return [self._kept(node)]

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels stored."""
        return {self._kept(node): needed}

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Store k instead of what computed it, or drop the op."""
        old, kept = lowering.original(node), self._kept(node)
        layout = lowering.layout(kept)
        numbers = self._numbers if len(self._numbers) == 1 else self._numbers[list(layout)]
        live = lowering.facts.live[old][list(layout)]
        if self._is_idle(old, numbers.expand(len(layout))[live]):
            return lowering.stand_in(node, kept, layout)
        operand = old.args[self._position]
        assert isinstance(operand, fx.Node)
        node.update_arg(self._position, lowering.store(node, numbers, like=operand))
        return layout

    def _is_idle(self, node: fx.Node, numbers: Tensor) -> bool:
        """Tell whether the op with ``numbers`` returns x."""
        if node.meta["val"].dtype != self._kept(node).meta["val"].dtype:
            return False
        if _name(node) == "mul":
            return bool((numbers == 1).all())
        is_sum = _name(node) == "add" and not node.kwargs
        is_difference = _name(node) == "sub" and self._position == 1
        return (is_sum or is_difference) and not numbers.any()


def against_constant(node: fx.Node, facts: Facts, *, one_number: bool = False) -> Rule | None:
    """Return the rule of an op on two values of which one holds only constants that matter.

    Args:
        node: The op.
        facts: What is known so far.
        one_number: Whether the constant must be the same in all its channels.
    """
    for position in (1, 0):
        operand, kept = node.args[position], node.args[1 - position]
        if not isinstance(operand, fx.Node) or operand not in facts.values or operand is kept:
            continue
        if kept not in facts.values or symbolic_shape(kept) != symbolic_shape(node):  # type: ignore[arg-type]
            continue
        numbers = facts.constants[operand]
        if one_number:
            same = bool((numbers == numbers[0]).all())
            numbers, matters = numbers[:1], torch.tensor([True])
        else:
            same, matters = True, facts.live[node]
            if _name(node) == "mul":  # by a constant 0 of the other: 0 does as well
                numbers = numbers.masked_fill(numbers.isnan() & (facts.constants[node] == 0), 0.0)
        if same and operand.meta["val"].is_floating_point() and not numbers[matters].isnan().any():
            return AgainstConstant(numbers, position)
    return None


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]
