"""First weights for the structure of a compact model: a dense network at the surviving widths."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.errors import WeightsError
from compactmtl.parameter_map import compact_shape, cut


@torch.no_grad()
def start_afresh(
    module: nn.Module, parameters: Mapping[str, Mapping[str, Any]], network: nn.Module
) -> None:
    """Replace every weight of a compact model by the first weights of its layer, in place.

    They are those of the network itself, drawn at full width by its layers' own rules, cut to the
    channels that survived. A kernel is multiplied by sqrt(fan-in before / fan-in after), so that
    its outputs vary as those of the whole layer did: for PyTorch's own rule this is the rule at the
    new width. Norms, their statistics and biases are cut alone; biases and constants that the
    network lacks, which stand for branches that died, become 0.

    Args:
        module: The compact graph.
        parameters: ``plan["parameters"]``.
        network: The network that was compiled, as it is before its training.

    Raises:
        WeightsError: The network is not the one that was compiled.
    """
    state, first = module.state_dict(), network.state_dict()
    new: dict[str, Tensor] = {}
    for name, entry in parameters.items():
        if entry["shape"] is None or entry["new"]:
            if state[name].is_floating_point():  # else the channels that a gather takes
                new[name] = torch.zeros_like(state[name])
            continue
        whole = entry.get("part_of") or name
        if whole not in first or list(first[whole].shape) != list(entry["shape"]):
            raise WeightsError(
                f"the recipe's network has no `{whole}` of shape {entry['shape']}, as the network "
                "that was compiled has",
                hint="start afresh by a recipe with the same [model] section",
            )
        if entry["axes"] is None:
            raise WeightsError(
                f"the plan does not say which channels `{name}` holds: a rule of your own cut it"
            )
        new[name] = cut(first[whole], entry) * _scale(entry)
    module.load_state_dict({**state, **new})


def _scale(entry: Mapping[str, Any]) -> float:
    """Return by what a kernel is multiplied; 1 for everything else."""
    before, after = list(entry["shape"]), compact_shape(entry)
    if len(before) < 2 or entry.get("groups", 1) > 1 or not after[1]:
        return 1.0
    return math.sqrt(before[1] / after[1])
