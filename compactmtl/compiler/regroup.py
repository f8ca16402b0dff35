"""Choose between a grouped convolution with its groups filled up and a dense one."""

from dataclasses import replace

from torch import fx

from compactmtl.compiler.cost import CostModel
from compactmtl.compiler.layer_cost import conv_shape
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.base import channelwise
from compactmtl.compiler.rules.grouped import Grouped
from compactmtl.compiler.rules.sharing import is_shared
from compactmtl.compiler.rules.ungrouped import Ungrouped
from compactmtl.compiler.rules.weights import num_groups


def regroup(facts: Facts, cost: CostModel) -> Facts:
    """Return facts in which every grouped convolution has the rule that costs less.

    What is constant and what is live does not depend on the choice: both rules are exact.
    """
    rules = {
        node: Ungrouped() if type(rule) is Grouped and _dense_pays(node, facts, cost) else rule
        for node, rule in facts.rules.items()
    }
    return replace(facts, rules=rules)


def _dense_pays(node: fx.Node, facts: Facts, cost: CostModel) -> bool:
    rule, live = facts.rules[node], facts.live[node]
    if not live.any() or is_shared(node, facts):  # calls of one layer must be written alike
        return False
    rows = rule.pad_rows(node, live, facts)
    columns = rule.needs(node, rows, facts)[channelwise(node)]
    alive = int(rows.reshape(num_groups(node), -1).any(1).sum())
    read = rule.reads(node, facts)[channelwise(node)]
    grouped = conv_shape(node, rows=int(rows.sum()), columns=int(columns.sum()), groups=alive)
    dense = conv_shape(node, rows=int(live.sum()), columns=max(1, int(read.sum())))
    # A model that is compiled does not grow, however slowly a runtime computes groups.
    is_larger = dense.num_params > facts.tensor(node.args[1]).numel()
    return not is_larger and cost.conv(dense) < cost.conv(grouped)
