"""Values put beside each other along another axis than the channels: stack, and concatenation."""

from typing import TYPE_CHECKING

from torch import Tensor, fx

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule
from compactmtl.compiler.rules.joint import common

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Beside(Rule):
    """``y = [x_1, x_2, ...]`` along a new axis, or along one that is not the channels'.

    Rewrites: the operands are brought to one layout.
    Leaves alone: operands whose channels differ in number, or lie along different axes.
    Algebra: channel c of the output holds the operands' channels c, so it is a constant where they
    are the same constant, and it is live in all of them where it is live.
    """

    ops = frozenset({"stack", "cat", "concat"})
    unifies = True

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse operands that do not share their channels one to one."""
        operands = node.args[0]
        if not isinstance(operands, (list, tuple)):
            return "its operands are not listed"
        if not all(isinstance(x, fx.Node) and x in facts.values for x in operands):
            return "an operand has no known channel axis"
        places = {(x.meta["val"].ndim, facts.values[x].axis) for x in self.couples(node)}
        widths = {facts.num_channels(x) for x in self.couples(node)}
        if len(places) > 1 or len(widths) > 1:
            return "its operands do not have the same channels"
        if not _is_stack(node) and _dim(node) == facts.values[self.couples(node)[0]].axis:
            return "it concatenates channels"
        return ""

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Count the new axis of a stack, where it comes before the channels'."""
        axis = facts.values[self.couples(node)[0]].axis
        return axis + (_is_stack(node) and _dim(node) <= axis)

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the numbering of all operands."""
        return list(node.args[0])  # type: ignore[arg-type]

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep what is the same constant in all operands."""
        return common([facts.constants[x] for x in self.couples(node)])

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the live channels of all operands."""
        return dict.fromkeys(self.couples(node), facts.live[node])

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels of all operands stored."""
        return dict.fromkeys(self.couples(node), needed)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Bring the operands to one layout."""
        layouts = {lowering.layout(operand) for operand in self.couples(node)}
        if len(layouts) == 1:
            return layouts.pop()
        wanted = lowering.plan.stored[lowering.original(node).name]
        operands = [lowering.select(operand, wanted) for operand in self.couples(node)]
        node.args = (operands, *node.args[1:])
        return wanted


def _is_stack(node: fx.Node) -> bool:
    return node.target.overloadpacket.__name__ == "stack"  # type: ignore[union-attr, no-any-return]


def _dim(node: fx.Node) -> int:
    """Return the axis along which the operands lie in the output."""
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    assert isinstance(dim, int)
    return dim % int(node.meta["val"].ndim)
