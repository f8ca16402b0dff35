"""Compile one part of a network: what it receives there, and the whole with the compact part."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.compact import CompactModel
from compactmtl.compiler.call import Call, Inputs, as_call
from compactmtl.compiler.capture import run_network
from compactmtl.compiler.precision import double_copy
from compactmtl.compiler.stitch import stitch
from compactmtl.compiler.whole import (
    TOLERANCE,
    TOLERANCE_64,
    Change,
    change,
    double_network,
    in_double,
    run,
)
from compactmtl.errors import CaptureError, UsageError, VerificationError
from compactmtl.graph_mode import modal
from compactmtl.parts import nearest

NUM_NOISE = 2
"""Batch of the noise that stands for what a part receives, where it receives nothing."""


@dataclass
class Site:
    """A part in its place.

    Attributes:
        name: Its dotted name.
        network: The whole network.
        module: The part.
        inputs: What it receives when the network runs on the example inputs, first call.
        others: What it receives in further calls, and on further inputs.
        given: The network's calls.
    """

    name: str
    network: nn.Module
    module: nn.Module
    inputs: Inputs
    others: list[Inputs]
    given: list[Call]


def find_site(network: nn.Module, name: str, given: list[Call]) -> Site:
    """Run a network and note what its part ``name`` receives.

    Args:
        network: The whole network, contracted.
        name: Dotted name of a submodule.
        given: The network's calls, on the example inputs first.

    Raises:
        UsageError: No such submodule, it is never called, or it is given something but tensors.
        CaptureError: The network does not run.
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    if name not in modules or not name:
        raise UsageError(
            f"no part called `{name}`{nearest(name, modules)}",
            hint=f"parts: {', '.join(child for child, _ in network.named_children())}",
        )
    calls = _not_empty([recorded for call in given for recorded in _record(network, name, call)])
    return Site(name, network, modules[name], calls[0], calls[1:], given)


def inputs_of_part(model: nn.Module, name: str, given: Sequence[Tensor | Inputs]) -> list[Inputs]:
    """Return what a part of a network receives, call by call.

    Args:
        model: The network, perhaps overparameterised.
        name: Dotted name of the part.
        given: Inputs of the network.

    Raises:
        UsageError: The part is never called, or given something but tensors.
    """
    return [values for each in given for values in _record(model, name, as_call(each))]


def _record(network: nn.Module, name: str, call: Call) -> list[Inputs]:
    """Return what a part receives, call by call, in one run of its network."""
    part = network.get_submodule(name)
    signature = inspect.signature(part.forward)
    calls: list[Inputs] = []

    def note(_part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        bound = signature.bind(*args, **kwargs)
        values = [*bound.args, *bound.kwargs.values()]
        if bound.kwargs or not all(isinstance(value, Tensor) for value in values):
            kinds = ", ".join(type(value).__name__ for value in values)
            raise UsageError(
                f"part `{name}` is called with ({kinds}), expected tensors by position or name",
                hint="choose a part whose forward takes tensors alone",
            )
        calls.append(tuple(value.detach().clone() for value in values))

    handle = part.register_forward_pre_hook(note, with_kwargs=True)
    try:
        run_network(network, call)
    finally:
        handle.remove()
    if not calls:
        raise UsageError(
            f"part `{name}` is never called when the network runs",
            hint="choose one whose forward is called, not one whose children are used one by one",
        )
    return calls


def _not_empty(calls: list[Inputs]) -> list[Inputs]:
    """Leave out calls with empty tensors, as of a detector that found nothing: they prove nothing.

    Where there are no others, noise of that shape stands for them.
    """
    full = [values for values in calls if all(value.numel() for value in values)]
    if full:
        return full
    draw = torch.Generator().manual_seed(0)
    return [
        tuple(
            torch.randn((NUM_NOISE, *value.shape[1:]), generator=draw).to(value)
            for value in calls[0]
        )
    ]


def check_whole(site: Site, compact: CompactModel) -> dict[str, Any]:
    """Run the network before and after its part is replaced; return the change as JSON data.

    Where it chooses otherwise in float32, float64 decides; see ``compiler.whole``.

    Raises:
        CaptureError: It does not run with the compact part.
        VerificationError: It computes something else.
    """
    # Stitching adds a hook to the module.
    own = replace(compact, module=copy.deepcopy(compact.module))
    after = stitch(copy.deepcopy(site.network), own)
    worst, num_flipped = 0.0, 0
    for call in site.given:
        expected = run(site.network, call)
        try:
            found = change(expected, run(after, call))
        except Exception as error:  # whatever the user's forward raises
            raise CaptureError(
                f"the network does not run with the compact part `{site.name}`: "
                f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}",
                hint="does its forward read attributes of that part? choose another part",
            ) from error
        if found.exceeds(TOLERANCE):
            num_flipped += found.chose_otherwise
            found = _change_in_double(site, compact, call, found)
        worst = max(worst, found.rms)
    return {
        "name": site.name,
        "num_calls": 1 + len(site.others),
        "num_inputs": len(site.given),
        "num_flipped": num_flipped,
        "rms_change_of_whole": worst,
    }


def in_double_itself(compact: CompactModel) -> CompactModel:
    """Return a part that was just compiled as it was before its weights were rounded."""
    assert compact.exact is not None
    return replace(compact, module=modal(double_copy(compact.exact)))


def _change_in_double(site: Site, compact: CompactModel, call: Call, found: Change) -> Change:
    """Return the change in float64, where rounding cannot be its reason.

    Raises:
        VerificationError: It is a change there, too, or the network has no float64.
    """
    message = f"the network with the compact part `{site.name}` differs by {found}, allowed "
    message += f"{TOLERANCE:.0e} and no other choice"
    hint = "the part alone is exact: does its forward depend on anything but its inputs?"
    before, call = double_network(site.network), in_double(call)
    after = stitch(copy.deepcopy(before), in_double_itself(compact))
    try:
        found = change(run(before, call), run(after, call))
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise VerificationError(
            f"{message}, and does not run in float64, which could tell rounding from an error: "
            f"{reason}; nothing was written",
            hint=hint,
        ) from error
    if found.exceeds(TOLERANCE_64):
        raise VerificationError(
            f"{message}; in float64 it differs by {found}; nothing was written", hint=hint
        )
    return found
