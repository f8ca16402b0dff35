"""Grouped convolution, also with several filters per channel: every group keeps equal numbers."""

import math
from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.layer_cost import conv_shape
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.rules.base import ChannelSets, Facts, channelwise, one_input
from compactmtl.compiler.rules.layer import Layer
from compactmtl.compiler.rules.sharing import live_input, lowered_calls, read_anywhere
from compactmtl.compiler.rules.weights import (
    argument,
    by_group,
    num_groups,
    refuses_weights,
    set_rows,
    sum_of_taps,
)

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Grouped(Layer):
    """``y[:, g, r] = sum_c W[g, r, c] * x[:, g, c] + b[g, r]``, * a convolution (1d, 2d, 3d).

    Rewrites:
        1. A group without a needed row goes with its columns.
        2. The groups that stay keep as many rows as the one with most needed rows, and as many
           columns as the one with most columns that are read: the others are filled up with rows
           and columns of their own of weight zero. G groups of C columns and R rows are left.
        3. The input comes in exactly that layout, through a select where it stores another.
        4. Constants as in ``Conv``: into the bias, or with zero padding onto one carrier per group.
        5. All calls of one layer keep the same rows and columns, those that any of them needs.

    Leaves alone: what ``Conv`` leaves alone.
    Algebra: that of ``Conv`` within each group.
    """

    ops = frozenset({"conv1d", "conv2d", "conv3d"})

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse what ``refuses_weights`` does, and a single group."""
        why = refuses_weights(node, facts)
        return why or ("it has one group" if num_groups(node) == 1 else "")

    # All of the following are by group: rows (G, R), columns (G, C), kernels (G, R, C).

    def _incoming(self, node: fx.Node, facts: Facts) -> Tensor:
        return self.incoming(node, facts).reshape(num_groups(node), -1)

    def _pattern(self, node: fx.Node, facts: Facts) -> Tensor:
        return by_group(node, facts.pattern(node.args[1]))

    def uses(self, node: fx.Node, rows: Tensor, facts: Facts) -> Tensor:
        """Return the columns that are not zero in any of the rows of their group."""
        return self._columns_of(node, rows, facts).flatten()

    def _columns_of(self, node: fx.Node, rows: Tensor, facts: Facts) -> Tensor:
        pattern = self._pattern(node, facts)
        return (pattern & rows.reshape(*pattern.shape[:2], 1)).any(1)

    def _used(self, node: fx.Node, facts: Facts, live: Tensor) -> Tensor:
        """Return the columns in which a live row is not zero that has to be computed."""
        return self._columns_of(node, live & self.row_constants(node, facts).isnan(), facts)

    def _carriers(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the columns that stand for all constant ones of their group; none unpadded."""
        used = self._used(node, facts, self.live_rows(node, facts))
        coming = self._incoming(node, facts).nan_to_num(0.0)
        if not self.is_bordered(node, facts):
            return torch.zeros_like(used)
        candidates = torch.where(used, coming.abs(), torch.zeros_like(coming))
        largest, column = candidates.max(1, keepdim=True)
        return torch.zeros_like(used).scatter_(1, column, largest > 0)

    def carriers(self, node: fx.Node, facts: Facts) -> list[int]:
        """Return the constant input channels that stand for all constant ones, one per group."""
        carriers: list[int] = self._carriers(node, facts).flatten().nonzero().flatten().tolist()
        return carriers

    def outgoing(self, node: fx.Node, facts: Facts, coming: Tensor, *, has_border: bool) -> Tensor:
        """Add the products with constants and the bias, where nothing else is read."""
        coming = coming.reshape(num_groups(node), -1)
        pattern = self._pattern(node, facts)
        varies = coming.isnan()
        if has_border:
            varies = varies | (coming != 0)
        taps = sum_of_taps(facts.tensor(node.args[1]).double()).reshape(pattern.shape)
        folded = torch.where(varies, torch.zeros_like(coming), coming)
        result: Tensor = torch.einsum("grc,gc->gr", taps, folded).flatten()
        bias = argument(node, 2, None)
        if bias is not None:
            result = result + facts.tensor(bias).double()
        reads_varying = (pattern & varies[:, None]).any(2).flatten()
        return torch.where(reads_varying, torch.full_like(result, math.nan), result)

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the columns that the computed rows use, constants only through carriers."""
        used, coming = self._used(node, facts, facts.live[node]), self._incoming(node, facts)
        uses_constants = (used & (coming.nan_to_num(0.0) != 0)).any(1, keepdim=True)
        carriers = self._carriers(node, facts) & uses_constants
        return one_input(node, (used & coming.isnan() | carriers).flatten())

    def pad_rows(self, node: fx.Node, needed: Tensor, facts: Facts) -> Tensor:
        """Fill every group with a needed row up to the same number of rows."""
        rows = needed.reshape(num_groups(node), -1)
        live = self.live_rows(node, facts).reshape(rows.shape)
        return self._even(rows, rows.any(1), live).flatten()

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need what is read, filled up to the same number of columns, one at least."""
        read = read_anywhere(self, node, facts).reshape(num_groups(node), -1)
        alive = needed.reshape(num_groups(node), -1).any(1)
        live = live_input(node, facts).reshape(read.shape)
        return one_input(node, self._even(read & alive[:, None], alive, live).flatten())

    def _even(self, chosen: Tensor, groups: Tensor, preferred: Tensor) -> Tensor:
        """Add to each of ``groups`` until all have equally many, see ``fill``."""
        return fill(chosen, groups, preferred)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut rows, columns and groups, fold constants, bring the input to the layout."""
        old = lowering.original(node)
        layout = lowering.rows(old)
        alive, weight, bias = self._kernels(old, layout, lowering)
        columns = self._columns(node, lowering, alive, rows=weight.shape[1])
        weight = torch.stack([w[:, c] for w, c in zip(weight, columns, strict=True)])
        lowering.replace_tensor(node, 1, weight.flatten(0, 1))
        lowering.set_bias(node, bias)
        node.update_arg(6, len(alive))
        return layout

    def _kernels(
        self, old: fx.Node, layout: tuple[int, ...], lowering: "Lowering"
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return what is left of some rows, equally many of each of their groups.

        Args:
            old: The captured node.
            layout: The rows, ascending.
            lowering: The rewriting.

        Returns:
            The groups; their weight (G, R, C, ...), constants folded, columns 0 that nobody reads;
            and the bias of the rows.
        """
        facts, groups = lowering.facts, num_groups(old)
        kept = torch.tensor(layout, dtype=torch.int64)
        per_group = facts.num_channels(old) // groups
        alive = torch.tensor(sorted({row // per_group for row in layout}))
        shape = (len(alive), len(layout) // len(alive))  # groups, rows per group
        weight = to_double(facts.tensor(old.args[1])[kept])
        bias = argument(old, 2, None)
        bias_value = None if bias is None else lowering.tensor(bias)[kept]
        weight = weight.reshape(*shape, *weight.shape[1:])
        coming = self._incoming(old, facts)[alive].nan_to_num(0.0)
        weight, shift = _fold(weight, coming, self._carriers(old, facts)[alive])
        # What is not read may be stored all the same, with any content: a constant 0 is not 0 then.
        read = read_anywhere(self, old, facts).reshape(groups, 1, -1)[alive]
        weight *= read.reshape(*read.shape, *[1] * (weight.ndim - 3))
        if shift.any():
            bias_value = shift if bias_value is None else bias_value + shift
        live, constants = self.live_rows(old, facts)[kept], self.row_constants(old, facts)[kept]
        weight, bias_value = set_rows(
            weight.flatten(0, 1),
            bias_value,
            computed=live & constants.isnan(),
            live=live,
            constants=constants,
        )
        return alive, weight.reshape(*shape, *weight.shape[1:]), bias_value

    def _columns(self, node: fx.Node, lowering: "Lowering", alive: Tensor, *, rows: int) -> Tensor:
        """Let ``node`` read what it needs, or all that is stored; return that as (G, C)."""
        old, source = lowering.original(node), channelwise(node)
        per_group = lowering.facts.num_channels(lowering.original(source)) // num_groups(old)
        owners = [channel // per_group for channel in lowering.layout(source)]
        sizes = set(Counter(owners).values())
        fits = (
            owners == sorted(owners) and sorted(set(owners)) == alive.tolist() and len(sizes) == 1
        )
        wanted = self.needs(old, lowering.need(old), lowering.facts)[channelwise(old)]
        if fits and len(lowered_calls(old, lowering)) == 1:
            groups = len(alive)
            read = torch.tensor(
                lowering.read(
                    node,
                    wanted,
                    lambda width: conv_shape(old, rows=groups * rows, columns=width, groups=groups),
                    widen=False,  # every group must keep equally many
                    stored=lowering.layout(source),
                )
            )
        else:
            read = wanted.nonzero().flatten()
            lowering.gather(node, tuple(read.tolist()))
        return (read % per_group).reshape(len(alive), -1)


def fill(chosen: Tensor, groups: Tensor, preferred: Tensor) -> Tensor:
    """Add to each of ``groups`` (G,) until all have as many chosen (G, N) as the largest, or one.

    Those that are ``preferred`` (G, N) come first, then those of low number.
    """
    size = max(1, int(chosen.sum(1).max()))
    rank = chosen.int() * 2 + preferred.int()
    first = rank.argsort(dim=1, descending=True, stable=True)[:, :size]
    filled = torch.zeros_like(chosen).scatter_(1, first, True)
    return filled & groups[:, None]


def _fold(weight: Tensor, coming: Tensor, carriers: Tensor) -> tuple[Tensor, Tensor]:
    """Take the constant columns out of a weight (G, R, C, ...).

    Args:
        weight: Changed in place.
        coming: (G, C) constants, 0 where a column varies.
        carriers: (G, C) columns that take the others of their group; in a group without one they
            go into the bias.

    Returns:
        The weight, and what is to be added to the bias (G * R,).
    """
    columns = coming.reshape(len(coming), 1, -1, *[1] * (weight.ndim - 3))
    image = (weight * columns).sum(2)  # (G, R, ...): what the constants do together
    weight *= columns == 0
    shift = image.reshape(*image.shape[:2], -1).sum(2)
    for group, column in carriers.nonzero().tolist():
        weight[group, :, column] = image[group] / coming[group, column]
    shift[carriers.any(1)] = 0
    return weight, shift.flatten()
