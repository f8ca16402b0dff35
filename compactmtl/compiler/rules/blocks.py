"""Ops in which one channel of one side is a block of channels of the other."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import statically_known_true

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule, channelwise, one_input

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering

RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "_unsafe_view"})
SHUFFLES = frozenset({"pixel_shuffle", "pixel_unshuffle"})


def whole_blocks(channels: Tensor, size: int) -> Tensor:
    """Return the channels (bool) with every block of ``size`` that holds one of them."""
    return channels.reshape(-1, size).any(1).repeat_interleave(size)


def bring_whole_blocks(node: fx.Node, lowering: "Lowering", wanted: Tensor, size: int) -> list[int]:
    """Let the first argument of ``node`` store whole blocks; return their numbers.

    Args:
        node: A node of the new graph.
        lowering: The rewriting.
        wanted: Channels of the input that must be among them.
        size: Channels per block.
    """
    source = channelwise(node)
    stored = torch.zeros(wanted.numel(), dtype=torch.bool)
    stored[list(lowering.layout(source))] = True
    if torch.equal(stored, whole_blocks(stored, size)):
        wanted = stored
    wanted = whole_blocks(wanted, size)
    layout = tuple(wanted.nonzero().flatten().tolist())
    node.replace_input_with(source, lowering.select(source, layout))
    blocks: list[int] = wanted.reshape(-1, size)[:, 0].nonzero().flatten().tolist()
    return blocks


class Blocks(Rule):
    """Flatten, view and pixel (un)shuffle.

    Spread: output channels c * m ... c * m + m - 1 are input channel c at m positions; so is
    ``flatten(1)`` of an image of m static positions. Join is the inverse. m = 1 keeps the channels.

    Rewrites: the size of the channel axis in a view's arguments. A join brings its input to whole
    blocks.
    Leaves alone: views that mix channels with the batch or with positions of unknown number.
    Algebra: a constant input channel makes m constants; m equal constants join into one.
    """

    ops = RESHAPES | SHUFFLES

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis for views; images have axis 1."""
        return None if _name(node) in RESHAPES else 1

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse views in which the channels cannot be found again."""
        why = super().refuses(node, facts)
        if why:
            return why
        return "" if _find(node, facts) else "its view mixes channels with positions or batch"

    def _found(self, node: fx.Node, facts: Facts) -> tuple[int, int, int]:
        found = _find(node, facts)
        assert found is not None
        return found

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Return where the channels are in the output."""
        return self._found(node, facts)[0]

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Repeat constants per block, or join equal ones."""
        _, spread, join = self._found(node, facts)
        before = facts.constants[channelwise(node)].repeat_interleave(spread).reshape(-1, join)
        first = before[:, 0]
        equal = (before == first[:, None]).all(1)
        return torch.where(equal, first, torch.full_like(first, math.nan))

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read what is live, seen from the other side."""
        return self.needs(node, facts.live[node], facts)

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the input's numbering where the channels stay as they are."""
        return [channelwise(node)]

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the blocks of what is needed."""
        _, spread, join = self._found(node, facts)
        return one_input(node, needed.reshape(-1, spread).any(1).repeat_interleave(join))

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Bring the input to whole blocks and state the new size."""
        old = lowering.original(node)
        axis, spread, join = self._found(old, lowering.facts)
        if join > 1:
            needed = lowering.need(old).repeat_interleave(join)
            blocks: Sequence[int] = bring_whole_blocks(node, lowering, needed, join)
        else:
            blocks = lowering.layout(channelwise(node))
        layout = tuple(block * spread + i for block in blocks for i in range(spread))
        _resize(node, axis, len(layout))
        return layout


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]


def _find(node: fx.Node, facts: Facts) -> tuple[int, int, int] | None:
    """Return (channel axis of the output, spread, join), or None."""
    value = facts.values[channelwise(node)]
    if _name(node) in SHUFFLES:
        factor = node.args[1]
        assert isinstance(factor, int)
        is_join = _name(node) == "pixel_shuffle"
        return (value.axis, 1, factor**2) if is_join else (value.axis, factor**2, 1)
    before = list(channelwise(node).meta["val"].shape)
    after = list(node.meta["val"].shape)
    lead = math.prod(before[: value.axis])
    places = [
        axis for axis, size in enumerate(after)
        if isinstance(size, int) and statically_known_true(math.prod(after[:axis]) == lead)
    ]  # fmt: skip
    for axis in places:
        if after[axis] == value.num_channels:
            return axis, 1, 1
    for axis in places:
        spread, rest = divmod(after[axis], value.num_channels)
        if not rest and _is_prefix(spread, before[value.axis + 1 :]):
            return axis, spread, 1
        join, rest = divmod(value.num_channels, after[axis])
        if not rest and after[axis] > 1 and _is_prefix(join, after[axis + 1 :]):
            return axis, 1, join
    return None


def _is_prefix(number: int, sizes: Sequence[object]) -> bool:
    """Tell whether ``number`` is the product of the first few sizes, all of them static."""
    product = 1
    for size in sizes:
        if product == number or not isinstance(size, int):
            break
        product *= size
    return product == number


def _resize(node: fx.Node, axis: int, size: int) -> None:
    """State a new size of the channel axis in the arguments of a view.

    A view becomes a reshape: whether memory can be viewed depends on how the ops before lay it out.
    """
    name = _name(node)
    if name not in RESHAPES or name == "flatten":
        return
    position, first = (2, node.args[1]) if name == "unflatten" else (1, 0)
    assert isinstance(first, int)
    sizes = list(node.args[position])  # type: ignore[arg-type]
    if first < 0:
        first += node.meta["val"].ndim - len(sizes) + 1
    if first <= axis < first + len(sizes):
        sizes[axis - first] = size
    node.args = (*node.args[:position], sizes, *node.args[position + 1 :])
    if name != "unflatten":
        node.target = torch.ops.aten.reshape.default
