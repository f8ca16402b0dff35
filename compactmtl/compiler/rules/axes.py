"""Ops that move, add or drop axes and keep the channels: permute, transpose, unsqueeze, squeeze."""

from typing import TYPE_CHECKING

from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts, OneByOne, channelwise

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class MoveAxes(OneByOne):
    """``y = x`` with its axes in another order, with new axes of size 1 or without old ones.

    Rewrites: nothing; the channel axis of the output is where the input's has gone.
    Leaves alone: a squeeze that names no axis, or the channels' own.
    Algebra: channel c of the output is channel c of the input in everything.
    """

    ops = frozenset({"permute", "transpose", "swapaxes", "swapdims", "unsqueeze", "squeeze"})

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse to squeeze the channel axis, or whatever happens to have size 1."""
        why = super().refuses(node, facts)
        if why or _name(node) != "squeeze":
            return why
        if len(node.args) < 2:
            return "it squeezes every axis of size 1"
        return "" if self._moved(node, facts) is not None else "it squeezes the channel axis"

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Return where the channel axis has gone."""
        moved = self._moved(node, facts)
        assert moved is not None
        return moved

    def _moved(self, node: fx.Node, facts: Facts) -> int | None:
        source = channelwise(node)
        axis, ndim = facts.values[source].axis, source.meta["val"].ndim
        order: list[int | None] = list(range(ndim))
        name = _name(node)
        if name == "permute":
            order = [a % ndim for a in _axes(node.args[1])]
        elif name == "unsqueeze":
            order.insert(_axes(node.args[1])[0] % (ndim + 1), None)
        elif name == "squeeze":
            gone = {a % ndim for a in _axes(node.args[1]) if source.meta["val"].shape[a] == 1}
            order = [a for a in order if a not in gone]
        else:
            first, second = (_axes(argument)[0] % ndim for argument in node.args[1:3])
            order[first], order[second] = order[second], order[first]
        return order.index(axis) if axis in order else None

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Keep constants."""
        return facts.constants[channelwise(node)]

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Keep the input's layout."""
        return lowering.layout(channelwise(node))


def _axes(argument: object) -> list[int]:
    """Return one axis or several as a list."""
    values = argument if isinstance(argument, (list, tuple)) else [argument]
    return [value for value in values if isinstance(value, int)]


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]
