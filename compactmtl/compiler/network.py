"""Compile a network that branches on what it finds: its static parts, and the whole around them."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from compactmtl.compact import CompactModel, Cost, InputSpec
from compactmtl.compact_network import CompactNetwork, NetworkManifest, NetworkReport
from compactmtl.compiler.call import Call, ExampleInputs, as_call
from compactmtl.compiler.cost import cost_model, fast_columns
from compactmtl.compiler.part import in_double_itself, inputs_of_part
from compactmtl.compiler.stitch import stitch
from compactmtl.compiler.whole import (
    TOLERANCE_64,
    Change,
    change,
    double_network,
    in_double,
    run,
)
from compactmtl.errors import UsageError, VerificationError
from compactmtl.overparam import contract, is_expanded
from compactmtl.static_parts import InParts

STEPS = 9
"""About how many steps the compilation of a part announces, beside one per image."""


def refuse_for_parts(**given: object) -> None:
    """Refuse arguments, by their names, that speak of one graph.

    Raises:
        UsageError: One is given.
    """
    for name in (name for name, value in given.items() if value is not None):
        raise UsageError(
            f"{name} speaks of one graph; this network is compiled in parts",
            hint="leave it out, or compile one part alone: --part NAME (part=...)",
        )


def compress_network(
    model: InParts,
    example_inputs: ExampleInputs,
    *,
    prune_zero_channels: bool,
    images: Sequence[Any],
    tasks: Mapping[str, dict[str, Any]],
    parent: Mapping[str, str],
    recipe: dict[str, Any] | None,
    progress: Callable[[str, int], None] | None,
    compress_part: Callable[..., Any],
    **settings: Any,
) -> CompactNetwork:
    """Compile every static part alone, put all back, and compare whole images.

    The parts are proved as any network is, on noise and on what they receive for ``images``. The
    whole must choose the same in float64: same boxes, labels, masks and maps. Where it does not in
    float32, rounding flipped a near-tie; the report counts these.

    Args:
        model: The network.
        example_inputs: Images of the size to capture at.
        prune_zero_channels: As for ``compress``.
        images: Real images; none: the example is what whole networks are compared on.
        tasks: As for ``compress``.
        parent: As for ``compress``.
        recipe: As for ``compress``.
        progress: As for ``compress``.
        compress_part: ``compress``.
        settings: Further arguments of it.

    Raises:
        VerificationError: A part, or the whole, computes something else.
    """
    assert isinstance(model, nn.Module)
    network = copy.deepcopy(model).eval()
    network = contract(network) if is_expanded(network) else network
    assert isinstance(network, InParts)
    used: nn.Module = network
    if prune_zero_channels:
        cost = cost_model(settings["objective"], gather=settings["gather"])
        used = network.narrowed(partial(fast_columns, cost))
    example = as_call(example_inputs)
    given = [example.on(_single(image)) for image in images] or [example]
    parts: dict[str, CompactModel] = {}
    seconds: dict[str, float] = {}
    left = len(network.static_parts)
    for name, part in network.static_parts.items():
        left -= 1
        begun = time.perf_counter()
        parts[name] = compress_part(
            used,
            example_inputs,
            part=part.module,
            prune_zero_channels=prune_zero_channels,
            images=[call.inputs for call in given],
            input_names=list(part.inputs),
            output_names=None if part.outputs is None else list(part.outputs),
            parent=parent,
            recipe=recipe,
            progress=_within(progress, name, left * (STEPS + len(given)) + 1),
            **settings,
        )
        seconds[name] = round(time.perf_counter() - begun, 3)
    if progress is not None:
        progress("compare whole images", 1)
    begun = time.perf_counter()
    whole = _check(network, used, parts, given)
    seconds["whole"] = round(time.perf_counter() - begun, 3)
    calls = _calls(used, parts, given)
    report = NetworkReport(
        before=_total(parts, calls, "before"),
        after=_total(parts, calls, "after"),
        calls=calls,
        parts={name: part.report for name, part in parts.items()},
        whole=whole,
        seconds=seconds,
    )
    first = example.inputs[0]
    manifest = NetworkManifest(
        image=InputSpec(name="image", shape=tuple(first.shape), dtype=str(first.dtype)[6:]),
        processing=network.processing(),
        tasks=dict(tasks),
        parent=dict(parent),
        recipe=recipe,
    )
    for compiled in parts.values():
        compiled.exact = None  # twice the weights, and proved with
    return CompactNetwork(
        module=_stitched(used, parts),
        dense=_stitched(used, {name: _twin(part) for name, part in parts.items()}),
        parts=parts,
        manifest=manifest,
        report=report,
    )


def _single(image: Any) -> tuple[Tensor, ...]:
    return (image,) if isinstance(image, Tensor) else tuple(image)


def _within(
    progress: Callable[[str, int], None] | None, name: str, left_after: int
) -> Callable[[str, int], None] | None:
    """Return what announces the steps of one part as steps of the whole."""
    if progress is None:
        return None
    return lambda step, left: progress(f"{name}: {step}", left + left_after)


def _twin(part: CompactModel) -> CompactModel:
    assert part.dense is not None
    return replace(part, module=part.dense)


def _stitched(network: nn.Module, parts: Mapping[str, CompactModel]) -> nn.Module:
    """Return a copy of a network with copies of its compact parts in it."""
    whole = copy.deepcopy(network)
    for part in parts.values():
        # Stitching adds a hook to the module.
        stitch(whole, replace(part, module=copy.deepcopy(part.module)))
    return whole


def _check(
    network: nn.Module, used: nn.Module, parts: Mapping[str, CompactModel], given: Sequence[Call]
) -> dict[str, Any]:
    """Compare whole results; return what was found as JSON data.

    Raises:
        VerificationError: In float64 something is chosen otherwise, or values differ.
    """
    after = _stitched(used, parts)
    before64 = double_network(network)
    wide = {name: in_double_itself(part) for name, part in parts.items()}
    after64 = _stitched(double_network(used), wide)
    found: list[Change] = []
    worst = 0.0
    for number, call in enumerate(given):
        call64 = in_double(call)
        exact = change(run(before64, call64), run(after64, call64))
        if exact.exceeds(TOLERANCE_64):
            raise VerificationError(
                f"the network with its compact parts differs on image {number}, in float64, by "
                f"{exact}; allowed {TOLERANCE_64:.0e} and no other choice; nothing was written",
                hint="each part alone is exact: is what stands between them the same?",
            )
        worst = max(worst, exact.rms)
        found.append(change(run(network, call), run(after, call)))
    same = [each.rms for each in found if not each.chose_otherwise]
    return {
        "num_images": len(given),
        "rms_change_64": worst,
        "tolerance_64": TOLERANCE_64,
        "rms_change": max(same, default=None),
        "num_images_flipped": len(found) - len(same),
        "num_values_flipped": sum(each.num_flipped for each in found),
        "num_other_counts": sum(each.num_reshaped > 0 for each in found),
    }


def _calls(
    network: nn.Module, parts: Mapping[str, CompactModel], given: Sequence[Call]
) -> dict[str, float]:
    """Return how many inputs each part computes for one image, on average over the images."""
    num_images = sum(len(call.inputs[0]) for call in given)
    return {
        name: sum(
            len(values[0])
            for call in given
            for values in inputs_of_part(network, part.manifest.part, [call.inputs])
        )
        / num_images
        for name, part in parts.items()
    }


def _total(parts: Mapping[str, CompactModel], calls: Mapping[str, float], which: str) -> Cost:
    costs: dict[str, Cost] = {name: getattr(part.report, which) for name, part in parts.items()}
    return Cost(
        macs=round(sum(cost.macs * calls[name] for name, cost in costs.items())),
        num_params=sum(cost.num_params for cost in costs.values()),
        weights_bytes=sum(cost.weights_bytes for cost in costs.values()),
    )
