"""Normalisation with statistics of the input itself: group, instance and layer norm."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule, channelwise, one_input
from compactmtl.compiler.rules.blocks import bring_whole_blocks, whole_blocks
from compactmtl.compiler.rules.sharing import lowered_calls, refuses_sharing
from compactmtl.compiler.rules.weights import argument

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering

CANCELLED = 1e-9
"""Relative to the constants that go in, what comes out is then rounding and no number."""


class GroupNorm(Rule):
    """``y[:, c] = (x[:, c] - mean(g)) / sqrt(var(g) + eps) * weight[c] + bias[c]``, g c's group.

    Rewrites: groups of which no channel is needed go; the input is brought to whole groups; weight,
    bias and the number of groups are cut.
    Leaves alone: a group that is needed in part, for its statistics are those of all its channels.
    Also an eps that is not positive, and parameters that are computed.
    Algebra: ``weight[c] = 0`` makes the channel the constant bias[c]. A group of constants only
    is a group of constants, unless they cancel to 0: then all that the original holds is rounding,
    blown up by 1 / sqrt(eps), and it stays. A live channel reads its group.
    """

    ops = frozenset({"group_norm"})
    cuts = True
    weight, eps = 2, 4  # positions; the bias follows the weight
    unit_eps = 1e-5

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse parameters that cannot be cut, and an eps that keeps nothing from being 0."""
        for position in (self.weight, self.weight + 1):
            parameter = argument(node, position, None)
            is_plain = isinstance(parameter, fx.Node) and parameter.op == "get_attr"
            if parameter is not None and not is_plain:
                return "a parameter of it is computed"
        if not self._eps(node) > 0:
            return "its eps is not positive"
        return super().refuses(node, facts) or self._refuses_cut(node, facts)

    def _refuses_cut(self, node: fx.Node, facts: Facts) -> str:
        return refuses_sharing(node, facts)

    def _eps(self, node: fx.Node) -> float:
        return float(argument(node, self.eps, self.unit_eps))  # type: ignore[arg-type]

    def group_size(self, node: fx.Node, facts: Facts) -> int:
        """Return how many channels share their statistics."""
        num_groups = node.args[1]
        assert isinstance(num_groups, int)
        return facts.num_channels(channelwise(node)) // num_groups

    def _parameter(self, node: fx.Node, facts: Facts, position: int, default: float) -> Tensor:
        """Return weight or bias as one number per channel, NaN where it is not one number."""
        parameter = argument(node, position, None)
        if parameter is None:
            full = (facts.num_channels(channelwise(node)),)
            return torch.full(full, default, dtype=torch.float64)
        return facts.tensor(parameter).double()

    def _reading(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the channels that are not multiplied by 0."""
        return self._parameter(node, facts, self.weight, 1.0) != 0

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Compute the groups that hold constants only; a zero weight leaves the bias."""
        size = self.group_size(node, facts)
        before = facts.constants[channelwise(node)].reshape(-1, size)
        centred = before - before.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + self._eps(node)).rsqrt()
        weight = self._parameter(node, facts, self.weight, 1.0)
        normal = torch.where(weight == 0, 0.0, (centred * scale).flatten())
        after = normal * weight + self._parameter(node, facts, self.weight + 1, 0.0)
        level = before.abs().amax(1, keepdim=True).expand_as(before).flatten()
        cancelled = (weight != 0) & (level > 0) & (after.abs() <= CANCELLED * level)
        return torch.where(cancelled, torch.full_like(after, math.nan), after)

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the whole group of every live channel that is not multiplied by 0."""
        reading = facts.live[node] & self._reading(node, facts)
        return one_input(node, whole_blocks(reading, self.group_size(node, facts)))

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the input's numbering."""
        return [channelwise(node)]

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need whole groups stored."""
        return one_input(node, whole_blocks(needed, self.group_size(node, facts)))

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Bring the input to whole groups and cut parameters and number of groups."""
        old = lowering.original(node)
        size, needed = self.group_size(old, lowering.facts), lowering.need(old)
        if (
            self.cuts and len(lowered_calls(old, lowering)) > 1
        ):  # inputs of two calls may store more
            groups = needed.reshape(-1, size).any(1).nonzero().flatten().tolist()
            layout = tuple(group * size + i for group in groups for i in range(size))
            node.update_arg(0, lowering.select(channelwise(node), layout))
        else:
            groups = bring_whole_blocks(node, lowering, needed, size)
            layout = tuple(group * size + i for group in groups for i in range(size))
        self._cut(node, lowering, layout, len(groups))
        return layout

    def _cut(
        self, node: fx.Node, lowering: "Lowering", layout: tuple[int, ...], num_groups: int
    ) -> None:
        for position in (self.weight, self.weight + 1):
            parameter = argument(node, position, None)
            if parameter is not None:
                lowering.replace_tensor(node, position, lowering.tensor(parameter)[list(layout)])
        node.args = (node.args[0], num_groups, *node.args[2:])


class InstanceNorm(GroupNorm):
    """Group norm with one channel per group: any channel that is not needed goes.

    Rewrites: weight and bias are cut to the stored channels.
    Leaves alone: instance norm with running statistics (see ``BatchNorm``).
    Algebra: that of group norm; a constant channel becomes the constant bias[c].
    """

    ops = frozenset({"instance_norm"})
    weight, eps = 1, 7

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse running statistics."""
        if node.args[3] is not None or not node.args[5]:
            return "it has running statistics"
        return super().refuses(node, facts)

    def group_size(self, node: fx.Node, facts: Facts) -> int:
        """Return 1."""
        return 1

    def _cut(
        self, node: fx.Node, lowering: "Lowering", layout: tuple[int, ...], num_groups: int
    ) -> None:
        args = node.args
        super()._cut(node, lowering, layout, num_groups)
        node.args = args


class LayerNorm(GroupNorm):
    """Layer norm over the channels, the last axis: one group, at every position on its own.

    Rewrites: nothing but the input's layout: all channels in natural order. Readers of the output
    gather what they need.
    Leaves alone: norms over several axes, or over another axis than the channels'.
    Algebra: that of group norm with a single group.
    """

    ops = frozenset({"layer_norm"})
    cuts = False

    def wants_axis(self, node: fx.Node) -> int | None:
        """Want the last axis."""
        return int(node.meta["val"].ndim) - 1

    def _refuses_cut(self, node: fx.Node, facts: Facts) -> str:
        normalised = node.args[1]
        assert isinstance(normalised, (list, tuple))
        return "" if len(normalised) == 1 else "it normalises over several axes"

    def group_size(self, node: fx.Node, facts: Facts) -> int:
        """Return the number of all channels."""
        return facts.num_channels(channelwise(node))

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share nothing: its input is stored whole, its output's other operands need not be."""
        return []

    def _cut(
        self, node: fx.Node, lowering: "Lowering", layout: tuple[int, ...], num_groups: int
    ) -> None:
        """Cut nothing."""
