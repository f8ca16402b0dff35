"""Ops along other axes than the channels': reductions, slices, softmax over positions."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts, OneByOne, channelwise

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering

REDUCTIONS = frozenset({"mean", "sum", "amax", "amin"})
ONE_AXIS = frozenset({"slice", "select", "softmax"})


class AlongOthers(OneByOne):
    """``y[c] = f(x[c])`` with f along one or several axes other than the channels'.

    Rewrites: nothing; the op runs on the stored channels.
    Leaves alone: anything along the channels, and reductions over the batch.
    Algebra: means, extremes and slices of a constant channel are that constant; a sum keeps 0
    only; a softmax depends on the size, so it keeps none.
    """

    ops = REDUCTIONS | ONE_AXIS

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse what touches the channels, and reductions over the batch."""
        why = super().refuses(node, facts)
        if why:
            return why
        axes = _axes(node)
        if not axes or facts.values[channelwise(node)].axis in axes:
            return "it runs along the channels"
        return "it reduces the batch" if _drops(node) and 0 in axes else ""

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Count the axes before the channels' that are gone."""
        axis = facts.values[channelwise(node)].axis
        return axis - sum(a < axis for a in _axes(node)) if _drops(node) else axis

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep constants where f maps a constant to itself."""
        before = facts.constants[channelwise(node)]
        varies = torch.full_like(before, math.nan)
        if _name(node) == "softmax":
            return varies
        return torch.where(before == 0, before, varies) if _name(node) == "sum" else before

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Keep the input's layout."""
        return lowering.layout(channelwise(node))


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]


def _axes(node: fx.Node) -> set[int]:
    """Return the axes that f runs along; none where it runs along all."""
    given = node.args[1] if len(node.args) > 1 else None
    if given is None and _name(node) == "slice":
        given = 0
    axes = given if isinstance(given, (list, tuple)) else [given]
    ndim = channelwise(node).meta["val"].ndim
    return {a % ndim for a in axes if isinstance(a, int)}


def _drops(node: fx.Node) -> bool:
    """Tell whether the axes are gone from the output."""
    if _name(node) in REDUCTIONS:
        return not (len(node.args) > 2 and bool(node.args[2]))
    return _name(node) == "select"
