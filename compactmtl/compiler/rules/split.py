"""Grouped convolution written as several: one for the groups of each size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts, channelwise
from compactmtl.compiler.rules.grouped import Grouped, fill
from compactmtl.compiler.rules.weights import num_groups

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering

aten = torch.ops.aten


class Split(Grouped):
    """``y = [y_1, y_2, ...]``, y_k the convolution of the groups of class k.

    Rewrites: what ``Grouped`` does, but groups are filled up to the largest of their class only.
    Each class with a needed row becomes a convolution of its own, which reads a selection of the
    input; the results are concatenated, and selected from where the plan wants another order.
    Leaves alone: a layer that is called several times. The compiler puts this rule in the place of
    ``Grouped`` where the cost model says that it pays.
    Algebra: groups share nothing, so neither do classes.

    Args:
        classes: Lists of groups; each group is in one of them.
    """

    ops = frozenset()

    def __init__(self, classes: Sequence[Sequence[int]]) -> None:
        self.classes = [sorted(members) for members in classes]

    def rank(self, node: fx.Node, num_channels: int) -> Tensor:
        """Return the class of every channel of the output, or of the input: they are alike."""
        order = torch.empty(num_groups(node), dtype=torch.int64)
        for number, members in enumerate(self.classes):
            order[members] = number
        return order.repeat_interleave(num_channels // num_groups(node))

    def columns(self, node: fx.Node, needed: Tensor, facts: Facts) -> Tensor:
        """Return the input channels that are read where ``needed`` are made, by group: (G, C)."""
        wanted = self.needs(node, needed, facts)[channelwise(node)]
        return wanted.reshape(num_groups(node), -1)

    def _even(self, chosen: Tensor, groups: Tensor, preferred: Tensor) -> Tensor:
        filled = torch.zeros_like(chosen)
        for members in self.classes:
            filled[members] = fill(chosen[members], groups[members], preferred[members])
        return filled

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Write one convolution per class, and put their results beside each other."""
        old, facts = lowering.original(node), lowering.facts
        wanted, source = lowering.rows(old), channelwise(node)
        read = self.columns(old, lowering.need(old), facts)
        rank = self.rank(old, facts.num_channels(old)).tolist()
        rows = [
            tuple(sorted(c for c in wanted if rank[c] == number))
            for number in range(len(self.classes))
        ]
        rows = [part for part in rows if part]
        cut = [self._kernels(old, part, lowering) for part in rows]
        has_bias = any(bias is not None for _, _, bias in cut)
        parts, columns = [], list[int]()
        for number, (part, (alive, weight, bias)) in enumerate(zip(rows, cut, strict=True)):
            kept = [read[group].nonzero().flatten() for group in alive.tolist()]
            kernels = torch.stack([w[:, c] for w, c in zip(weight, kept, strict=True)])
            if has_bias and bias is None:
                bias = kernels.new_zeros(len(part))
            ids = tuple(
                group * read.shape[1] + column
                for group, each in zip(alive.tolist(), kept, strict=True)
                for column in each.tolist()
            )
            tensors = kernels.flatten(0, 1), bias
            parts.append(lowering.part(node, number, tensors, ids, part, len(alive)))
            columns += ids
        if tuple(columns) != lowering.layout(source):
            lowering.plan.gathers[old.name] = tuple(sorted(columns))
        return lowering.join(node, parts, wanted)
