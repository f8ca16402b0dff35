"""Which channels every value must store: sweeps from the outputs backwards."""

from torch import Tensor, fx

from compactmtl.compiler.analysis import reads_size_only
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.spaces import Space


class Needs:
    """The channels that must be stored, per value; they only ever grow.

    All values of a unified space that store anything store the same: they hold one tensor.

    Args:
        facts: The captured graph; what is live is needed.
        unified: The space of every value whose space is unified.
    """

    def __init__(self, facts: Facts, unified: dict[fx.Node, Space]) -> None:
        self._facts = facts
        self.channels = {node: live.clone() for node, live in facts.live.items()}
        self._common: dict[fx.Node, Tensor] = {}
        for space in {id(s): s for s in unified.values()}.values():
            common = self.channels[space.nodes[0]].clone()
            for node in space.nodes:
                self._common[node] = common
                self.add(node, facts.live[node])
        self.settle()

    def is_common(self, node: fx.Node) -> bool:
        """Tell whether all values of its space that store anything store the same."""
        return node in self._common

    def add(self, node: fx.Node, channels: Tensor) -> None:
        """Need these channels of a value too."""
        if node in self._common and channels.any():
            self.channels[node] = self._common[node]
        self.channels[node] |= channels

    def settle(self) -> None:
        """Sweep until nothing grows: a unified space may grow behind a sweep."""
        while self._sweep():
            pass

    def _sweep(self) -> bool:
        """Add what every rewrite needs stored; tell whether anything was added."""
        before = self._total()
        for node in reversed(self._facts.module.graph.nodes):
            rule = self._facts.rules.get(node)
            if rule is None:
                self._need_size(node)
            elif self.channels[node].any():
                self.add(node, rule.pad_rows(node, self.channels[node], self._facts))
                needs = rule.needs(node, self.channels[node], self._facts)
                for source, channels in needs.items():
                    self.add(source, channels)
        return self._total() > before

    def _total(self) -> int:
        return sum(int(channels.sum()) for channels in self.channels.values())

    def _need_size(self, node: fx.Node) -> None:
        """Keep one channel of a value whose size is asked for and nothing else."""
        if reads_size_only(node, self._facts) and node.users:
            for source in node.all_input_nodes:
                if source in self.channels and not self.channels[source].any():
                    first = self.channels[source].clone()
                    first[0] = True
                    self.add(source, first)
