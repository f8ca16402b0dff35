"""What a rule is: everything the compiler must know about one family of ops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

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
    """

    module: fx.GraphModule
    values: dict[fx.Node, Value] = field(default_factory=dict)
    rules: dict[fx.Node, Rule] = field(default_factory=dict)
    refusals: dict[fx.Node, str] = field(default_factory=dict)
    constants: dict[fx.Node, Tensor] = field(default_factory=dict)
    live: dict[fx.Node, Tensor] = field(default_factory=dict)

    def tensor(self, argument: object) -> Tensor:
        """Return the parameter or buffer behind a ``get_attr`` argument."""
        assert isinstance(argument, fx.Node)
        assert argument.op == "get_attr"
        return attribute(self.module, str(argument.target)).detach()

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

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Return why this node cannot be rewritten, or an empty string if it can."""
        return "" if node.args[0] in facts.values else "its input has no known channel axis"

    @abstractmethod
    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the output's constants from the inputs' (float64, NaN where it varies)."""

    @abstractmethod
    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Return the input channels whose content the live output channels depend on."""

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Return the inputs that share the output's channel numbering."""
        return []

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Return the input channels that must be stored so that ``needed`` can be produced."""
        return self.reads(node, facts)

    @abstractmethod
    def lower(self, node: fx.Node, lowering: Lowering) -> tuple[int, ...]:
        """Rewrite ``node`` for the layouts of its inputs and return the layout of its output."""


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


def shared_tensor(node: fx.Node) -> str:
    """Return the name of a parameter or buffer of this node that other calls use too, or ""."""
    names = {str(a.target) for a in node.all_input_nodes if a.op == "get_attr"}
    for other in node.graph.nodes:
        if other.op == "get_attr" and str(other.target) in names and set(other.users) - {node}:
            return str(other.target)
    return ""
