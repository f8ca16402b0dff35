"""Two tensors combined channel by channel: residual additions, gates."""

import math

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.against import against_constant
from compactmtl.compiler.rules.base import ChannelSets, Facts, PairByPair, Rule


class Binary(PairByPair):
    """``y[:, c] = a[:, c] op b[:, c]`` for addition, subtraction and multiplication.

    Rewrites: both operands are brought to one layout, the larger one through a select. An operand
    of which only constants matter is not read, see ``AgainstConstant``.
    Leaves alone: operands of different channel counts or ranks (broadcasting over channels), and
    operands that are parameters.
    Algebra: constants combine by the op; 0 times anything is 0 (modulo Inf and NaN), so the other
    factor is stored there but not read.
    """

    ops = frozenset({"add", "sub", "mul", "maximum", "minimum"})
    unifies = True

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse operands that do not share their channels one to one."""
        pair = node.args[:2]
        if not all(isinstance(a, fx.Node) and a in facts.values for a in pair):
            return "an operand has no known channel axis"
        first, second = (facts.values[a] for a in pair)  # type: ignore[index]
        ranks = {a.meta["val"].ndim for a in pair}  # type: ignore[union-attr]
        if len(ranks) > 1 or first.num_channels != second.num_channels:
            return "its operands do not have the same channels"
        return "" if first.axis == second.axis else "its operands' channels lie along other axes"

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Combine the constants."""
        a, b = (facts.constants[x] for x in node.args[:2])  # type: ignore[index]
        result: Tensor = node.target(a.nan_to_num(0.0), b.nan_to_num(0.0), **node.kwargs)  # type: ignore[operator]
        result = torch.where(a.isnan() | b.isnan(), torch.full_like(result, math.nan), result)
        if _is_product(node):
            result = torch.where((a == 0) | (b == 0), torch.zeros_like(result), result)
        return result

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the live channels of both; of a product with the constant 0 only that factor."""
        first, second = self.couples(node)
        live = facts.live[node]
        if first is second or not _is_product(node):
            return {first: live, second: live}
        zero = facts.constants[first] == 0
        return {first: live & (zero | (facts.constants[second] != 0)), second: live & ~zero}

    def settled(self, node: fx.Node, facts: Facts) -> Rule:
        """Store the constants of an operand that is nothing else."""
        return against_constant(node, facts) or self


def _is_product(node: fx.Node) -> bool:
    return node.target.overloadpacket.__name__ == "mul"  # type: ignore[union-attr, no-any-return]
