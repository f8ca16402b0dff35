"""What the compiler did, in figures: the report of one run."""

from typing import Any

from torch import Tensor, fx

from compactmtl.compact import CompressReport, Cost
from compactmtl.compiler import explain
from compactmtl.compiler.census import count_channels
from compactmtl.compiler.notes import group_norms, is_smaller, notes
from compactmtl.compiler.plan import Plan
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.prepare import Subject
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.verify import Verification
from compactmtl.complexity import Complexity, count
from compactmtl.graph_mode import ModalGraph


def summarise(
    subject: Subject,
    facts: Facts,
    plan: Plan,
    *,
    dense: ModalGraph,
    compact: ModalGraph,
    smallest: fx.GraphModule | None,
    verification: Verification,
) -> CompressReport:
    """Count and tell.

    Args:
        subject: What was compiled.
        facts: Of its graph.
        plan: What was done.
        dense: The dense twin.
        compact: The compact graph.
        smallest: Where nothing was removed: what removing everything would give, in float64.
        verification: What was compared.
    """
    before, after = count(dense, subject.single), count(compact, subject.single)
    goal = after if smallest is None else _count_wide(smallest, subject.single)
    census = count_channels(facts)
    costs = explain.cost(before), explain.cost(goal)
    return CompressReport(
        before=explain.cost(before),
        after=explain.cost(after),
        max_rel_error=verification.max_rel_error,
        census=census,
        layers=explain.layer_table(facts, compact, plan, before, after),
        opaque=explain.opaque_table(facts),
        carriers=explain.carrier_table(facts),
        gathers=len(plan.gathers),
        verification=verification.to_dict(),
        notes=notes(facts, census, *costs, pruned=smallest is None, recipe=subject.manifest.recipe),
        group_norms=[] if is_smaller(*costs) else group_norms(facts),
        dropped=_dropped(subject, costs[0]),
        dropped_modules=subject.idle,
    )


def _count_wide(module: fx.GraphModule, inputs: list[Tensor]) -> Complexity:
    return count(module, [to_double(value) for value in inputs])


def _dropped(subject: Subject, before: Cost) -> dict[str, Any]:
    """Return which outputs were dropped and what that alone saved, as JSON data."""
    manifest = subject.manifest
    if subject.full is None:
        return {}
    return {
        "outputs": [name for name in manifest.all_outputs if name not in manifest.output_names],
        "macs": subject.full.macs - before.macs,
        "num_params": subject.full.num_params - before.num_params,
        "weights_bytes": subject.full.weights_bytes - before.weights_bytes,
    }
