"""What is compiled: the captured graph with the outputs, the part and the weights asked for."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from compactmtl.compact import Cost, InputSpec, Manifest
from compactmtl.compiler import explain
from compactmtl.compiler.call import ExampleInputs, Inputs, as_call
from compactmtl.compiler.capture import Captured, capture
from compactmtl.compiler.dropped import dropped_modules
from compactmtl.compiler.names import choose_names
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.outputs import check_kept, drop_outputs
from compactmtl.compiler.part import Site, find_site
from compactmtl.compiler.samples import input_sets
from compactmtl.compiler.threshold import Thresholded, apply_threshold
from compactmtl.complexity import count
from compactmtl.errors import UsageError
from compactmtl.graph_mode import modal
from compactmtl.overparam import contract, is_expanded


@dataclass
class Subject:
    """What is compiled.

    Attributes:
        dense: The captured, normalised graph with the outputs that are kept: the dense twin.
        graph: What channels are removed from: ``dense``, or a copy with small groups at zero.
        manifest: What is known so far; what the compiler minimises is not.
        samples: Inputs to verify on.
        single: The inputs at batch 1 where the batch is free: the size at which costs are stated.
        full: Cost before outputs were dropped; None: none were.
        thresholded: The copy; None: there is none.
        idle: Modules that are for training only.
        site: Where the part stands; None: the whole network is compiled.
    """

    dense: fx.GraphModule
    graph: fx.GraphModule
    manifest: Manifest
    samples: list[Inputs]
    single: list[Tensor]
    full: Cost | None
    thresholded: Thresholded | None
    idle: list[dict[str, Any]]
    site: Site | None


def prepare(
    model: nn.Module,
    example_inputs: ExampleInputs,
    images: Sequence[Inputs],
    *,
    dynamic: bool,
    part: str | None,
    keep_outputs: Sequence[str] | None,
    threshold: float | None,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    tasks: Mapping[str, dict[str, Any]],
    parent: Mapping[str, str],
    recipe: dict[str, Any] | None,
) -> Subject:
    """Contract, find the part, capture, name, normalise, drop outputs, apply the threshold.

    Args and raises as ``compress``, which this is the first half of.
    """
    network = contract(copy.deepcopy(model).eval()) if is_expanded(model) else model
    site = None
    if part is not None:
        if keep_outputs is not None:
            raise UsageError(
                "a part keeps all of its outputs: the network goes on with them",
                hint="give either a part (--part) or outputs to keep (--tasks)",
            )
        call = as_call(example_inputs)
        site = find_site(network, part, [call, *(call.on(image) for image in images)])
        network, example_inputs, images = site.module, site.inputs, site.others
    captured = capture(network, example_inputs, dynamic=dynamic)
    names = choose_names("output", output_names, captured.output_names)
    _check_tasks(tasks, names)
    kept = names if keep_outputs is None else check_kept(keep_outputs, names)
    manifest = Manifest(
        inputs=_specs(captured, choose_names("input", input_names, captured.input_names)),
        output_names=kept,
        all_outputs=[] if keep_outputs is None else names,
        part=part or "",
        tasks={name: task for name, task in tasks.items() if name in kept},
        parent=dict(parent),
        recipe=recipe,
        torch=torch.__version__,
    )
    samples, single = input_sets(captured, images), _single(captured)
    idle = dropped_modules(network, captured.module)
    normalise(captured.module)
    full = None
    if keep_outputs is not None:
        full = explain.cost(count(modal(copy.deepcopy(captured.module)), single))
        drop_outputs(captured.module, names, kept)
    small = None if threshold is None else apply_threshold(captured.module, threshold)
    graph = captured.module if small is None else small.module
    return Subject(captured.module, graph, manifest, samples, single, full, small, idle, site)


def _check_tasks(tasks: Mapping[str, Any], names: Sequence[str]) -> None:
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
    return [
        value[:1] if 0 in axes else value
        for value, axes in zip(captured.inputs, captured.dynamic, strict=True)
    ]
