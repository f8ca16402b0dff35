"""Batch and instance normalisation with running statistics."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import (
    ChannelSets,
    Facts,
    OneByOne,
    channelwise,
    one_input,
)
from compactmtl.compiler.rules.sharing import layout_of_all_calls, refuses_sharing

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering

# aten.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn)
TENSORS = range(1, 5)


class BatchNorm(OneByOne):
    """``y[:, c] = (x[:, c] - mean[c]) * s[c] + bias[c]`` with ``s = weight / sqrt(var + eps)``.

    Rewrites: weight, bias and both statistics are cut to the stored channels; all calls of one
    layer store the same.
    Leaves alone: batch norm in train mode or without statistics. Instance norm with running
    statistics, which is the same formula, is taken too.
    Algebra: ``s[c] = 0`` makes the channel the constant bias[c]; a constant stays constant.
    """

    ops = frozenset({"batch_norm", "instance_norm"})
    cuts = True

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse statistics of the input, missing ones and parameters that are no plain tensors."""
        if node.args[5]:
            return "it takes its statistics from the input"
        if node.args[3] is None or node.args[4] is None:
            return "it has no running statistics"
        for argument in node.args[1:5]:
            if argument is not None and not (
                isinstance(argument, fx.Node) and argument.op == "get_attr"
            ):
                return "a parameter of it is computed"
        return super().refuses(node, facts) or refuses_sharing(node, facts)

    def _scale(self, node: fx.Node, facts: Facts) -> Tensor:
        variance = facts.tensor(node.args[4]).double()
        scale: Tensor = (variance + float(node.args[7])).rsqrt()  # type: ignore[arg-type]
        if node.args[1] is not None:
            scale = scale * facts.tensor(node.args[1]).double()
        return scale

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Apply the affine map to constants; a zero scale makes a constant of anything."""
        scale = self._scale(node, facts)
        bias = 0.0 if node.args[2] is None else facts.tensor(node.args[2]).double()
        mean = facts.tensor(node.args[3]).double()
        before = facts.constants[channelwise(node)]
        before = torch.where(scale == 0, mean, before)
        result: Tensor = (before - mean) * scale + bias
        return torch.where(before.isnan(), torch.full_like(result, math.nan), result)

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read live channels with a scale; the others are their bias whatever comes in."""
        return one_input(node, facts.live[node] & (self._scale(node, facts) != 0))

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut the parameters to the input's layout."""
        layout = layout_of_all_calls(node, lowering)
        for position in TENSORS:
            argument = node.args[position]
            if argument is not None:
                lowering.replace_tensor(node, position, lowering.tensor(argument)[list(layout)])
        return layout
