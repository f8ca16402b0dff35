"""Transposed convolution."""

from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.weights import TRANSPOSED


class TransposedConv(Conv):
    """``y[:, o] = sum_i T(W[i, o], x[:, i]) + b[o]``, T a transposed convolution (1d, 2d, 3d).

    Rewrites: rows (dim 1 of the weight) and columns (dim 0) as ``Conv`` does.
    Leaves alone: grouped transposed convolutions, and what ``Conv`` leaves alone.
    Algebra: near the border, and between strides, an output sees only some of the taps, so a
    constant other than 0 never gives a constant, whatever the padding. T is linear in W, so the
    constant channels still fold into one carrier: ``sum_i T(W_i, k_i) = T(sum_i k_i/k W_i, k)``.
    """

    ops = TRANSPOSED

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse what ``Conv`` refuses."""
        why = super().refuses(node, facts)
        return why.replace("a grouped", "a grouped transposed")

    def _weight(self, node: fx.Node, facts: Facts) -> Tensor:
        return super()._weight(node, facts).transpose(0, 1)

    def _pattern(self, node: fx.Node, facts: Facts) -> Tensor:
        return super()._pattern(node, facts).t()

    def has_border(self, node: fx.Node) -> bool:
        """Return True: near the border an output does not see all taps, padded or not."""
        return True

    def _stored(self, weight: Tensor) -> Tensor:
        return weight.transpose(0, 1)
