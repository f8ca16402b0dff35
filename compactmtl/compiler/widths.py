"""Choose widths: store some dead channels too where whole blocks run faster."""

import math
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import fx

from compactmtl.compiler.cost import ConvShape, CostModel
from compactmtl.compiler.layer_cost import WIDTHS, cheapest_read, conv_shape, widths
from compactmtl.compiler.needs import Needs
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.base import channelwise
from compactmtl.compiler.rules.cat import Cat
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.depthwise import Depthwise
from compactmtl.compiler.rules.pool import Spatial
from compactmtl.compiler.rules.select import Select
from compactmtl.compiler.spaces import Space

ROUNDS = 2
"""How often every width is looked at: the best one depends on the widths around it."""


@dataclass
class Bundle:
    """Values whose width changes as one: a source, what keeps its channels, and the like of it.

    That is a whole space where all of it stores the same. Else an op that combines several values
    goes with the first of them: the others may store more. Depthwise convolutions go with their
    input.

    Attributes:
        nodes: The values.
        layers: Convolutions that compute them or read them.
        pooled: Whether one of them is the result of a pooling.
        is_fixed: Whether an op that makes them cannot make a channel more.
        cats: The bundles of concatenations that grow with it, and how often they hold it.
        growth: All bundles that grow with it, itself too, and by how many channels for one of its.
        around: Convolutions that make or read these.
        extra: Dead channels that are to be stored.
        grown: By how much its values are wider, its own extra channels and those of operands.
    """

    nodes: list[fx.Node] = field(default_factory=list)
    layers: list[fx.Node] = field(default_factory=list)
    pooled: bool = False
    is_fixed: bool = False
    cats: Counter[int] = field(default_factory=Counter)
    growth: Counter[int] = field(default_factory=Counter)
    around: list[fx.Node] = field(default_factory=list)
    extra: int = 0
    grown: int = 0


class Widths:
    """The widths of all bundles, and what the convolutions cost at these widths.

    Args:
        facts: The captured graph.
        spaces: Of its values.
        needs: The channels that must be stored.
        cost: The cost model.
    """

    def __init__(
        self, facts: Facts, spaces: dict[fx.Node, Space], needs: Needs, cost: CostModel
    ) -> None:
        self._facts = facts
        self._needs = needs
        self._cost = cost
        self._spaces = spaces
        self._counts = {node: int(channels.sum()) for node, channels in needs.channels.items()}
        self._home, self._bundles = self._tie()
        self._reads: dict[fx.Node, int] = {}
        self._costs: dict[tuple[fx.Node, int, int], float] = {}
        for node, rule in facts.rules.items():
            if self._counts[node]:
                self._connect(node)
            if isinstance(rule, (Conv, Depthwise)) and self._counts[node]:
                read = rule.needs(node, needs.channels[node], facts)[channelwise(node)]
                self._reads[node] = int(read.sum())
        self._open = []
        for number, bundle in enumerate(self._bundles):
            least, most = self._range(bundle)
            if not bundle.is_fixed and bundle.layers and 0 < least < most:
                self._complete(number)
                self._open.append(bundle)

    def _tie(self) -> tuple[dict[fx.Node, int], list[Bundle]]:
        """Return the bundles, and for each value the number of its bundle."""
        home: dict[fx.Node, int] = {}
        bundles: list[Bundle] = []
        for node in self._facts.values:  # in graph order: an input comes before its readers
            if node in home:
                continue
            before = self._before(node)
            number = len(bundles) if before is None else home[before]
            if before is None:
                bundles.append(Bundle())
            whole = self._needs.is_common(node)
            for other in self._spaces[node].nodes if whole else [node]:
                home[other] = number
                bundles[number].nodes.append(other)
        return home, bundles

    def _before(self, node: fx.Node) -> fx.Node | None:
        """Return the value whose bundle a value joins; None: it is the first of its own."""
        rule = self._facts.rules.get(node)
        if isinstance(rule, Depthwise):
            return channelwise(node)
        if rule is None or self._needs.is_common(node):
            return None
        return next(
            (x for x in rule.couples(node)[:1] if self._spaces[x] is self._spaces[node]), None
        )

    def _connect(self, node: fx.Node) -> None:
        """Tell the bundles around a node that it makes or reads them."""
        rule, bundle = self._facts.rules[node], self._bundles[self._home[node]]
        bundle.pooled |= "pool" in op_name(node) and isinstance(rule, Spatial)
        if isinstance(rule, (Conv, Depthwise)):
            source = channelwise(node)
            for number in {self._home[node], self._home[source], self._home[self._base(source)]}:
                self._bundles[number].layers.append(node)
        elif isinstance(rule, Cat):
            bundle.is_fixed = True
            for operand in rule.couples_all(node):
                if self._counts[operand]:
                    self._bundles[self._home[operand]].cats[self._home[node]] += 1
        elif not rule.couples(node):
            bundle.is_fixed = True

    def widen(self) -> None:
        """Need dead channels too where the convolutions cost less then.

        One width at a time, from several starts: whether a convolution runs in blocks depends on
        both of its widths, so from the least widths no single step may pay.

        That finds good widths, not always the best. The widths the network has are one candidate
        more, so what comes out never costs more than they do, by the sum of what convolutions and
        depthwise convolutions cost. Where every channel more costs more (``macs``, ``params``), the
        least widths are the best, and compiling again finds them again. With measured costs
        compiling again may change widths, but only to what costs less by that sum, or to fewer
        channels where it costs the same.
        """
        results = [self._at([most - least for least, most in map(self._range, self._open)])]
        for multiple in (1, *WIDTHS):
            for bundle in self._open:
                least, most = self._range(bundle)
                self._set(bundle, min(most, math.ceil(least / multiple) * multiple) - least)
            for _ in range(ROUNDS):
                for bundle in self._open:
                    self._choose(bundle)
            results.append(self._at([bundle.extra for bundle in self._open]))
        self._at(min(results)[1])
        self._apply()

    def _at(self, extras: list[int]) -> tuple[float, list[int]]:
        """Set all widths; return what everything costs then, and the widths."""
        for bundle, extra in zip(self._open, extras, strict=True):
            self._set(bundle, extra)
        return sum(map(self._layer_cost, self._reads)), extras

    def _range(self, bundle: Bundle) -> tuple[int, int]:
        """Return the least width and that of the captured network."""
        least = max(self._counts[node] for node in bundle.nodes)
        return least, min(self._facts.num_channels(node) for node in bundle.nodes)

    def _choose(self, bundle: Bundle) -> None:
        least, most = self._range(bundle)
        options = []
        for width in widths(least, most):
            self._set(bundle, width - least)
            options.append((sum(map(self._layer_cost, bundle.around)), width - least))
        self._set(bundle, min(options)[1])

    def _complete(self, number: int) -> None:
        """Find all that a width has an influence on."""
        bundle = self._bundles[number]
        bundle.growth[number] = 1
        queue = list(bundle.cats.items())
        while queue:
            cat, times = queue.pop()
            bundle.growth[cat] += times
            queue += [(n, times * more) for n, more in self._bundles[cat].cats.items()]
        found = (layer for grown in bundle.growth for layer in self._bundles[grown].layers)
        bundle.around = list(dict.fromkeys(found))

    def _set(self, bundle: Bundle, extra: int) -> None:
        for number, times in bundle.growth.items():
            self._bundles[number].grown += times * (extra - bundle.extra)
        bundle.extra = extra

    def _stored(self, node: fx.Node) -> int:
        return self._counts[node] + self._bundles[self._home[node]].grown

    def _layer_cost(self, node: fx.Node) -> float:
        rows, stored = self._stored(node), self._stored(self._base(channelwise(node)))
        key = (node, rows, stored)
        if key not in self._costs:
            self._costs[key] = self._cost_at(node, rows, stored)
        return self._costs[key]

    def _cost_at(self, node: fx.Node, rows: int, stored: int) -> float:
        pooled = self._bundles[self._home[node]].pooled
        if isinstance(self._facts.rules[node], Depthwise):
            return self._cost.conv(
                conv_shape(node, rows=rows, columns=rows, groups=rows, pooled=pooled)
            )

        def shape(width: int) -> ConvShape:
            return conv_shape(node, rows=rows, columns=width, pooled=pooled)

        source, base = channelwise(node), None
        if self._is_selection(source):  # it may select what it selected, where that is stored
            stored, base = self._facts.num_channels(source), stored
        return cheapest_read(self._cost, shape, read=self._reads[node], stored=stored, base=base)[0]

    def _is_selection(self, node: fx.Node) -> bool:
        return isinstance(self._facts.rules.get(node), Select)

    def _base(self, node: fx.Node) -> fx.Node:
        """Return what a selection selects from, through all selections before it; or the value."""
        return self._base(channelwise(node)) if self._is_selection(node) else node

    def _apply(self) -> None:
        for bundle in self._open:
            stored = [node for node in bundle.nodes if self._counts[node]]
            dead = ~torch.stack([self._needs.channels[node] for node in stored]).any(0)
            # What another value of the space stores comes first: it may be an operand of one here.
            beside = dict.fromkeys(n for node in stored for n in self._spaces[node].nodes)
            is_there = torch.stack([self._needs.channels[node] for node in beside]).any(0)
            order = (~is_there[dead]).int().argsort(stable=True)
            chosen = dead.nonzero().flatten()[order[: bundle.extra]]
            extra = torch.zeros_like(dead)
            extra[chosen] = True
            for node in stored:
                self._needs.add(node, extra)
