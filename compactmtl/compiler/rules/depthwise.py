"""Depthwise convolution: one filter per channel."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.layer_cost import conv_shape
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.rules.base import ChannelSets, Facts, one_input
from compactmtl.compiler.rules.layer import Layer
from compactmtl.compiler.rules.sharing import layout_of_all_calls, lowered_calls
from compactmtl.compiler.rules.weights import (
    argument,
    num_groups,
    refuses_weights,
    set_rows,
)

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Depthwise(Layer):
    """``y[:, c] = W[c] * x[:, c] + b[c]``, * a convolution: groups = input = output channels.

    Rewrites: weight, bias and groups are cut to the channels that are read: all that the input
    stores, or the needed ones through a gather where the cost model says it pays. The calls of one
    layer all read the ones that any of them needs.
    Leaves alone: what ``Conv`` leaves alone. Several filters per channel belong to ``Grouped``.
    Algebra: a zero filter, or an input of constant 0, gives the constant b[c]. A constant k gives
    ``b[c] + k * sum(W[c])``, but only without zero padding.
    """

    ops = frozenset({"conv1d", "conv2d", "conv3d"})

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse what ``refuses_weights`` does, and all but one filter per channel."""
        why = refuses_weights(node, facts)
        if why:
            return why
        weight, groups = facts.tensor(node.args[1]), num_groups(node)
        if groups == 1 or weight.shape[0] != groups or weight.shape[1] != 1:
            return "it is not depthwise"
        return ""

    def uses(self, node: fx.Node, rows: Tensor, facts: Facts) -> Tensor:
        """Return the rows themselves, those with a filter."""
        return rows & facts.pattern(node.args[1])[:, 0]

    def outgoing(self, node: fx.Node, facts: Facts, coming: Tensor, *, has_border: bool) -> Tensor:
        """Apply filter and bias to constants; a zero filter makes a constant of anything."""
        pattern = facts.pattern(node.args[1])[:, 0]
        coming = torch.where(pattern, coming, torch.zeros_like(coming))
        if has_border:
            coming = torch.where(coming == 0, coming, torch.full_like(coming, math.nan))
        result: Tensor = coming * facts.tensor(node.args[1]).double().flatten(1).sum(1)
        bias = argument(node, 2, None)
        return result if bias is None else result + facts.tensor(bias).double()

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the live channels that vary."""
        return one_input(node, facts.live[node] & self.row_constants(node, facts).isnan())

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels stored, also those of constant output."""
        return one_input(node, needed)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut weight, bias and groups to the channels that are read."""
        facts, old = lowering.facts, lowering.original(node)
        if len(lowered_calls(old, lowering)) > 1:
            layout = layout_of_all_calls(node, lowering)
        else:
            layout = lowering.read(
                node,
                lowering.need(old),
                lambda width: conv_shape(old, rows=width, columns=width, groups=width),
            )
        lowering.plan.rows[old.name] = layout
        kept = torch.tensor(layout, dtype=torch.int64)
        live, constants = self.live_rows(old, facts)[kept], self.row_constants(old, facts)[kept]
        bias = argument(node, 2, None)
        weight, bias_value = set_rows(
            to_double(facts.tensor(node.args[1])[kept]),
            None if bias is None else lowering.tensor(bias)[kept],
            computed=live & constants.isnan(),
            live=live,
            constants=constants,
        )
        lowering.replace_tensor(node, 1, weight)
        lowering.set_bias(node, bias_value)
        node.update_arg(6, len(layout))
        return layout
