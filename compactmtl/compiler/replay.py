"""Rebuild a compact model from the network's source, by its plan: on another release of torch."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.compact import CompactModel, InputSpec, Manifest
from compactmtl.compiler.compress import compress
from compactmtl.compiler.fingerprint import output_checks
from compactmtl.compiler.plan_document import OutputCheck, PlanDocument, parse_plan
from compactmtl.errors import CompilerError, UsageError, VerificationError, WeightsError
from compactmtl.files import read_json
from compactmtl.overparam import contract, is_expanded
from compactmtl.parameter_map import scatter
from compactmtl.weights import load_weights

TOLERANCE = 1e-9
"""Relative, in float64: another release sums in another order."""


def replay(
    model: nn.Module,
    plan: str | Path | Mapping[str, Any],
    *,
    example_inputs: Tensor | Sequence[Tensor] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> CompactModel:
    """Rebuild a compact model from the network it was made of, without deciding anything anew.

    With a compact folder, or with ``weights``, the result has exactly these weights, trained
    further or not, and is checked against numbers that the folder keeps of what it computed. The
    network's own weights do not matter then: those of the compact model are put in their places,
    and 0 where channels were removed. Only where a dead branch became constants, which no weight
    of the network holds any more, must it have the weights that the plan was made of; with a plan
    alone it must as well. It is verified as ``compress`` verifies, its dense twin is the network
    that it was rebuilt from, and a network of another structure is an error.

    Args:
        model: The network, on the CPU, built by its own source. It is not changed.
        plan: A compact folder or its ``plan.json``, beside which ``weights.safetensors`` lies; or
            the content of such a file, as ``CompactModel.plan`` holds it.
        example_inputs: As for ``compress``; None: those that the folder tells of.
        weights: A compact state dict.

    Raises:
        CompilerError: The captured network is not that of the plan, or has other weights.
        WeightsError: The weights do not fit the network, or the plan.
        VerificationError: It does not compute what the folder says.
        UsageError: No example inputs, neither given nor told of.
        CorruptFileError: The plan is damaged, or of another format.
    """
    if isinstance(plan, str | Path):
        file = Path(plan) / "plan.json" if Path(plan).is_dir() else Path(plan)
        content, source = read_json(file), f"`{file}`"
        if weights is None:
            weights = load_weights(file.with_name("weights.safetensors"))[0]
    else:
        content, source = plan, "`plan`"
    document = parse_plan(content if isinstance(content, Mapping) else {}, source)
    manifest = None if document.manifest is None else Manifest.model_validate(document.manifest)
    if example_inputs is None:
        if manifest is None:
            raise UsageError(
                f"{source} does not say what the network takes",
                hint="give example_inputs, as to compress",
            )
        example_inputs = tuple(spec.example() for spec in manifest.inputs)
    network = copy.deepcopy(model)
    if is_expanded(network):
        contract(network.eval())
    if weights is None:
        compact = _rebuild(network, content, document, manifest, example_inputs, None)
    else:
        filled = copy.deepcopy(network)
        _put_weights(filled, document, weights)
        try:
            compact = _rebuild(filled, content, document, manifest, example_inputs, weights)
        except (CompilerError, WeightsError) as error:  # constants that no weight holds any more
            try:
                compact = _rebuild(network, content, document, manifest, example_inputs, weights)
            except (CompilerError, WeightsError):
                raise error from None
    if manifest is not None:
        told = {"inputs": compact.manifest.inputs, "torch": compact.manifest.torch}
        compact.manifest = manifest.model_copy(update=told)
    return dataclasses.replace(compact, plan=dict(content))


def _rebuild(
    network: nn.Module,
    content: Mapping[str, Any],
    document: PlanDocument,
    manifest: Manifest | None,
    example_inputs: Tensor | Sequence[Tensor],
    weights: Mapping[str, Tensor] | None,
) -> CompactModel:
    """Carry out the plan on a network, and give the result the weights, if there are any."""
    compact = compress(
        network,
        example_inputs,
        prune_zero_channels=document.pruned,
        plan=content,
        dynamic=manifest is None or _is_dynamic(manifest.inputs),
        input_names=None if manifest is None else manifest.input_names,
        output_names=None if manifest is None else manifest.all_outputs or manifest.output_names,
        keep_outputs=manifest.output_names if manifest and manifest.all_outputs else None,
    )
    assert isinstance(compact, CompactModel)  # a plan is of one graph
    if weights is not None:
        _set_state(compact.module, weights)
        _check_outputs(compact, document.outputs)
    return compact


def recorded(compact: CompactModel) -> dict[str, Any]:
    """Return the plan of a compact model with all that ``replay`` needs beside the weights."""
    return {
        **compact.plan,
        "manifest": compact.manifest.model_dump(mode="json"),
        "outputs": output_checks(compact.module, compact.manifest),
    }


def _is_dynamic(inputs: Sequence[InputSpec]) -> bool:
    return any(spec.dynamic for spec in inputs)


@torch.no_grad()
def _put_weights(network: nn.Module, document: PlanDocument, weights: Mapping[str, Tensor]) -> None:
    """Put compact weights into the original network, and the biases that it lacks."""
    parameters = {name: entry.model_dump() for name, entry in document.parameters.items()}
    new = {entry["part_of"] or name for name, entry in parameters.items() if entry["new"]}
    for name, tensor in scatter(weights, parameters, lossless=False).items():
        path, _, leaf = name.rpartition(".")
        owner = dict(network.named_modules()).get(path)
        if name in new and owner is not None and getattr(owner, leaf, ...) is None:
            owner.register_parameter(leaf, nn.Parameter(tensor))
        held = getattr(owner, leaf, None)
        if not isinstance(held, Tensor) or held.shape != tensor.shape:
            what = list(held.shape) if isinstance(held, Tensor) else "nothing"
            raise WeightsError(
                f"the network has {what} as `{name}`, expected {list(tensor.shape)}",
                hint="build the network that was compressed, with the same arguments",
            )
        held.copy_(tensor)


@torch.no_grad()
def _set_state(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give the rebuilt model the very weights; it has their names and shapes."""
    expected = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    got = {name: list(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise WeightsError(
                f"`{name}` is {got.get(name, 'missing')}, the rebuilt model has "
                f"{expected.get(name, 'no such parameter')}",
                hint="rebuild from the original weights: load them, and give the plan's content",
            )
    module.load_state_dict(dict(weights))


def _check_outputs(compact: CompactModel, recorded: Mapping[str, OutputCheck] | None) -> None:
    """Compare what the rebuilt model computes with what the folder says.

    Raises:
        VerificationError: They differ by more than rounding.
    """
    if recorded is None:
        return
    for name, got in output_checks(compact.module, compact.manifest).items():
        expected = recorded.get(name)
        if expected is None or got["shape"] != expected.shape:
            raise VerificationError(
                f"output `{name}` is {got['shape']}, expected "
                f"{'none of that name' if expected is None else expected.shape}"
            )
        pairs = zip(got["values"], expected.values, strict=True)
        error = max((abs(a - b) for a, b in pairs), default=0.0)
        if not error <= TOLERANCE * expected.scale:
            raise VerificationError(
                f"output `{name}` of the rebuilt model differs from what the plan says by "
                f"{error / expected.scale if expected.scale else error:.1e}, allowed "
                f"{TOLERANCE:.0e}",
                hint="is it the same network, weights.safetensors of the same folder?",
            )
