"""Compile one part of a network: what it receives there, and the whole with the compact part."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compactmtl.compact import CompactModel
from compactmtl.compiler.call import Call, Inputs, as_call
from compactmtl.compiler.capture import evaluating, run_network
from compactmtl.compiler.stitch import stitch
from compactmtl.compiler.threshold import relative_change
from compactmtl.errors import CaptureError, UsageError, VerificationError
from compactmtl.parts import nearest

STITCH_TOLERANCE = 1e-3
"""Root mean square of the whole network's change, relative. It finds a part that is wired wrongly;
what the part computes is proved on the part, to rounding. A network that branches on data may
amplify rounding, so there is no tighter bound for all."""


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
    calls = [recorded for call in given for recorded in _record(network, name, call)]
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


@torch.no_grad()
def check_whole(site: Site, compact: CompactModel) -> dict[str, Any]:
    """Run the network before and after its part is replaced; return the change as JSON data.

    Raises:
        CaptureError: It does not run with the compact part.
        VerificationError: It computes something else.
    """
    own = replace(compact, module=copy.deepcopy(compact.module))  # stitching adds a hook to it
    whole = stitch(copy.deepcopy(site.network), own)
    worst = 0.0
    with evaluating(site.network), evaluating(whole):
        for call in site.given:
            args, kwargs = call.arguments(call.inputs)
            outputs = site.network(*args, **kwargs)
            before = [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]
            try:
                outputs = whole(*args, **kwargs)
            except Exception as error:  # whatever the user's forward raises
                raise CaptureError(
                    f"the network does not run with the compact part `{site.name}`: "
                    f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}",
                    hint="does its forward read attributes of that part? choose another part",
                ) from error
            after = [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]
            for old, new in zip(before, after, strict=True):
                worst = max(worst, relative_change(old, new)["rms"])
    if not worst <= STITCH_TOLERANCE:
        raise VerificationError(
            f"the network with the compact part `{site.name}` differs by {worst:.1e} (root mean "
            f"square, relative), allowed {STITCH_TOLERANCE:.0e}; nothing was written",
            hint="the part alone is exact: does its forward depend on anything but its inputs?",
        )
    return {
        "name": site.name,
        "num_calls": 1 + len(site.others),
        "num_inputs": len(site.given),
        "rms_change_of_whole": worst,
    }
