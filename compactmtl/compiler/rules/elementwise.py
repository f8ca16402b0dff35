"""Ops that act on every number alike: activations, scalar arithmetic, copies, idle dropout."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts, OneByOne, channelwise

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


COPIES = frozenset({"clone", "contiguous", "detach", "alias", "dropout"})


class Elementwise(OneByOne):
    """``y[:, c] = f(x[:, c])`` with f finite on finite numbers.

    Rewrites: nothing; the op runs on the stored channels.
    Leaves alone: an op with a second tensor argument (see ``Binary``), dropout in train mode.
    Algebra: a constant channel c stays constant, with value f(c): f runs on the constants.
    """

    ops = COPIES | frozenset({
        "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "sigmoid",
        "tanh", "hardtanh", "hardswish", "hardsigmoid", "softplus", "clamp", "clamp_min",
        "clamp_max", "neg", "abs", "add", "sub", "rsub", "mul", "div", "square", "erf", "sin",
        "cos", "threshold", "log_sigmoid", "softshrink", "hardshrink",
    })  # fmt: skip

    def refuses(self, node: fx.Node, facts: Facts) -> str:
        """Refuse further tensor arguments, division by zero and dropout in train mode."""
        if any(isinstance(argument, fx.Node) for argument in node.args[1:]):
            return "its second argument is not a number"
        if _name(node) == "div" and not node.args[1]:
            return "it divides by zero"
        if _name(node) == "dropout" and node.args[2]:
            return "it is dropout in train mode"
        return super().refuses(node, facts)

    def wants_axis(self, node: fx.Node) -> int | None:
        """Take any axis."""
        return None

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Run the op on the vector of constants."""
        before = facts.constants[channelwise(node)]
        if _name(node) in COPIES:
            return before
        after = node.target(before.nan_to_num(0.0), *node.args[1:], **node.kwargs)  # type: ignore[operator]
        return torch.where(before.isnan(), torch.full_like(before, math.nan), after.double())

    def lower(self, node: fx.Node, lowering: "Lowering") -> tuple[int, ...]:
        """Keep the input's layout."""
        return lowering.layout(channelwise(node))


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr, no-any-return]
