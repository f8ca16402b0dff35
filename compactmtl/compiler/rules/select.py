"""Channel selection by a constant index: what the compiler itself inserts as a gather."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule, channelwise, one_input

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class Select(Rule):
    """``y[:, j] = x[:, index[j]]`` with a constant index tensor.

    Rewrites: the index is cut to the needed outputs and renumbered for the input's layout.
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
        if node.args[1] != 1:
            return "it does not select channels"
        return super().refuses(node, facts)

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Select the constants."""
        return facts.constants[channelwise(node)][facts.tensor(node.args[2])]

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read what the live outputs point at."""
        return self.needs(node, facts.live[node], facts)

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need what the needed outputs point at."""
        wanted = torch.zeros(facts.num_channels(channelwise(node)), dtype=torch.bool)
        wanted[facts.tensor(node.args[2])[needed]] = True
        return one_input(node, wanted)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut and renumber the index."""
        layout = lowering.rows(lowering.original(node))
        stored = lowering.layout(channelwise(node))
        index = lowering.tensor(node.args[2])
        wanted = [stored.index(int(index[channel])) for channel in layout]
        lowering.replace_tensor(node, 2, torch.tensor(wanted))
        return layout
