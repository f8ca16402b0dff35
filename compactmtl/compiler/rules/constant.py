"""Values that do not depend on the input: their numbers are stored, and nothing is computed."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule
from compactmtl.compiler.rules.select import Select
from compactmtl.compiler.sizes import Size, find_size, values_of, write_size
from compactmtl.compiler.value import symbolic_shape

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering

aten = torch.ops.aten


class Constant(Rule):
    """``y[:, c] = k[c]`` in every channel that matters, whatever op it is.

    It takes the place of another rule once it is known which channels are live.

    Rewrites: k is stored, and repeated to the size of y, which is calculated from the sizes of the
    inputs, or else taken from the first value that has it. The op goes, and all that was computed
    for it alone.
    Leaves alone: a value that is the first of a size that no simple formula gives, selections.
    Algebra: a channel that is not live may hold any number; it holds its constant, or 0.
    """

    ops = frozenset()

    def __init__(self, rule: Rule, sizes: list[Size]) -> None:
        self.is_source = rule.is_source  # type: ignore[misc]
        self._sizes = sizes

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return what the op's own rule found."""
        return facts.constants[node]

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read nothing."""
        return {}

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need a channel of each value whose size is taken, one that is stored anyhow if any is."""
        sets: ChannelSets = {}
        for value in values_of(self._sizes):
            if value.op != "placeholder":
                sets[value] = torch.zeros_like(facts.live[value])
                sets[value][int(facts.live[value].int().argmax())] = True
        return sets

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Store the numbers and repeat them."""
        old = lowering.original(node)
        layout = lowering.plan.stored[old.name]
        numbers = lowering.facts.constants[old].nan_to_num(0.0)[list(layout)]
        stored = lowering.store(node, numbers, like=old)
        sizes = [write_size(size, node, lowering.copy_of) for size in self._sizes]
        with node.graph.inserting_before(node):
            repeated = node.graph.call_function(aten.repeat.default, (stored, sizes))
        return lowering.stand_in(node, repeated, layout)


def constant_rule(node: fx.Node, facts: Facts) -> Constant | None:
    """Return the rule of a node of which only constants matter; None where something varies."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    rule = facts.rules[node]
    if isinstance(rule, (Repeat, Select)):  # selections cost nothing, and gathers must stay
        return None
    if facts.constants[node][facts.live[node]].isnan().any():
        return None
    axis, shape = facts.values[node].axis, symbolic_shape(node)
    sizes = [1 if a == axis else find_size(size, node, facts) for a, size in enumerate(shape)]
    known = [size for size in sizes if size is not None]
    return Constant(rule, known) if len(known) == len(sizes) else None


class Repeat(Rule):
    """``y[:, c] = k[c]``, k a parameter with one number per channel: what ``Constant`` writes.

    Rewrites: the parameter is cut to the needed channels.
    Leaves alone: repetition of channels, of anything but a parameter, of one with several readers.
    Algebra: every channel is constant.
    """

    ops = frozenset({"repeat"})
    is_source = True

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse anything but a parameter that runs along one axis, which is not repeated."""
        parameter, sizes = node.args
        if not isinstance(parameter, fx.Node) or parameter.op != "get_attr":
            return "it does not repeat a parameter"
        assert isinstance(sizes, (list, tuple))
        shape = facts.tensor(parameter).shape
        axis = self.axis(node, facts)
        if len(sizes) != len(shape) or shape[axis] != shape.numel() or sizes[axis] != 1:
            return "it repeats more than one number per channel"
        shared = facts.shared_tensor(node)
        return f"`{shared}` is used by several calls" if shared else ""

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Return the axis of the parameter that is not 1; where all are, one that is not repeated.

        Axis 0 is the batch.
        """
        if not isinstance(node.args[0], fx.Node) or node.args[0].op != "get_attr":
            return 1
        shape, sizes = facts.tensor(node.args[0]).shape, node.args[1]
        long = [axis for axis, size in enumerate(shape) if axis and size > 1]
        free = [axis for axis, size in enumerate(sizes) if axis and size == 1]  # type: ignore[arg-type]
        return next(iter([*long, *free, 1]))

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the parameter."""
        return facts.tensor(node.args[0]).double().flatten()

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read nothing."""
        return {}

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut the parameter."""
        layout = lowering.rows(lowering.original(node))
        axis = self.axis(lowering.original(node), lowering.facts)
        parameter = lowering.tensor(node.args[0])
        cut = parameter.index_select(axis, torch.tensor(layout, dtype=torch.int64))
        lowering.replace_tensor(node, 0, cut)
        return layout
