"""Pooling, resizing and reductions over space: each channel on its own."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts, OneByOne, PairByPair, channelwise, none_constant

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Spatial(OneByOne):
    """``y[:, c] = f(x[:, c])``, f over positions with weights that sum to 1, or a maximum.

    Rewrites: nothing; the op runs on the stored channels.
    Leaves alone: inputs that are no batch of signals, images or volumes.
    Algebra: such an f maps a constant image to the same constant. Average pooling that counts zero
    padding does not: there only 0 stays constant.
    """

    ops = frozenset({
        "max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices",
        "avg_pool1d", "avg_pool2d", "avg_pool3d",
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
        "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
        "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
        "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
        "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
        "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
    })  # fmt: skip

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse inputs without a batch axis."""
        why = super().refuses(node, facts)
        if why:
            return why
        num_axes = next(int(c) for c in _name(node) if c.isdigit())
        source = channelwise(node).meta["val"]
        return "" if source.ndim == 2 + num_axes else "its input is not a batch of images"

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep constants; where zero padding is averaged in, keep 0 only."""
        before = facts.constants[channelwise(node)]
        if _name(node).startswith("avg_pool") and not _plain_average(node):
            return torch.where(before == 0, before, torch.full_like(before, math.nan))
        return before

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Keep the input's layout."""
        return lowering.layout(channelwise(node))


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]


def _plain_average(node: fx.Node) -> bool:
    """Tell whether every window of an average pool divides by the positions it really holds."""
    divisor = len(node.args) > 6 and node.args[6] is not None
    if len(node.args) > 5 and not node.args[5]:  # it does not count padding
        return not divisor
    padding = node.args[3] if len(node.args) > 3 else 0
    padded = any(padding) if isinstance(padding, (list, tuple)) else bool(padding)
    ceil_mode = len(node.args) > 4 and bool(node.args[4])
    return not (padded or ceil_mode or divisor)


class PoolOutput(Spatial):
    """Output 0 (maxima) or 1 (their positions) of a max pool that returns both.

    Rewrites: nothing. Leaves alone: elements of any other tuple.
    Algebra: maxima of a constant channel are that constant; positions are never a constant.
    """

    ops = frozenset({"getitem"})

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse tuples that do not come from a pool with a rule."""
        parent = node.args[0]
        if not isinstance(parent, fx.Node) or not isinstance(facts.rules.get(parent), Spatial):
            return "it takes a part of an op that has no rule"
        return ""

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep the constants of the maxima."""
        before = facts.constants[channelwise(node)]
        return before if node.args[1] == 0 else none_constant(before.numel())


class Unpool(PairByPair):
    """Max-unpooling: each channel's numbers go to the positions that its own pooling remembered.

    Rewrites: values and positions are brought to one layout.
    Leaves alone: values and positions with different channel counts.
    Algebra: a channel of constant 0 stays 0; any other constant becomes a pattern that varies.
    """

    ops = frozenset({"max_unpool2d"})

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse operands that do not share their channels one to one."""
        pair = node.args[:2]
        if not all(isinstance(a, fx.Node) and a in facts.values for a in pair):
            return "an operand has no known channel axis"
        first, second = (facts.num_channels(a) for a in pair)  # type: ignore[arg-type]
        return "" if first == second else "values and positions do not have the same channels"

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep zeros only."""
        before = facts.constants[channelwise(node)]
        return torch.where(before == 0, before, torch.full_like(before, math.nan))
