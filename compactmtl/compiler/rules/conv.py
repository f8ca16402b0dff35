"""Convolution (not grouped, not transposed) and Linear: where channels are made and read."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import (
    ChannelSets,
    Facts,
    Rule,
    channelwise,
    one_input,
    shared_tensor,
)

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Conv(Rule):
    """``y[:, o] = sum_i W[o, i] * x[:, i] + b[o]``, * a convolution (1d, 2d, 3d) or a product.

    Rewrites:
        1. Rows: only the needed output channels stay; a row whose content nobody needs is zero.
        2. Columns: an input channel with a zero column, or of constant 0, is not read.
        3. An input channel of constant k without zero padding goes into the bias,
           ``b += k * sum(W[:, i])``.
        4. With zero padding the border sees 0, not k: one constant channel, the *carrier* (largest
           abs k), stays and takes the others' columns, ``W[:, carrier] += (k_i / k) W[:, i]``.
           The padding treats it alike, so this is exact at any input size.
        5. The columns that are read come through a gather where the cost model says it pays.

    Leaves alone: grouped convolutions, a weight that is computed or used by several calls.
    """

    ops = frozenset({"conv1d", "conv2d", "conv3d", "linear"})
    is_source = True

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse groups, computed weights, weights with several readers, unusual ranks."""
        weight = node.args[1]
        if not (isinstance(weight, fx.Node) and weight.op == "get_attr"):
            return "its weight is computed"
        shared = shared_tensor(node)
        if shared:
            return f"`{shared}` is used by several calls"
        bias = _argument(node, 2, None)
        if bias is not None and not (isinstance(bias, fx.Node) and bias.op == "get_attr"):
            return "its bias is computed"
        if _argument(node, 6, 1) != 1:
            return "it is a grouped convolution"
        if isinstance(_argument(node, 4, 0), str):
            return "its padding is given as a word"
        source = node.args[0]
        if isinstance(source, fx.Node) and source.meta["val"].ndim != facts.tensor(weight).ndim:
            return "its input has another rank than its weight"
        return super().refuses(node, facts)

    def _weight(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the weight as (rows, columns, taps)."""
        weight = facts.tensor(node.args[1])
        return weight.reshape(*weight.shape[:2], -1)

    def _constant_columns(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return for each column the constant that comes in, 0 where it varies."""
        return facts.constants[channelwise(node)].nan_to_num(0.0)

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """A row is constant if it reads nothing that varies, not even a constant's border."""
        weight = self._weight(node, facts)
        incoming = self._constant_columns(node, facts)
        varies = facts.constants[channelwise(node)].isnan()
        if is_padded(node):
            varies = varies | (incoming != 0)
        reads_varying = (weight[:, varies] != 0).flatten(1).any(1)
        result = weight.double().sum(2)[:, ~varies] @ incoming[~varies]
        bias = _argument(node, 2, None)
        if bias is not None:
            result = result + facts.tensor(bias).double()
        return torch.where(reads_varying, torch.full_like(result, math.nan), result)

    def carrier(self, node: fx.Node, facts: Facts) -> int | None:
        """Return the constant input channel that stands for all constant ones, if one is needed."""
        if not is_padded(node):
            return None
        incoming = self._constant_columns(node, facts)
        rows = self._rows(node, facts)
        read = (self._weight(node, facts)[rows] != 0).any(2).any(0)
        candidates = torch.where(read, incoming.abs(), torch.zeros_like(incoming))
        return int(candidates.argmax()) if candidates.numel() and candidates.max() > 0 else None

    def _rows(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the rows that have to be computed: live, and not a constant that fits the bias."""
        return facts.live[node] & facts.constants[node].isnan()

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the columns that the computed rows use, constants only through the carrier."""
        rows = self._rows(node, facts)
        used = (self._weight(node, facts)[rows] != 0).any(2).any(0)
        read = used & facts.constants[channelwise(node)].isnan()
        carrier = self.carrier(node, facts)
        if carrier is not None:
            read[carrier] = True
        return one_input(node, read)

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need what is read; at least one channel, so that there is something to convolve."""
        read = self.reads(node, facts)[channelwise(node)]
        if needed.any() and not read.any():
            stored = facts.live[channelwise(node)]
            read = read.clone()
            read[int(stored.int().argmax())] = True
        return one_input(node, read)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut rows and columns, fold constants, gather if it pays."""
        facts, source = lowering.facts, lowering.original(channelwise(node))
        old = lowering.original(node)
        weight, bias = lowering.tensor(node.args[1]).clone(), _argument(node, 2, None)
        bias_value = None if bias is None else lowering.tensor(bias).clone()
        incoming = self._constant_columns(old, facts).to(weight.dtype)
        constant = incoming != 0
        rows, live = self._rows(old, facts), facts.live[old]
        carrier = self.carrier(old, facts)
        if constant.any():
            folded = weight[:, constant]
            if carrier is not None:
                scale = (incoming[constant] / incoming[carrier]).reshape(
                    -1, *[1] * (weight.ndim - 2)
                )
                merged = (folded * scale).sum(1)
                weight[:, constant] = 0
                weight[:, carrier] = merged
            else:
                shift = folded.reshape(*folded.shape[:2], -1).sum(2) @ incoming[constant]
                bias_value = shift if bias_value is None else bias_value + shift
                weight[:, constant] = 0
        weight[~rows] = 0
        if bias_value is None and (live & ~rows).any():
            bias_value = torch.zeros(weight.shape[0], dtype=weight.dtype)
        if bias_value is not None:
            outgoing = facts.constants[old].to(weight.dtype)
            bias_value = torch.where(live & ~rows, outgoing, bias_value)
            bias_value[~live] = 0
        layout = lowering.rows(old)
        read = self.needs(old, lowering.need(old), facts)[source]
        columns = lowering.read(node, read, weight=weight[list(layout)])
        lowering.replace_tensor(node, 1, weight[list(layout)][:, list(columns)])
        if bias_value is not None:
            if bias is None:
                lowering.add_bias(node, bias_value[list(layout)])
            else:
                lowering.replace_tensor(node, 2, bias_value[list(layout)])
        return layout


def _argument(node: fx.Node, position: int, default: object) -> object:
    return node.args[position] if len(node.args) > position else default


def is_padded(node: fx.Node) -> bool:
    """Tell whether a convolution pads with zeros."""
    padding = _argument(node, 4, 0) if "conv" in str(node.target) else 0
    return any(padding) if isinstance(padding, (list, tuple)) else bool(padding)
