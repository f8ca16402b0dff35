"""From a trained network to a compact one, on one page."""

import copy
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, fx, nn

from compactmtl.compact import CompactModel
from compactmtl.compact_network import CompactNetwork
from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.blame import blame_of
from compactmtl.compiler.call import ExampleInputs, Inputs
from compactmtl.compiler.capture import as_inputs
from compactmtl.compiler.cost import CostModel, cost_model
from compactmtl.compiler.foreign import check_rules, foreign_errors
from compactmtl.compiler.lower import Lowering
from compactmtl.compiler.memory import memory_errors
from compactmtl.compiler.network import compress_network, refuse_for_parts
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.part import check_whole
from compactmtl.compiler.passes import Passes, Progress
from compactmtl.compiler.plan import make_plan, untouched_plan
from compactmtl.compiler.plan_document import parse_plan, plan_document
from compactmtl.compiler.precision import double_copy, rounded_copy
from compactmtl.compiler.prepare import prepare
from compactmtl.compiler.recorded import recorded_lowering
from compactmtl.compiler.regroup import regroup
from compactmtl.compiler.rules import Facts, Rule
from compactmtl.compiler.selection import POOLS_WITH_POSITIONS
from compactmtl.compiler.summary import summarise
from compactmtl.compiler.table import not_measured_here
from compactmtl.compiler.threshold import output_change
from compactmtl.compiler.verify import Quartet, StoredPool, verify
from compactmtl.compiler.why import why
from compactmtl.errors import UsageError
from compactmtl.graph_mode import modal
from compactmtl.static_parts import InParts


def compress(
    model: nn.Module,
    example_inputs: ExampleInputs,
    *,
    prune_zero_channels: bool = True,
    objective: str | CostModel = "latency",
    gather: bool = True,
    plan: Mapping[str, Any] | None = None,
    keep_outputs: Sequence[str] | None = None,
    threshold: float | None = None,
    part: str | None = None,
    rules: Sequence[Rule] = (),
    dynamic: bool = True,
    images: Iterable[Tensor | Sequence[Tensor]] = (),
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    tasks: Mapping[str, dict[str, Any]] | None = None,
    parent: Mapping[str, str] | None = None,
    recipe: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> CompactModel | CompactNetwork:
    """Make a network physically small without changing what it computes.

    Contracts overparameterised layers, captures the network in eval mode, removes every channel
    that no output depends on, folds constants, and proves on noise (at the example size and, where
    the size is free, at twice that size) and on ``images`` that nothing changed but float rounding.

    Args:
        model: The network, on the CPU. It is not changed, and shares no weight with the result.
        example_inputs: One tensor or several, batched: in order, or in a dict by the names of
            ``forward``'s parameters; dicts and lists of tensors where the network takes these.
        prune_zero_channels: Remove dead channels; otherwise only contract, and say what could go.
        objective: "latency", "macs" or "params", or a cost model of your own.
        gather: Allow layers to read through a gather.
        plan: An earlier plan to carry out, instead of making one; see ``replay``.
        keep_outputs: Names of the outputs to compile for, as ``("seg", "depth")``; all that served
            only the others goes. Compact model and dense twin then return a dict of these, whatever
            the network returned. None: all outputs, returned as the network does.
        threshold: Treat channel groups W[:, c] whose root mean square is below this as zero. This
            changes the outputs: the report says by how much; what follows is exact for the
            network after the threshold. The dense twin is the network before it.
        part: Dotted name of a submodule: compile it alone, with the inputs it receives when the
            network runs; ``stitch`` puts it back. Input and output names are the part's then.
        rules: Rules of your own, asked before ours; see ``compactmtl.compiler.rules``.
        dynamic: Leave batch, height and width free where the network allows it.
        images: Further inputs to verify on, real ones if there are any.
        input_names: Names for the inputs; None: those of the network's ``forward``.
        output_names: Names for the outputs; None: the keys of the dict the network returns.
        tasks: Per output its task specification, kept in the manifest.
        parent: File name and SHA-256 of what the network was loaded from, kept in the manifest.
        recipe: The recipe it was trained with, kept in the manifest.
        progress: Called as each step starts, with its name and the number of steps left.

    Returns:
        The compact model with its dense twin, report and plan. Of a network that declares its
        ``static_parts``, as Panoptic FPN does, a compact network of these, verified as a whole on
        ``images``.

    Raises:
        CompilerError: ``plan`` was made of another network.
        CaptureError: ``torch.export`` refuses the network.
        NonFiniteError: A weight, or an output of the original, is NaN or Inf.
        VerificationError: Compact and original differ by more than rounding; the message has the
            first value that does, and the rule that made it.
        ResourceError: Memory ran out.
        PartError: A foreign rule failed.
        UsageError: Names, part, threshold, rules or images do not fit the network.
    """
    if part is None and isinstance(model, InParts):
        refuse_for_parts(
            plan=plan,
            keep_outputs=keep_outputs,
            threshold=threshold,
            output_names=output_names,
        )
        return compress_network(
            model,
            example_inputs,
            prune_zero_channels=prune_zero_channels,
            objective=objective,
            gather=gather,
            rules=rules,
            dynamic=dynamic,
            images=list(images),
            tasks=tasks or {},
            parent=parent or {},
            recipe=recipe,
            progress=progress,
            compress_part=compress,
        )
    if threshold is not None and not prune_zero_channels:
        raise UsageError(
            "a threshold says which channels are removed, but none are",
            hint="leave prune_zero_channels at True",
        )
    check_rules(rules)
    cost = cost_model(objective, gather=gather)
    given = [as_inputs(image) for image in images]
    passes = Passes(progress, left=len(given) + 7)
    with memory_errors(passes), foreign_errors(rules):
        with passes.run("capture"):
            subject = prepare(
                model,
                example_inputs,
                given,
                dynamic=dynamic,
                part=part,
                keep_outputs=keep_outputs,
                threshold=threshold,
                input_names=input_names,
                output_names=output_names,
                tasks=tasks or {},
                parent=parent or {},
                recipe=recipe,
            )
            names = subject.manifest.output_names
        with passes.run("analyse"):
            facts = analyse(subject.graph, rules=rules)
            if plan is None:
                facts = regroup(facts, cost)
                lowering = Lowering(facts, make_plan(facts, cost), cost)
            else:
                lowering = recorded_lowering(facts, parse_plan(plan, "`plan`"), cost)
                facts = lowering.facts
        with passes.run("lower"):
            compact64 = lowering.run()
            smallest = None if prune_zero_channels else compact64
            if smallest is not None:
                compact64 = double_copy(subject.graph)
            compact = rounded_copy(compact64, subject.graph, lowering.like)
            chosen = lowering.plan if prune_zero_channels else untouched_plan(facts)
            layouts = lowering.layouts_by_name() if prune_zero_channels else chosen.stored
        with passes.run("verify"):
            quartet = Quartet(double_copy(subject.graph), compact64, subject.graph, compact)
            verification = verify(
                quartet,
                _announced(subject.samples, passes),
                names,
                _stored_pools(facts, compact64, layouts),
                blame_of(facts, quartet.original64, compact64, layouts, rules),
            )
            change = {}
            if subject.thresholded is not None:
                change = output_change(
                    subject.dense,
                    subject.thresholded,
                    quartet.original64,
                    subject.samples,
                    names,
                )
            exact = None if subject.site is None else compact64
            del quartet, compact64  # several times the weights,
            gc.collect()  # and graphs refer to themselves
        with passes.run("count"):
            dense = modal(copy.deepcopy(subject.dense))  # shares no weight with the caller's
            module = modal(compact)
            manifest = subject.manifest.model_copy(
                update={
                    "objective": objective if isinstance(objective, str) else cost.name,
                    "cost_model": cost.name,
                }
            )
            report = summarise(
                subject,
                facts,
                chosen,
                dense=dense,
                compact=module,
                smallest=smallest,
                verification=verification,
            )
            report.tuned = not_measured_here(cost)
            report.rules = [type(rule).__name__ for rule in rules]
            report.threshold = change
            result = CompactModel(
                module,
                dense,
                manifest,
                report,
                plan_document(facts, chosen, compact, layouts, pruned=prune_zero_channels),
                why(facts, chosen, layouts, names, cost=cost.name, pruned=prune_zero_channels),
                exact,
            )
            if subject.site is not None:
                report.part = check_whole(subject.site, result)
        report.seconds = passes.seconds
    return result


def _announced(samples: Sequence[Inputs], passes: Passes) -> Iterator[Inputs]:
    """Yield the samples and announce each."""
    passes.left = len(samples) + 1
    for index, sample in enumerate(samples, 1):
        passes.step(f"verify, input {index} of {len(samples)}")
        yield sample


def _stored_pools(
    facts: Facts, compact: fx.GraphModule, layouts: Mapping[str, Sequence[int]]
) -> dict[str, StoredPool]:
    """Return the pools of the compact graph whose selections verification compares."""
    originals = {node.name: node for node in facts.module.graph.nodes}
    pools = {}
    for node in compact.graph.nodes:
        if node.op == "call_function" and op_name(node) in POOLS_WITH_POSITIONS:
            live = facts.live[originals[node.name]]
            channels = tuple(layouts[node.name])
            pools[node.name] = StoredPool(channels, live[list(channels)])
    return pools
