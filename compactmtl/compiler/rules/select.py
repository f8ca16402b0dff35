"""Selections of channels: by a constant index, as the compiler inserts it, and slices."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule, channelwise, one_input

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Select(Rule):
    """``y[:, j] = x[:, index[j]]`` with a constant index tensor.

    Rewrites: it goes; who reads it reads a selection of x instead, which is x itself, a slice
    where the channels lie side by side, or an ``index_select``. Selections of selections merge.
    Leaves alone: selection along another axis, an index that is computed.
    Algebra: output j is input index[j] in everything.
    """

    ops = frozenset({"index_select"})
    is_source = True

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse other axes and computed indices."""
        index = node.args[2]
        if not (isinstance(index, fx.Node) and index.op == "get_attr"):
            return "its index is computed"
        why = super().refuses(node, facts)
        if not why and not is_along_channels(node, facts):
            why = "it does not select channels"
        return why

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def _index(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the input channel of each output channel."""
        return facts.tensor(node.args[2])

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Select the constants."""
        return facts.constants[channelwise(node)][self._index(node, facts)]

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read what the live outputs point at."""
        return self.needs(node, facts.live[node], facts)

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need what the needed outputs point at."""
        wanted = torch.zeros(facts.num_channels(channelwise(node)), dtype=torch.bool)
        wanted[self._index(node, facts)[needed]] = True
        return one_input(node, wanted)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Leave it to the readers."""
        old = lowering.original(node)
        index = self._index(old, lowering.facts).tolist()
        return lowering.view(node, dict(enumerate(index)), lowering.rows(old))


class Slice(Select):
    """``y[:, j] = x[:, start + j * step]``: splits and chunks too, once they are normalised.

    Rewrites and algebra: those of ``Select``.
    Leaves alone: slices along another axis, bounds that are computed.
    """

    ops = frozenset({"slice"})

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse other axes and computed bounds."""
        if not all(bound is None or isinstance(bound, int) for bound in node.args[2:]):
            return "its bounds are computed"
        why = Rule.refuses(self, node, facts)
        if not why and not is_along_channels(node, facts):
            why = "it does not slice channels"
        return why

    def _index(self, node: fx.Node, facts: Facts) -> Tensor:
        return torch.arange(facts.num_channels(channelwise(node)))[slice(*node.args[2:])]


def is_along_channels(node: fx.Node, facts: Facts) -> bool:
    """Tell whether a selection is along the channel axis of its input."""
    axis = node.args[1] if len(node.args) > 1 else 0
    assert isinstance(axis, int)
    return bool(axis % node.meta["val"].ndim == facts.values[channelwise(node)].axis)
