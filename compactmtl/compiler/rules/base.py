"""What a rule is: everything the compiler must know about one family of ops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.joint import Joint
from compactmtl.compiler.value import Value, attribute

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering

ChannelSets = dict[fx.Node, Tensor]
"""Per input node, which of its channels (bool, one entry per channel)."""


@dataclass
class Facts:
    """All that is known about a captured graph.

    Attributes:
        module: The graph with the original weights.
        values: The nodes that have channels.
        rules: The rule of each such node; nodes without an entry are opaque.
        refusals: Why a node with channels is opaque.
        constants: Per channel the value it has for every input, position and size (float64), or
            NaN where it varies.
        live: Per channel whether its content must be right.
        whole: Per first parameter of a layer why the layer must stay whole.
        readers: Per parameter or buffer the nodes that use it, in graph order.
        joint: Per first call of a layer that is called several times what its calls have in
            common.
        memo: What was found out about a layer from all its calls: by first call and question.
        sizes: Per size that is free the first value that has it, and its axis.
    """

    module: fx.GraphModule
    values: dict[fx.Node, Value] = field(default_factory=dict)
    rules: dict[fx.Node, Rule] = field(default_factory=dict)
    refusals: dict[fx.Node, str] = field(default_factory=dict)
    constants: dict[fx.Node, Tensor] = field(default_factory=dict)
    live: dict[fx.Node, Tensor] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    readers: dict[str, list[fx.Node]] = field(init=False)
    sizes: dict[object, tuple[fx.Node, int]] = field(default_factory=dict)
    joint: dict[fx.Node, Joint] = field(default_factory=dict)
    memo: dict[fx.Node, dict[str, Tensor]] = field(init=False, default_factory=dict)
    _patterns: dict[str, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.readers = {}
        for node in self.module.graph.nodes:
            if node.op == "get_attr":
                self.readers.setdefault(str(node.target), [])
            for source in node.all_input_nodes:
                if source.op == "get_attr" and node not in self.readers[str(source.target)]:
                    self.readers[str(source.target)].append(node)

    def tensor(self, argument: object) -> Tensor:
        """Return the parameter or buffer behind a ``get_attr`` argument."""
        assert isinstance(argument, fx.Node)
        assert argument.op == "get_attr"
        return attribute(self.module, str(argument.target)).detach()

    def pattern(self, argument: object) -> Tensor:
        """Return where a weight (rows, columns, ...) is not zero: bool (rows, columns).

        Every pass asks for it several times, and weights do not change between passes.
        """
        assert isinstance(argument, fx.Node)
        name = str(argument.target)
        if name not in self._patterns:
            weight = self.tensor(argument)
            is_set = weight.reshape(*weight.shape[:2], -1) != 0
            self._patterns[name] = torch.from_numpy(is_set.numpy().any(axis=2))  # faster there
        return self._patterns[name]

    def shared_tensor(self, node: fx.Node) -> str:
        """Return a parameter or buffer of this node that other calls use too, or ""."""
        names = (str(source.target) for source in node.all_input_nodes if source.op == "get_attr")
        return next((name for name in names if self.readers[name] != [node]), "")

    def num_channels(self, node: fx.Node) -> int:
        """Return the captured channel count of a node."""
        return self.values[node].num_channels


class Rule(ABC):
    """One op family: how constants, liveness and layouts pass through it, and how it is rewritten.

    The compiler guarantees a rule that the *content* of its live input channels is right and that
    all other stored input channels hold finite numbers; the rule guarantees the same of its output.
    """

    ops: ClassVar[frozenset[str]]
    """Names of the ATen overload packets it covers, functional form."""
    unifies: ClassVar[bool] = False
    """Whether it combines several values channel by channel, as an addition does."""
    is_source: ClassVar[bool] = False
    """Whether it can produce any subset of its output channels."""
    cuts: ClassVar[bool] = False
    """Whether it cuts parameters to its output channels: all calls with the same parameters must
    store the same."""

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Return why this node cannot be rewritten, or an empty string if it can."""
        return "" if node.args[0] in facts.values else "its input has no known channel axis"

    @abstractmethod
    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the output's constants from the inputs' (float64, NaN where it varies)."""

    @abstractmethod
    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Return the input channels whose content the live output channels depend on."""

    def settled(self, node: fx.Node, facts: Facts) -> Rule:
        """Return the rule for this node once its live channels are known: itself, or a cheaper."""
        return self

    def wants_axis(self, node: fx.Node) -> int | None:
        """Return the channel axis that its inputs must have; None: any one."""
        return 1

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Return the channel axis of the output: by default that of the first input with one."""
        inputs = (source for source in node.all_input_nodes if source in facts.values)
        return next((facts.values[source].axis for source in inputs), 1)

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Return the inputs that share the output's channel numbering."""
        return []

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Return the input channels that must be stored so that ``needed`` can be produced."""
        return self.reads(node, facts)

    def pad_rows(self, node: fx.Node, needed: Tensor, facts: Facts) -> Tensor:
        """Return the output channels a source computes where ``needed`` are: these, or more."""
        return needed

    @abstractmethod
    def lower(self, node: fx.Node, lowering: Lowering) -> tuple[int, ...]:
        """Rewrite ``node`` for the layouts of its inputs and return the layout of its output."""


class OneByOne(Rule):
    """A rule whose output channel c comes from channel c of its first input and from nothing else.

    So it reads and needs the same channels, shares the numbering, and runs on any layout.
    """

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read what is live."""
        return one_input(node, facts.live[node])

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the input's numbering."""
        return [channelwise(node)]

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels stored."""
        return one_input(node, needed)

    def lower(self, node: fx.Node, lowering: Lowering) -> tuple[int, ...]:
        """Keep the input's layout."""
        return lowering.layout(channelwise(node))


class PairByPair(Rule):
    """A rule whose output channel c comes from channel c of its first two arguments."""

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read the live channels of both."""
        return dict.fromkeys(self.couples(node), facts.live[node])

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the numbering of both."""
        return [x for x in node.args[:2] if isinstance(x, fx.Node)]

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels of both stored."""
        return dict.fromkeys(self.couples(node), needed)

    def lower(self, node: fx.Node, lowering: Lowering) -> tuple[int, ...]:
        """Bring both to one layout."""
        return lowering.align(node, positions=(0, 1))


def channelwise(node: fx.Node) -> fx.Node:
    """Return the first argument of a node, which is a node."""
    argument = node.args[0]
    assert isinstance(argument, fx.Node)
    return argument


def none_constant(num_channels: int) -> Tensor:
    """Return constants that say: every channel varies."""
    return torch.full((num_channels,), float("nan"), dtype=torch.float64)


def one_input(node: fx.Node, channels: Tensor) -> ChannelSets:
    """Return the channel sets of a rule with one input."""
    return {channelwise(node): channels}
