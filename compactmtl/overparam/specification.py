"""An expansion as data: what a checkpoint keeps to re-create it on a dense network."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from compactmtl.errors import CorruptFileError, RefusedError, UsageError
from compactmtl.overparam.branched import BranchedConv, branched_layers, insert
from compactmtl.overparam.expand import check_tasks, is_expanded, kernel_of
from compactmtl.overparam.kernel import LAYER_TYPES, KernelFactors, attach, expanded_layers
from compactmtl.overparam.methods import METHODS


def expansion_spec(model: nn.Module) -> dict[str, Any]:
    """Return what ``expand_like`` needs to re-create the expansion, as JSON.

    Raises:
        UsageError: The network is not expanded.
    """
    kernels = {name: factors for name, _, factors in expanded_layers(model)}
    branches = dict(branched_layers(model))
    for first in kernels.values():
        layers = {name: factors.settings() for name, factors in kernels.items()}
        return {"method": first.method, "tasks": list(first.tasks), "layers": layers}
    for branched in branches.values():
        layers = {name: {"norm": each.norm_path} for name, each in branches.items()}
        return {"method": branched.method, "tasks": [], "layers": layers}
    raise UsageError(f"{type(model).__name__} is not expanded", hint="expand(model, ...) first")


def expand_like(model: nn.Module, spec: Mapping[str, Any]) -> None:
    """Re-create the parametrisations of ``expansion_spec`` on a dense network, in place.

    The factors are NaN until ``model.load_state_dict`` fills them, so that a forgotten load shows.

    Raises:
        UsageError: The network is expanded already.
        RefusedError: The method is not one of ours.
        CorruptFileError: The specification does not fit the network, or is malformed.
    """
    if is_expanded(model):
        raise UsageError(f"{type(model).__name__} is expanded already")
    try:
        if spec["method"] not in METHODS:  # and is not imported: a specification comes from a file
            raise RefusedError(
                f"the expansion uses method `{spec['method']}`, "
                f"expected one of: {', '.join(METHODS)}",
                hint="expand the network with your own method, then load its state dict",
            )
        build = METHODS[spec["method"]]
        if issubclass(build, BranchedConv):
            _branch_like(model, build, spec["layers"])
        else:
            _factor_like(model, build, spec)
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise CorruptFileError(f"malformed expansion specification: {error!r}") from error


def _factor_like(model: nn.Module, build: type[KernelFactors], spec: Mapping[str, Any]) -> None:
    modules, tasks = dict(model.named_modules()), spec["tasks"]
    check_tasks(tasks)
    planned = {}
    for name, settings in spec["layers"].items():
        layer = modules.get(name)
        if not isinstance(layer, LAYER_TYPES):
            raise _no_such_layer(model, name)
        planned[name] = build.unfilled(kernel_of(layer), tasks, settings)
    for name, factors in planned.items():
        attach(modules[name], factors)


def _branch_like(
    model: nn.Module, build: type[BranchedConv], layers: Mapping[str, Mapping[str, Any]]
) -> None:
    planned = {}
    for name, settings in layers.items():
        conv, path = dict(model.named_modules()).get(name), settings["norm"]
        norm = dict(model.get_submodule(name.rpartition(".")[0]).named_modules()).get(path)
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            raise _no_such_layer(model, name)
        planned[name] = build.fitted(conv, norm, init="spectral")
        planned[name].norm_path = path
    for name, branched in planned.items():
        for tensor in (*branched.parameters(), *branched.buffers()):
            if tensor.is_floating_point():
                tensor.detach().fill_(math.nan)
        insert(model, name, branched)


def _no_such_layer(model: nn.Module, name: str) -> CorruptFileError:
    return CorruptFileError(
        f"the expansion names layer `{name}`, which {type(model).__name__} does not have"
    )
