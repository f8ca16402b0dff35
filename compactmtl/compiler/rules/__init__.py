"""The rules, one op family each; an op that no rule takes is opaque."""

from torch import fx

from compactmtl.compiler.rules.base import Facts, Rule
from compactmtl.compiler.rules.batch_norm import BatchNorm
from compactmtl.compiler.rules.binary import Binary
from compactmtl.compiler.rules.cat import Cat
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.elementwise import Elementwise
from compactmtl.compiler.rules.pool import PoolOutput, Spatial, Unpool
from compactmtl.compiler.rules.select import Select

RULES: tuple[Rule, ...] = (
    Conv(),
    BatchNorm(),
    Elementwise(),
    Binary(),
    Cat(),
    Spatial(),
    PoolOutput(),
    Unpool(),
    Select(),
)
"""In order: the first rule that covers an op and does not refuse the node takes it."""

__all__ = ["RULES", "Facts", "Rule", "find_rule"]


def find_rule(name: str, node: fx.Node, facts: Facts) -> tuple[Rule | None, str]:
    """Return the rule for a node, or None and the reason why it stays opaque."""
    candidates = [rule for rule in RULES if name in rule.ops]
    if not candidates:
        return None, "no rule for this op"
    for rule in candidates:
        why = rule.refuses(node, facts)
        if not why:
            return rule, ""
    return None, why
