"""Convolution (not grouped, not transposed) and Linear: where channels are made and read."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.layer_cost import conv_shape
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.rules.base import ChannelSets, Facts, channelwise, one_input
from compactmtl.compiler.rules.layer import Layer
from compactmtl.compiler.rules.sharing import (
    live_input,
    lowered_calls,
    read_anywhere,
    read_together,
)
from compactmtl.compiler.rules.weights import (
    argument,
    num_groups,
    refuses_weights,
    set_rows,
    sum_of_taps,
    used_columns,
)

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Conv(Layer):
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

    A layer that is called several times is cut once, for all calls (see ``sharing``): what is said
    of constants holds for those that are the same in all calls, and rows and columns stay that any
    call needs. Layers with one weight and biases of their own count as one layer.

    Leaves alone: grouped convolutions, a weight that is computed, or used by another kind of op.
    """

    ops = frozenset({"conv1d", "conv2d", "conv3d", "linear"})

    def wants_axis(self, node: fx.Node) -> int | None:
        """Want axis 1; a linear layer the last one."""
        source = node.args[0]
        if not isinstance(source, fx.Node) or "conv" in str(node.target):
            return 1
        return int(source.meta["val"].ndim) - 1

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse groups, and what ``refuses_weights`` does."""
        why = refuses_weights(node, facts)
        return why or ("it is a grouped convolution" if num_groups(node) != 1 else "")

    def _weight(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the weight as (rows, columns, ...)."""
        return facts.tensor(node.args[1])

    def _pattern(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return where a kernel of (rows, columns) is not zero."""
        return facts.pattern(node.args[1])

    def uses(self, node: fx.Node, rows: Tensor, facts: Facts) -> Tensor:
        """Return the columns that are not zero in any of the rows."""
        return used_columns(self._pattern(node, facts), rows)

    def outgoing(self, node: fx.Node, facts: Facts, coming: Tensor, *, has_border: bool) -> Tensor:
        """Add the products with constants and the bias, where nothing else is read."""
        varies = coming.isnan()
        if has_border:
            varies = varies | (coming != 0)
        weight, pattern = self._weight(node, facts), self._pattern(node, facts)
        reads_varying = (pattern & varies).any(1)
        folded = ~varies & (coming != 0)
        result = torch.zeros(weight.shape[0], dtype=torch.float64)
        if folded.any():
            result = sum_of_taps(weight[:, folded].double()) @ coming[folded]
        bias = argument(node, 2, None)
        if bias is not None:
            result = result + facts.tensor(bias).double()
        return torch.where(reads_varying, torch.full_like(result, math.nan), result)

    def carrier(self, node: fx.Node, facts: Facts) -> int | None:
        """Return the constant input channel that stands for all constant ones, if one is needed."""
        coming = self.incoming(node, facts).nan_to_num(0.0)
        if not self.is_bordered(node, facts) or not coming.any():
            return None
        rows = self.row_constants(node, facts).isnan() & self.live_rows(node, facts)
        read = self.uses(node, rows, facts)
        candidates = torch.where(read, coming.abs(), torch.zeros_like(coming))
        return int(candidates.argmax()) if candidates.max() > 0 else None

    def carriers(self, node: fx.Node, facts: Facts) -> list[int]:
        """Return the carrier as a list: it, or nothing."""
        carrier = self.carrier(node, facts)
        return [] if carrier is None else [carrier]

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the columns that the computed rows use, constants only through the carrier.

        A row that is live in another call only may be anything in this one, so it reads nothing.
        """
        rows = facts.live[node] & self.row_constants(node, facts).isnan()
        used, coming = self.uses(node, rows, facts), self.incoming(node, facts)
        read = used & coming.isnan()
        carrier = self.carrier(node, facts)
        if carrier is not None and (used & (coming.nan_to_num(0.0) != 0)).any():
            read[carrier] = True
        return one_input(node, read)

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need what any call reads; at least one channel, so that there is something to read."""
        read = read_anywhere(self, node, facts)
        if needed.any() and not read.any():
            read = read.clone()
            read[int(live_input(node, facts).int().argmax())] = True
        return one_input(node, read)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut rows and columns, fold constants, gather if it pays; once all calls are there."""
        facts, old, bias = lowering.facts, lowering.original(node), argument(node, 2, None)
        layout = lowering.rows(old)
        kept = torch.tensor(layout, dtype=torch.int64)
        weight = to_double(self._weight(old, facts)[kept])
        bias_value = None if bias is None else lowering.tensor(bias)[kept]
        constants = self.row_constants(old, facts)[kept]
        live = self.live_rows(old, facts)[kept]
        coming = self.incoming(old, facts).nan_to_num(0.0).to(weight.dtype)
        constant, carrier = coming != 0, self.carrier(old, facts)
        if constant.any():
            folded = weight[:, constant]
            weight[:, constant] = 0
            if carrier is not None:
                scale = (coming[constant] / coming[carrier]).reshape(-1, *[1] * (weight.ndim - 2))
                weight[:, carrier] = (folded * scale).sum(1)
            else:
                shift = sum_of_taps(folded) @ coming[constant]
                if shift.any():
                    bias_value = shift if bias_value is None else bias_value + shift
        weight, bias_value = set_rows(
            weight, bias_value, computed=live & constants.isnan(), live=live, constants=constants
        )
        lowering.set_bias(node, bias_value)
        if old is lowered_calls(old, lowering)[-1]:
            # What is not read may be stored all the same, with any content: a constant 0 is not 0.
            weight[:, ~read_anywhere(self, old, facts)] = 0
            read = self.needs(old, lowering.need(old), facts)[channelwise(old)]
            columns = read_together(
                old,
                lowering,
                read,
                lambda width: conv_shape(old, rows=len(layout), columns=width),
            )
            if columns != tuple(range(weight.shape[1])):
                weight = weight[:, torch.tensor(columns, dtype=torch.int64)]
            lowering.replace_tensor(node, 1, self._stored(weight))
        return layout

    def _stored(self, weight: Tensor) -> Tensor:
        """Return (rows, columns, ...) in the order of the op's weight."""
        return weight
