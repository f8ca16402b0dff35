"""A value combined with something that is no value of the same channels: parameters, masks."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.against import against_constant
from compactmtl.compiler.rules.base import ChannelSets, Facts, Rule
from compactmtl.compiler.rules.parameters import adapt_views, held, is_parameter, reader_of
from compactmtl.compiler.rules.sharing import layout_of_all_calls, refuses_sharing

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


class ChannelParameter(Rule):
    """``y[c] = x[c] op p[c]`` with a parameter p: layer scale, bias-like sums, PReLU.

    Rewrites: the parameter is cut to the stored channels; all calls with it store the same.
    Leaves alone: a view of a parameter that others use, a division by one that holds 0.
    Algebra: a constant stays constant where p[c] is one number; ``x * 0`` is the constant 0.
    """

    ops = frozenset({"add", "sub", "mul", "div", "maximum", "minimum", "prelu"})
    cuts = True

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse parameters that have not one entry (or one slice) per channel."""
        position = _value_position(node, facts)
        if position is None or not is_parameter(node.args[1 - position]):
            return "its operands are not a value and a parameter"
        axis = _axis_in_other(node, facts, position)
        shape = held(node.args[1 - position], facts).shape
        value = facts.values[node.args[position]]  # type: ignore[index]
        if axis is None or axis < 0 or shape[axis] != value.num_channels:
            return "its parameter does not run along the channels"
        reader, place = reader_of(node, 1 - position)
        shared = facts.shared_tensor(reader)
        if shared and reader is not node:
            return f"`{shared}` is used by several calls"
        if reader is not node and facts.tensor(reader.args[place]).ndim != 1:
            return "its parameter is a view of more than a vector"
        return _refuses_divisor(node, facts, position) or refuses_sharing(node, facts)

    def _parts(self, node: fx.Node, facts: Facts) -> tuple[fx.Node, int, Tensor]:
        """Return the value, the parameter's position, and the parameter as (channels, rest)."""
        position = _value_position(node, facts)
        assert position is not None
        axis = _axis_in_other(node, facts, position)
        assert axis is not None
        parameter = held(node.args[1 - position], facts).movedim(axis, 0)
        parameter = parameter.reshape(parameter.shape[0], -1)
        return node.args[position], 1 - position, parameter  # type: ignore[return-value]

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Keep the value's axis."""
        return facts.values[self._parts(node, facts)[0]].axis

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Apply the op to constants; a product with 0 is 0 whatever the other factor is."""
        value, _, parameter = self._parts(node, facts)
        before, first = facts.constants[value], parameter[:, 0]
        uniform = (parameter == first[:, None]).all(1)
        after = _apply(node, facts, before.nan_to_num(0.0), first)
        after = torch.where(before.isnan() | ~uniform, torch.full_like(after, math.nan), after)
        if _name(node) == "mul":
            after = torch.where((before == 0) | self._zero(node, facts), 0.0, after)
        return after

    def _zero(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the channels that are multiplied by 0."""
        parameter = self._parts(node, facts)[2]
        if _name(node) != "mul":
            return torch.zeros(len(parameter), dtype=torch.bool)
        return (parameter == 0).all(1)

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read live channels that are not multiplied by 0."""
        return {self._parts(node, facts)[0]: facts.live[node] & ~self._zero(node, facts)}

    def couples(self, node: fx.Node) -> list[fx.Node]:
        """Share the value's numbering."""
        return [x for x in node.args[:2] if isinstance(x, fx.Node) and not is_parameter(x)]

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels stored."""
        return dict.fromkeys(self.couples(node), needed)

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Cut the parameter to the value's layout."""
        old = lowering.original(node)
        position = _value_position(old, lowering.facts)
        assert position is not None
        axis = _axis_in_other(old, lowering.facts, position)
        assert axis is not None
        layout = layout_of_all_calls(node, lowering, position=position)
        reader, place = reader_of(node, 1 - position)
        parameter = lowering.tensor(reader.args[place])
        if reader is not node:  # it is a vector that a view brings to the channel axis
            axis = 0
            adapt_views(node.args[1 - position])
        cut = parameter.index_select(axis, torch.tensor(layout))
        lowering.replace_tensor(reader, place, cut)
        return layout


class Broadcast(Rule):
    """``y[c] = x[c] op z``, z the same for all channels: a parameter, a number, a map of gates.

    Rewrites: z gets all its own channels. Where it is one number, that is stored, see
    ``AgainstConstant``.
    Leaves alone: z of more axes than x, a division by a computed z or one that holds 0.
    Algebra: a constant stays constant where z is one number; ``x * 0`` is the constant 0.
    """

    ops = ChannelParameter.ops

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse operands that do not broadcast over the channels of the other."""
        position = _value_position(node, facts)
        if position is None or not isinstance(node.args[1 - position], fx.Node):
            return "no operand of it has a known channel axis"
        axis, other = _axis_in_other(node, facts, position), node.args[1 - position]
        if axis is not None and axis >= 0:
            tensor = _tensor_of(other, facts)
            assert isinstance(tensor, Tensor)
            is_one = isinstance(tensor.shape[axis], int) and tensor.shape[axis] == 1
            axis = -1 if is_one else None
        if axis is None:
            return "its operands do not have the same channels"
        return _refuses_divisor(node, facts, position)

    def _pair(self, node: fx.Node, facts: Facts) -> tuple[fx.Node, fx.Node]:
        """Return the value with the channels, and the other operand."""
        position = _value_position(node, facts)
        assert position is not None
        return node.args[position], node.args[1 - position]  # type: ignore[return-value]

    def axis(self, node: fx.Node, facts: Facts) -> int:
        """Keep the value's axis."""
        return facts.values[self._pair(node, facts)[0]].axis

    def _number(self, node: fx.Node, facts: Facts) -> float:
        """Return the one number that z holds everywhere, or NaN."""
        other = self._pair(node, facts)[1]
        if is_parameter(other):
            numbers = held(other, facts).flatten()
        elif other in facts.values:
            numbers = facts.constants[other]
        else:
            return math.nan
        return float(numbers[0]) if bool((numbers == numbers[0]).all()) else math.nan

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Apply the op to constants; a product with 0 is 0 whatever the other factor is."""
        before, number = facts.constants[self._pair(node, facts)[0]], self._number(node, facts)
        after = torch.full_like(before, math.nan)
        if not math.isnan(number):
            applied = _apply(node, facts, before.nan_to_num(0.0), torch.full_like(before, number))
            after = torch.where(before.isnan(), after, applied)
        if _name(node) == "mul":
            after = torch.where((before == 0) | torch.tensor(number == 0), 0.0, after)
        return after

    def settled(self, node: fx.Node, facts: Facts) -> Rule:
        """Store z where it is one number that was computed."""
        other = self._pair(node, facts)[1]
        is_computed = other in facts.values and not is_parameter(other)
        rule = against_constant(node, facts, one_number=True) if is_computed else None
        return rule or self

    def reads(self, node: fx.Node, facts: Facts) -> ChannelSets:
        """Read live channels, and all of z."""
        value, other = self._pair(node, facts)
        return {**self._whole(other, facts), value: facts.live[node]}

    @staticmethod
    def _whole(other: fx.Node, facts: Facts) -> ChannelSets:
        if other not in facts.values or is_parameter(other):
            return {}
        return {other: torch.ones(facts.num_channels(other), dtype=torch.bool)}

    def needs(self, node: fx.Node, needed: Tensor, facts: Facts) -> ChannelSets:
        """Need the same channels stored, and all of z."""
        value, other = self._pair(node, facts)
        return {**self._whole(other, facts), value: needed}

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Give z all its channels."""
        position = _value_position(lowering.original(node), lowering.facts)
        assert position is not None
        other = node.args[1 - position]
        assert isinstance(other, fx.Node)
        if lowering.original(other) in lowering.facts.values and not is_parameter(other):
            every = tuple(range(lowering.facts.num_channels(lowering.original(other))))
            args: list[Any] = list(node.args)
            args[1 - position] = lowering.select(other, every)
            node.args = tuple(args)
        return lowering.layout(node.args[position])  # type: ignore[arg-type]


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]


def _tensor_of(argument: object, facts: Facts) -> object:
    """Return a parameter, or what capture knows of another node: a shape, or a size."""
    if is_parameter(argument):
        return held(argument, facts)
    assert isinstance(argument, fx.Node)
    return argument.meta["val"]


def _value_position(node: fx.Node, facts: Facts) -> int | None:
    """Return which of two operands brings the output's channels, or None if neither does."""
    output = node.meta["val"]
    for position in range(min(2, len(node.args))):
        argument = node.args[position]
        if not isinstance(argument, fx.Node) or argument not in facts.values:
            continue
        if is_parameter(argument):
            continue
        value, other = facts.values[argument], node.args[1 - position]
        if not isinstance(other, fx.Node):
            return None
        is_one = value.num_channels == 1 and not is_parameter(other)
        if not is_one and argument.meta["val"].ndim == output.ndim:
            return position
    return None


def _axis_in_other(node: fx.Node, facts: Facts, position: int) -> int | None:
    """Return the other operand's axis along the channels, negative where it has none.

    Broadcasting aligns the last axes; PReLU's weight runs along axis 1. None: it has more axes.
    """
    value = node.args[position]
    assert isinstance(value, fx.Node)
    axis, ndim = facts.values[value].axis, value.meta["val"].ndim
    other = _tensor_of(node.args[1 - position], facts)
    if not isinstance(other, Tensor):  # a size
        return -1
    if _name(node) == "prelu":
        is_weight = position == 0 and axis == 1 and is_parameter(node.args[1])
        return (0 if is_weight else None) if other.numel() > 1 else -1
    return None if other.ndim > ndim else axis - (ndim - other.ndim)


def _refuses_divisor(node: fx.Node, facts: Facts, position: int) -> str:
    if _name(node) != "div":
        return ""
    if position == 1 or not is_parameter(node.args[1]):
        return "its divisor is computed"
    return "it divides by zero" if (held(node.args[1], facts) == 0).any() else ""


def _apply(node: fx.Node, facts: Facts, value: Tensor, other: Tensor) -> Tensor:
    """Run the op on one number per channel."""
    if _name(node) == "prelu":
        return torch.where(value >= 0, value, value * other)
    pair = (value, other) if _value_position(node, facts) == 0 else (other, value)
    result: Tensor = node.target(*pair, **node.kwargs)  # type: ignore[operator]
    return result
