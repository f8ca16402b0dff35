"""The plan as it is written: what each value stores, who gathers, which channels weights hold."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import fx

from compactmtl.compact import Manifest
from compactmtl.compiler.lower import Layout
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.parameter_map import parameter_map
from compactmtl.compiler.plan import Plan
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.split import Split
from compactmtl.compiler.rules.ungrouped import Ungrouped
from compactmtl.errors import CorruptFileError

Channels = list[int] | None
"""Channel numbers of the original, in stored order; None: all, ascending."""


class Part(BaseModel):
    """What all parts of a plan have in common: unknown keys are a later release's."""

    model_config = ConfigDict(frozen=True, strict=True)


class GraphNode(Part):
    """One op of the captured network: enough to know it again.

    Attributes:
        name: Its name; the plan calls values by it.
        op: The bare name of the op.
        channels: How many channels its output has, None without any.
        reads: Names of the ops and parameters it reads.
    """

    name: str
    op: str
    channels: int | None
    reads: list[str]


class ParameterEntry(Part):
    """Where a parameter comes from, as ``parameter_map`` says it."""

    shape: list[int] | None
    axes: list[list[int] | list[list[int]] | None] | None
    new: bool
    groups: int = 1
    part_of: str = ""


class OutputCheck(Part):
    """A few numbers of one output, on the input that ``output_checks`` makes."""

    shape: list[int]
    scale: float
    values: list[float]


class PlanDocument(Part):
    """A plan that can be carried out again.

    Attributes:
        pruned: Whether channels were removed at all.
        graph: The captured network, normalised.
        stored: Per value what it stores.
        rows: Per source what it computes.
        gathers: Per reader what it gathers.
        ungrouped: The grouped convolutions that are written as dense ones.
        split: Those that are written as several, and for each the groups by class.
        parameters: Per parameter of the compact model what it holds.
        manifest: What the compact model was, where the plan lies in a folder.
        outputs: What it computes, where the plan lies in a folder.
    """

    format_version: Literal[1]
    pruned: bool
    graph: list[GraphNode]
    stored: dict[str, Channels]
    rows: dict[str, Channels]
    gathers: dict[str, Channels]
    ungrouped: list[str]
    split: dict[str, list[list[int]]]
    parameters: dict[str, ParameterEntry]
    manifest: dict[str, Any] | None = None
    outputs: dict[str, OutputCheck] | None = None


def plan_document(
    facts: Facts,
    plan: Plan,
    compact: fx.GraphModule,
    layouts: Mapping[str, Layout],
    *,
    pruned: bool,
) -> dict[str, Any]:
    """Return a plan as JSON data that ``replay`` can carry out, with the map of the parameters.

    Args:
        facts: Of the captured graph.
        plan: What was carried out.
        compact: The result.
        layouts: What each value stores, by node name.
        pruned: Whether channels were removed.
    """
    stored: dict[str, Channels] = {}  # which may be more than the plan asks for
    for node, value in facts.values.items():
        channels = list(layouts[node.name])
        stored[node.name] = None if channels == list(range(value.num_channels)) else channels
    return {
        **plan.to_dict(),
        "pruned": pruned,
        "graph": [node.model_dump() for node in describe(facts)],
        "stored": stored,
        "ungrouped": [n.name for n, rule in facts.rules.items() if isinstance(rule, Ungrouped)],
        "split": {
            n.name: rule.classes for n, rule in facts.rules.items() if isinstance(rule, Split)
        },
        "parameters": parameter_map(facts, compact, plan, layouts),
    }


def describe(facts: Facts) -> list[GraphNode]:
    """Return the ops of a normalised graph, in order."""
    return [
        GraphNode(
            name=node.name,
            op=node.op if node.op in ("placeholder", "output") else op_name(node),
            channels=facts.num_channels(node) if node in facts.values else None,
            reads=[str(source.target) if source.op == "get_attr" else source.name
                   for source in node.all_input_nodes],
        )
        for node in facts.module.graph.nodes
        if node.op != "get_attr"
    ]  # fmt: skip


def parse_plan(document: Mapping[str, Any], source: str) -> PlanDocument:
    """Return a plan from JSON data.

    Args:
        document: What ``plan_document`` returned, or the content of ``plan.json``.
        source: Where it comes from, for the message.

    Raises:
        CorruptFileError: It is no plan of this format.
    """
    try:
        plan = PlanDocument.model_validate(dict(document))
        if plan.manifest is not None:
            Manifest.model_validate(plan.manifest)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(
            f"{source} is no plan of this release: `{place}`: {first['msg']}",
            hint="compress again",
        ) from error
    return plan
