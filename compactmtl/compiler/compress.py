"""From a trained network to a compact one, on one page."""

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from compactmtl.compact import CompactModel, CompressReport, InputSpec, Manifest
from compactmtl.compiler import explain
from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import Captured, capture
from compactmtl.compiler.cost import CostModel, cost_model
from compactmtl.compiler.lower import Lowering
from compactmtl.compiler.normalise import normalise, op_name
from compactmtl.compiler.plan import make_plan, untouched_plan
from compactmtl.compiler.precision import double_copy, restore_precision
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.selection import POOLS_WITH_POSITIONS
from compactmtl.compiler.verify import Quartet, StoredPool, verify
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
    dynamic: bool = True,
    images: Iterable[Tensor | Sequence[Tensor]] = (),
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    tasks: Mapping[str, dict[str, Any]] | None = None,
    parent: Mapping[str, str] | None = None,
    recipe: dict[str, Any] | None = None,
) -> CompactModel:
    """Make a network physically small without changing what it computes.

    Contracts overparameterised layers, captures the network in eval mode, removes every channel
    that no output depends on, folds constants, and proves on noise (at the example size and, where
    the size is free, at another one) and on ``images`` that nothing changed but float rounding.

    Args:
        model: The network, on the CPU. It is not changed, and shares no weight with the result.
        example_inputs: One tensor or several, batched, as the network takes them.
        prune_zero_channels: Remove dead channels; otherwise only contract, and say what could go.
        objective: "latency", "macs" or "params", or a cost model of your own.
        gather: Allow layers to read through a gather.
        dynamic: Leave batch, height and width free where the network allows it.
        images: Further inputs to verify on, real ones if there are any.
        input_names: Names for the inputs; None: those of the network's ``forward``.
        output_names: Names for the outputs; None: the keys of the dict the network returns.
        tasks: Per output its task specification, kept in the manifest.
        parent: File name and SHA-256 of what the network was loaded from, kept in the manifest.
        recipe: The recipe it was trained with, kept in the manifest.

    Returns:
        The compact model with its dense twin, report and plan.

    Raises:
        CaptureError: ``torch.export`` refuses the network.
        NonFiniteError: A weight, or an output of the original, is NaN or Inf.
        VerificationError: Compact and original differ by more than rounding.
        UsageError: The number of names is not the number of inputs or outputs.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "capture"):
        plain = contract(copy.deepcopy(model)) if is_expanded(model) else model
        captured = capture(plain, example_inputs, dynamic=dynamic)
        names = _names("output", output_names, captured.output_names)
        normalise(captured.module)
    with _timed(seconds, "analyse"):
        facts = analyse(captured.module)
        possible = make_plan(facts)
    with _timed(seconds, "lower"):
        plan = possible if prune_zero_channels else untouched_plan(facts)
        cost = cost_model(objective, gather=gather)
        lowering = Lowering(facts, plan, cost)
        compact64 = lowering.run() if prune_zero_channels else double_copy(captured.module)
        compact = copy.deepcopy(compact64)
        restore_precision(compact, captured.module, lowering.like)
    with _timed(seconds, "verify"):
        pools = _stored_pools(facts, compact64, lowering if prune_zero_channels else None)
        quartet = Quartet(double_copy(captured.module), compact64, captured.module, compact)
        verification = verify(quartet, _input_sets(captured, images), names, pools)
    dense = modal(_detached(captured.module))
    before, after = explain.count_both(dense, modal(compact), captured.inputs)
    report = CompressReport(
        before=explain.cost(before),
        after=explain.cost(after),
        max_rel_error=verification.max_rel_error,
        census=explain.census(facts, possible),
        layers=explain.layer_table(facts, compact, plan, before, after),
        opaque=explain.opaque_table(facts),
        carriers=explain.carrier_table(facts),
        gathers=len(plan.gathers),
        verification=verification.to_dict(),
        seconds=seconds,
        notes=explain.notes(facts, possible, pruned=prune_zero_channels),
    )
    manifest = Manifest(
        inputs=[
            InputSpec(
                name=name,
                shape=tuple(value.shape),
                dtype=str(value.dtype).removeprefix("torch."),
                dynamic=axes,
            )
            for name, value, axes in zip(
                _names("input", input_names, captured.input_names),
                captured.inputs,
                captured.dynamic,
                strict=True,
            )
        ],
        output_names=names,
        tasks=dict(tasks or {}),
        objective=objective if isinstance(objective, str) else cost.name,
        cost_model=cost.name,
        parent=dict(parent or {}),
        recipe=recipe,
        torch=torch.__version__,
    )
    return CompactModel(
        module=modal(compact),
        dense=dense,
        manifest=manifest,
        report=report,
        plan=plan.to_dict(),
    )


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


def _input_sets(
    captured: Captured, images: Iterable[Tensor | Sequence[Tensor]]
) -> Iterable[tuple[Tensor, ...]]:
    """Yield noise at the captured size, noise at another size where it is free, then the images."""
    generator = torch.Generator().manual_seed(0)
    yield tuple(_noise(value, list(value.shape), generator) for value in captured.inputs)
    other = [
        [
            size + (32 if axis > 1 else 1) if axis in axes else size
            for axis, size in enumerate(value.shape)
        ]
        for value, axes in zip(captured.inputs, captured.dynamic, strict=True)
    ]
    if any(list(value.shape) != shape for value, shape in zip(captured.inputs, other, strict=True)):
        yield tuple(
            _noise(value, shape, generator)
            for value, shape in zip(captured.inputs, other, strict=True)
        )
    for image in images:
        yield (image,) if isinstance(image, Tensor) else tuple(image)


def _names(what: str, given: Sequence[str] | None, found: list[str]) -> list[str]:
    if given is not None and len(given) != len(found):
        raise UsageError(
            f"{len(given)} {what} names given ({', '.join(given)}), the network has {len(found)} "
            f"{what}s ({', '.join(found)})"
        )
    return list(given or found)


def _noise(like: Tensor, shape: list[int], generator: torch.Generator) -> Tensor:
    if not like.is_floating_point():
        return like  # an index must stay a valid one
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(like.dtype)


def _detached(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy that shares no weight with the caller's network."""
    result = copy.deepcopy(module)
    for tensor in [*result.parameters(), *result.buffers()]:
        tensor.data = tensor.data.clone()
    return result


class _timed:  # noqa: N801 - reads as a statement
    """Note the wall time of a block."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] = round(time.perf_counter() - self._start, 3)
