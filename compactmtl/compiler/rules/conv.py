"""Convolution (not grouped, not transposed) and Linear: where channels are made and read."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.cost import conv_shape
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.rules.base import (
    ChannelSets,
    Facts,
    Rule,
    channelwise,
    one_input,
)
from compactmtl.compiler.rules.weights import (
    argument,
    is_padded,
    num_groups,
    refuses_weights,
    set_rows,
    sum_of_taps,
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

    def wants_axis(self, node: fx.Node) -> int | None:
        """Want axis 1; a linear layer the last one."""
        source = node.args[0]
        if not isinstance(source, fx.Node) or "conv" in str(node.target):
            return 1
        return int(source.meta["val"].ndim) - 1

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse groups, computed weights, weights with several readers, unusual ranks."""
        why = refuses_weights(node, facts)
        return why or ("it is a grouped convolution" if num_groups(node) != 1 else "")

    def _weight(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the weight as (rows, columns, ...)."""
        return facts.tensor(node.args[1])

    def _pattern(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return where a kernel of (rows, columns) is not zero."""
        return facts.pattern(node.args[1])

    def _has_border(self, node: fx.Node) -> bool:
        """Tell whether some positions of the output do not see all taps of the kernel."""
        return is_padded(node)

    def _constant_columns(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return for each column the constant that comes in, 0 where it varies."""
        return facts.constants[channelwise(node)].nan_to_num(0.0)

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """A row is constant if it reads nothing that varies, not even a constant's border."""
        incoming = self._constant_columns(node, facts)
        varies = facts.constants[channelwise(node)].isnan()
        if self._has_border(node):
            varies = varies | (incoming != 0)
        weight, pattern = self._weight(node, facts), self._pattern(node, facts)
        reads_varying = (pattern & varies).any(1)
        folded = ~varies & (incoming != 0)
        result = torch.zeros(weight.shape[0], dtype=torch.float64)
        if folded.any():
            result = sum_of_taps(weight[:, folded].double()) @ incoming[folded]
        bias = argument(node, 2, None)
        if bias is not None:
            result = result + facts.tensor(bias).double()
        return torch.where(reads_varying, torch.full_like(result, math.nan), result)

    def carrier(self, node: fx.Node, facts: Facts) -> int | None:
        """Return the constant input channel that stands for all constant ones, if one is needed."""
        incoming = self._constant_columns(node, facts)
        if not self._has_border(node) or not incoming.any():
            return None
        read = self._used(node, facts)
        candidates = torch.where(read, incoming.abs(), torch.zeros_like(incoming))
        return int(candidates.argmax()) if candidates.max() > 0 else None

    def carriers(self, node: fx.Node, facts: Facts) -> list[int]:
        """Return the carrier as a list: it, or nothing."""
        carrier = self.carrier(node, facts)
        return [] if carrier is None else [carrier]

    def _rows(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the rows that have to be computed: live, and not a constant that fits the bias."""
        return facts.live[node] & facts.constants[node].isnan()

    def _used(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the columns in which a computed row is not zero."""
        return self._pattern(node, facts)[self._rows(node, facts)].any(0)

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the columns that the computed rows use, constants only through the carrier."""
        read = self._used(node, facts) & facts.constants[channelwise(node)].isnan()
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
        old, bias = lowering.original(node), argument(node, 2, None)
        layout = lowering.rows(old)
        kept = torch.tensor(layout, dtype=torch.int64)
        weight = to_double(self._weight(old, facts)[kept])
        bias_value = None if bias is None else lowering.tensor(bias)[kept]
        rows, live = self._rows(old, facts)[kept], facts.live[old][kept]
        incoming = self._constant_columns(old, facts).to(weight.dtype)
        constant, carrier = incoming != 0, self.carrier(old, facts)
        if constant.any():
            folded = weight[:, constant]
            weight[:, constant] = 0
            if carrier is not None:
                scale = (incoming[constant] / incoming[carrier]).reshape(
                    -1, *[1] * (weight.ndim - 2)
                )
                weight[:, carrier] = (folded * scale).sum(1)
            else:
                shift = sum_of_taps(folded) @ incoming[constant]
                if shift.any():
                    bias_value = shift if bias_value is None else bias_value + shift
        weight, bias_value = set_rows(
            weight, bias_value, computed=rows, live=live, constants=facts.constants[old][kept]
        )
        # What is not read may be stored all the same, with any content: a constant 0 is not 0 then.
        weight[:, ~self.reads(old, facts)[source]] = 0
        read = self.needs(old, lowering.need(old), facts)[source]
        columns = lowering.read(
            node, read, lambda width: conv_shape(old, rows=len(layout), columns=width)
        )
        if len(columns) < weight.shape[1]:
            weight = weight[:, torch.tensor(columns, dtype=torch.int64)]
        lowering.replace_tensor(node, 1, self._stored(weight))
        lowering.set_bias(node, bias_value)
        return layout

    def _stored(self, weight: Tensor) -> Tensor:
        """Return (rows, columns, ...) in the order of the op's weight."""
        return weight
