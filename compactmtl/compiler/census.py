"""Three numbers that are easily taken for one: zero groups, zero filters, removable channels."""

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import capture
from compactmtl.compiler.cost import MacsCost
from compactmtl.compiler.explain import layers, num_zero, widths
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.plan import make_plan
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.weights import by_group
from compactmtl.overparam import contract, is_expanded


def census(model: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> dict[str, int]:
    """Count zero input groups, zero filters and removable channels of a whole network.

    All layers count, penalised or not; nothing is verified or changed.

    Args:
        model: The network; overparameterised layers count as the kernels they contract to.
        example_inputs: One tensor or several, batched, as the network takes them.

    Returns:
        ``zero_groups`` of ``num_groups``, ``zero_filters`` of ``num_filters``, and
        ``removable_channels`` of ``num_channels``: filters the compiler would drop.

    Raises:
        CaptureError: ``torch.export`` refuses the network.
        NonFiniteError: A weight is NaN or Inf.
    """
    plain = contract(copy.deepcopy(model).eval()) if is_expanded(model) else model
    captured = capture(plain, example_inputs, dynamic=False)
    normalise(captured.module)
    facts = analyse(captured.module)
    return count_channels(facts)


def count_channels(facts: Facts) -> dict[str, int]:
    """Count three different things: zero input groups, zero filters, removable channels.

    A channel is removable if a layer need not make it: the plan of fewest multiplications drops it.
    """
    plan = make_plan(facts, MacsCost())
    totals = dict.fromkeys(
        ("num_groups", "zero_groups", "num_filters", "zero_filters", "removable_channels"), 0
    )
    for node, *others in layers(facts).values():  # a layer that is called twice counts once
        pattern = by_group(node, facts.pattern(node.args[1]))
        num_groups, num_filters = widths(node, facts.module)
        totals["num_groups"] += num_groups
        totals["zero_groups"] += num_zero(pattern, 1)
        totals["num_filters"] += num_filters
        totals["zero_filters"] += num_zero(pattern, 2)
        if node.name in plan.rows:
            kept = max(len(plan.rows[call.name]) for call in (node, *others))
            totals["removable_channels"] += num_filters - kept
    return {**totals, "num_channels": totals["num_filters"]}
