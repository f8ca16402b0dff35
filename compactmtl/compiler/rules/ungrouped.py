"""Grouped convolution written as a dense one: for groups of which very unequal parts are left."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.weights import by_group

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Ungrouped(Conv):
    """``y[:, g, r] = sum_h,c D[g, r, h, c] * x[:, h, c]`` with ``D = W`` where g = h, else 0.

    Rewrites: ``groups = 1`` and a block-diagonal weight; then rows and columns as ``Conv`` does,
    so that no group is filled up to the size of another.
    Leaves alone: what ``Grouped`` leaves alone. The compiler puts this rule in the place of
    ``Grouped`` where the cost model says that it pays.
    Algebra: the products with 0 add nothing.
    """

    def _weight(self, node: fx.Node, facts: Facts) -> Tensor:
        return block_diagonal(by_group(node, facts.tensor(node.args[1])))

    def _pattern(self, node: fx.Node, facts: Facts) -> Tensor:
        return block_diagonal(by_group(node, facts.pattern(node.args[1])))

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Rewrite as a dense convolution."""
        layout = super().lower(node, lowering)
        node.update_arg(6, 1)
        return layout


def block_diagonal(kernels: Tensor) -> Tensor:
    """Return (groups, rows, columns, ...) as one matrix of kernels (rows, columns, ...)."""
    groups, rows, columns, *taps = kernels.shape
    dense = torch.zeros(groups, rows, groups, columns, *taps, dtype=kernels.dtype)
    for group in range(groups):
        dense[group, :, group] = kernels[group]
    return dense.reshape(groups * rows, groups * columns, *taps)
