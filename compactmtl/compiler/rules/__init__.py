"""The rules, one op family each; an op that no rule takes is opaque.

A rule of your own is a subclass of ``Rule``, or of ``OneByOne`` or ``PairByPair`` where channel c
of the output comes from channel c of the inputs; ``compress(..., rules=[MyRule()])`` asks it
before ours. Its ``ops`` name ops of ATen as ``relu``, and ops of a library as ``mylib::relu``.
"""

from collections.abc import Sequence

from torch import fx

from compactmtl.compiler.rules.along import AlongOthers
from compactmtl.compiler.rules.axes import MoveAxes
from compactmtl.compiler.rules.base import (
    ChannelSets,
    Facts,
    OneByOne,
    PairByPair,
    Rule,
    channelwise,
    none_constant,
    one_input,
)
from compactmtl.compiler.rules.batch_norm import BatchNorm
from compactmtl.compiler.rules.beside import Beside
from compactmtl.compiler.rules.binary import Binary
from compactmtl.compiler.rules.blocks import Blocks
from compactmtl.compiler.rules.cat import Cat
from compactmtl.compiler.rules.constant import Repeat
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.depthwise import Depthwise
from compactmtl.compiler.rules.elementwise import Elementwise
from compactmtl.compiler.rules.grouped import Grouped
from compactmtl.compiler.rules.norms import GroupNorm, InstanceNorm, LayerNorm
from compactmtl.compiler.rules.operand import Broadcast, ChannelParameter
from compactmtl.compiler.rules.pad import EdgePad, Pad
from compactmtl.compiler.rules.pool import PoolOutput, Spatial, Unpool
from compactmtl.compiler.rules.select import Select, Slice
from compactmtl.compiler.rules.transposed import TransposedConv

RULES: tuple[Rule, ...] = (
    Conv(),
    Depthwise(),
    Grouped(),
    TransposedConv(),
    InstanceNorm(),
    BatchNorm(),
    GroupNorm(),
    LayerNorm(),
    ChannelParameter(),
    Broadcast(),
    Elementwise(),
    Binary(),
    Cat(),
    Beside(),
    Spatial(),
    PoolOutput(),
    Unpool(),
    AlongOthers(),
    MoveAxes(),
    Blocks(),
    Pad(),
    EdgePad(),
    Select(),
    Slice(),
    Repeat(),
)
"""In order: the first rule that covers an op and does not refuse the node takes it."""

__all__ = [
    "RULES",
    "ChannelSets",
    "Facts",
    "OneByOne",
    "PairByPair",
    "Rule",
    "channelwise",
    "find_rule",
    "none_constant",
    "one_input",
]


def find_rule(
    name: str, node: fx.Node, facts: Facts, foreign: Sequence[Rule] = ()
) -> tuple[Rule | None, str]:
    """Return the rule for a node, or None and the reason why it stays opaque.

    Args:
        name: The op's, as ``op_name`` gives it.
        node: The node.
        facts: Of the nodes before it.
        foreign: Rules that are asked before ours.
    """
    candidates = [rule for rule in (*foreign, *RULES) if name in rule.ops]
    if not candidates:
        return None, "no rule for this op"
    for rule in candidates:
        why = _other_axis(rule, node, facts) or rule.refuses(node, facts)
        if not why:
            return rule, ""
    return None, why


def _other_axis(rule: Rule, node: fx.Node, facts: Facts) -> str:
    """Return why the channel axis of an input does not suit a rule, or an empty string."""
    wanted = rule.wants_axis(node)
    axes = {facts.values[source].axis for source in node.all_input_nodes if source in facts.values}
    if wanted is None or axes <= {wanted}:
        return ""
    return f"its input has its channels along another axis than {wanted}"
