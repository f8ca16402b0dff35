"""From a trained network to a compact one, on one page."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from compactmtl.compact import CompactModel, CompressReport, InputSpec, Manifest
from compactmtl.compiler import explain
from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import Captured, Inputs, capture
from compactmtl.compiler.census import count_channels
from compactmtl.compiler.cost import CostModel, cost_model
from compactmtl.compiler.dropped import dropped_modules
from compactmtl.compiler.lower import Lowering
from compactmtl.compiler.names import choose_names
from compactmtl.compiler.normalise import normalise, op_name
from compactmtl.compiler.notes import group_norms, is_smaller, notes
from compactmtl.compiler.passes import Passes, Progress
from compactmtl.compiler.plan import make_plan, untouched_plan
from compactmtl.compiler.plan_document import parse_plan, plan_document
from compactmtl.compiler.precision import double_copy, restore_precision, to_double
from compactmtl.compiler.recorded import recorded_lowering
from compactmtl.compiler.regroup import regroup
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.samples import input_sets
from compactmtl.compiler.selection import POOLS_WITH_POSITIONS
from compactmtl.compiler.verify import Quartet, StoredPool, verify
from compactmtl.compiler.why import why
from compactmtl.complexity import count
from compactmtl.errors import UsageError
from compactmtl.graph_mode import modal
from compactmtl.overparam import contract, is_expanded


def compress(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Tensor],
    *,
    prune_zero_channels: bool = True,
    objective: str | CostModel = "latency",
    gather: bool = True,
    plan: Mapping[str, Any] | None = None,
    dynamic: bool = True,
    images: Iterable[Tensor | Sequence[Tensor]] = (),
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    tasks: Mapping[str, dict[str, Any]] | None = None,
    parent: Mapping[str, str] | None = None,
    recipe: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> CompactModel:
    """Make a network physically small without changing what it computes.

    Contracts overparameterised layers, captures the network in eval mode, removes every channel
    that no output depends on, folds constants, and proves on noise (at the example size and, where
    the size is free, at twice that size) and on ``images`` that nothing changed but float rounding.

    Args:
        model: The network, on the CPU. It is not changed, and shares no weight with the result.
        example_inputs: One tensor or several, batched, as the network takes them.
        prune_zero_channels: Remove dead channels; otherwise only contract, and say what could go.
        objective: "latency", "macs" or "params", or a cost model of your own.
        gather: Allow layers to read through a gather.
        plan: An earlier plan to carry out, instead of making one; see ``replay``.
        dynamic: Leave batch, height and width free where the network allows it.
        images: Further inputs to verify on, real ones if there are any.
        input_names: Names for the inputs; None: those of the network's ``forward``.
        output_names: Names for the outputs; None: the keys of the dict the network returns.
        tasks: Per output its task specification, kept in the manifest.
        parent: File name and SHA-256 of what the network was loaded from, kept in the manifest.
        recipe: The recipe it was trained with, kept in the manifest.
        progress: Called as each step starts, with its name and the number of steps left.

    Returns:
        The compact model with its dense twin, report and plan.

    Raises:
        CaptureError: ``torch.export`` refuses the network.
        NonFiniteError: A weight, or an output of the original, is NaN or Inf.
        VerificationError: Compact and original differ by more than rounding.
        UsageError: Names or images do not fit the network's inputs and outputs.
        CompilerError: ``plan`` was made of another network.
    """
    cost = cost_model(objective, gather=gather)
    images = list(images)
    passes = Passes(progress, left=len(images) + 6)
    with passes.run("capture"):
        plain = contract(copy.deepcopy(model)) if is_expanded(model) else model
        captured = capture(plain, example_inputs, dynamic=dynamic)
        names = choose_names("output", output_names, captured.output_names)
        _check_tasks(tasks or {}, names)
        manifest = Manifest(
            inputs=_specs(captured, choose_names("input", input_names, captured.input_names)),
            output_names=names,
            tasks=dict(tasks or {}),
            objective=objective if isinstance(objective, str) else cost.name,
            cost_model=cost.name,
            parent=dict(parent or {}),
            recipe=recipe,
            torch=torch.__version__,
        )
        dropped = dropped_modules(plain, captured.module)
        samples = input_sets(captured, images)
        normalise(captured.module)
    with passes.run("analyse"):
        facts = analyse(captured.module)
        if plan is None:
            facts = regroup(facts, cost)
            lowering = Lowering(facts, make_plan(facts, cost), cost)
        else:
            lowering = recorded_lowering(facts, parse_plan(plan, "`plan`"), cost)
            facts = lowering.facts
        possible = lowering.plan
    with passes.run("lower"):
        smallest = lowering.run()
        compact64 = smallest if prune_zero_channels else double_copy(captured.module)
        compact = copy.deepcopy(compact64)
        restore_precision(compact, captured.module, lowering.like)
    with passes.timed("verify"):
        pools = _stored_pools(facts, compact64, lowering if prune_zero_channels else None)
        quartet = Quartet(double_copy(captured.module), compact64, captured.module, compact)
        verification = verify(quartet, _announced(samples, passes), names, pools)
    with passes.run("count"):
        dense = modal(copy.deepcopy(captured.module))  # shares no weight with the caller's
        single = _single(captured)
        before, after = count(dense, single), count(modal(compact), single)
        goal = after if prune_zero_channels else count(smallest, [to_double(x) for x in single])
        chosen = possible if prune_zero_channels else untouched_plan(facts)
        layouts = lowering.layouts_by_name() if prune_zero_channels else chosen.stored
        census = count_channels(facts)
        helped = is_smaller(explain.cost(before), explain.cost(goal))
        report = CompressReport(
            before=explain.cost(before),
            after=explain.cost(after),
            max_rel_error=verification.max_rel_error,
            census=census,
            layers=explain.layer_table(facts, compact, chosen, before, after),
            opaque=explain.opaque_table(facts),
            carriers=explain.carrier_table(facts),
            gathers=len(chosen.gathers),
            verification=verification.to_dict(),
            seconds=passes.seconds,
            notes=notes(facts, census, explain.cost(before), explain.cost(goal),
                        pruned=prune_zero_channels, recipe=recipe),
            group_norms=[] if helped else group_norms(facts),
            dropped_modules=dropped,
        )  # fmt: skip
    return CompactModel(
        module=modal(compact),
        dense=dense,
        manifest=manifest,
        report=report,
        plan=plan_document(facts, chosen, compact, layouts, pruned=prune_zero_channels),
        why=why(facts, chosen, layouts, names, cost=cost.name, pruned=prune_zero_channels),
    )


def _check_tasks(tasks: Iterable[str], names: Sequence[str]) -> None:
    for task in tasks:
        if task not in names:
            raise UsageError(
                f"task `{task}` is not one of the outputs ({', '.join(names)})",
                hint="outputs of a network with tasks are called as its tasks",
            )


def _specs(captured: Captured, names: Sequence[str]) -> list[InputSpec]:
    return [
        InputSpec(
            name=name,
            shape=tuple(value.shape),
            dtype=str(value.dtype).removeprefix("torch."),
            dynamic=axes,
        )
        for name, value, axes in zip(names, captured.inputs, captured.dynamic, strict=True)
    ]


def _single(captured: Captured) -> list[Tensor]:
    """Return the inputs at batch 1, where the batch is free: the size at which costs are stated."""
    return [
        value[:1] if 0 in axes else value
        for value, axes in zip(captured.inputs, captured.dynamic, strict=True)
    ]


def _announced(samples: Sequence[Inputs], passes: Passes) -> Iterator[Inputs]:
    """Yield the samples and announce each."""
    passes.left = len(samples) + 1
    for index, sample in enumerate(samples, 1):
        passes.step(f"verify, input {index} of {len(samples)}")
        yield sample


def _stored_pools(
    facts: Facts, compact: fx.GraphModule, lowering: Lowering | None
) -> dict[str, StoredPool]:
    """Return the pools of the compact graph whose selections verification compares."""
    originals = {node.name: node for node in facts.module.graph.nodes}
    layouts = {} if lowering is None else lowering.layouts_by_name()
    pools = {}
    for node in compact.graph.nodes:
        if node.op == "call_function" and op_name(node) in POOLS_WITH_POSITIONS:
            live = facts.live[originals[node.name]]
            channels = layouts.get(node.name, tuple(range(live.numel())))
            pools[node.name] = StoredPool(channels, live[list(channels)])
    return pools
